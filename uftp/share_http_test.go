package uftp_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"testing/iotest"
	"time"

	"github.com/csi-uftp/csi-uftp/uftp"
	"github.com/csi-uftp/csi-uftp/uftp/uftptest"
)

// sharedURL shares what is at path with somebody and returns a request for it over
// HTTPS, as somebody.
func sharedURL(t *testing.T, s *uftptest.Server, share uftp.ShareRequest, name string) uftp.AuthRequest {
	t.Helper()
	share.Path = filepath.Join(s.Dir(), share.Path)
	made := ok[uftp.Share](t)(uftp.CreateShare(t.Context(), as(s, "demo"), share))
	r := as(s, name)
	r.AuthURL = made.HTTPURL
	return r
}

func below(r uftp.AuthRequest, name string) uftp.AuthRequest {
	r.AuthURL += "/" + name
	return r
}

// fetchShared reads a shared file, in pieces that do not fit it.
func fetchShared(t *testing.T, r uftp.AuthRequest, off, n int64) (*uftp.SharedFile, []byte, error) {
	t.Helper()
	f, err := uftp.GetShared(t.Context(), r, off, n)
	if err != nil {
		return nil, nil, err
	}
	data, err := io.ReadAll(iotest.OneByteReader(io.LimitReader(f, 1000)))
	if err == nil {
		var rest []byte
		rest, err = io.ReadAll(f)
		data = append(data, rest...)
	}
	check(t, f.Close())
	return f, data, err
}

func TestGetShared(t *testing.T) {
	t.Parallel()
	uftptest.Each(t, twoUsers, func(t *testing.T, s *uftptest.Server) {
		data := bytes.Repeat([]byte("0123456789"), 300_000)
		s.WriteFile(t, "dir/a b/ü%.bin", data)
		s.WriteFile(t, "dir/empty", nil)
		s.WriteFile(t, "dir/page.html", []byte("<html>"))
		dir := sharedURL(t, s, uftp.ShareRequest{Path: "dir"}, "")
		file := below(dir, "a%20b/%C3%BC%25.bin")
		for _, c := range []struct{ off, n, from, to int64 }{
			{0, -1, 0, 3_000_000}, {5, -1, 5, 3_000_000}, {0, 1, 0, 1}, {17, 2_000_000, 17, 2_000_017},
			{2_999_999, 100, 2_999_999, 3_000_000}, {3_000_000, -1, 0, 0}, {4_000_000, 5, 0, 0},
		} {
			f, got, err := fetchShared(t, file, c.off, c.n)
			check(t, err)
			if !bytes.Equal(got, data[c.from:c.to]) || f.Size != int64(len(data)) || f.Name != "ü%.bin" {
				t.Errorf("%d bytes at %d: got %d, of %q with %d", c.n, c.off, len(got), f.Name, f.Size)
			}
		}
		for name, want := range map[string]string{"empty": "", "page.html": "<html>"} {
			if f, got, err := fetchShared(t, below(dir, name), 0, -1); err != nil || string(got) != want || f.Size != int64(len(want)) {
				t.Errorf("%s: %q, %v", name, got, err)
			}
		}
		for name, want := range map[string]error{
			"": syscall.EISDIR, "a%20b/": syscall.EISDIR, "none": fs.ErrNotExist, "..%2Fx": fs.ErrNotExist, "a%20b/..": fs.ErrInvalid,
		} {
			_, _, err := fetchShared(t, below(dir, name), 0, -1)
			wantErr(t, err, want)
		}
		_, _, err := fetchShared(t, below(sharedURL(t, s, uftp.ShareRequest{Path: "dir/empty"}, ""), "x"), 0, -1)
		wantErr(t, err, fs.ErrNotExist)
	})
}

func TestGetSharedResumes(t *testing.T) {
	t.Parallel()
	s := uftptest.Start(t, twoUsers)
	data := bytes.Repeat([]byte("0123456789"), 300_000)
	s.WriteFile(t, "f", data)
	cut := uftptest.AuthFault{Path: "/rest/access", Cut: 1_000_000}

	s.AuthFaults().Inject(2, cut)
	_, got, err := fetchShared(t, sharedURL(t, s, uftp.ShareRequest{Path: "f"}, ""), 3, -1)
	check(t, err)
	if !bytes.Equal(got, data[3:]) {
		t.Errorf("%d bytes, want %d", len(got), len(data)-3)
	}

	once := sharedURL(t, s, uftp.ShareRequest{Path: "f", User: s.UserDN("guest"), OneTime: true}, "guest")
	s.AuthFaults().Inject(1, cut)
	_, got, err = fetchShared(t, once, 0, -1)
	wantErr(t, err, uftp.ErrUnavailable)
	if len(got) == len(data) {
		t.Error("a broken transfer was whole")
	}

	r := sharedURL(t, s, uftp.ShareRequest{Path: "f"}, "")
	s.AuthFaults().Inject(1, cut)
	f := ok[*uftp.SharedFile](t)(uftp.GetShared(t.Context(), r, 0, -1))
	s.WriteFile(t, "f", data[:2_500_000])
	_, err = io.ReadAll(f)
	wantErr(t, err, syscall.ESTALE)
	check(t, f.Close())

	s.AuthFaults().Inject(-1, uftptest.AuthFault{Path: "/rest/access", Stall: true})
	r.HTTPTimeout = 50 * time.Millisecond
	_, err = uftp.GetShared(t.Context(), r, 0, -1)
	wantErr(t, err, uftp.ErrUnavailable)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = uftp.GetShared(ctx, r, 0, -1)
	wantErr(t, err, context.Canceled)
}

// other servers send parts of files as the standard says, or none.
func TestGetSharedElsewhere(t *testing.T) {
	t.Parallel()
	s := uftptest.Start(t, twoUsers)
	s.WriteFile(t, "f", nil)
	r := sharedURL(t, s, uftp.ShareRequest{Path: "f"}, "")
	s.AuthFaults().Inject(1, uftptest.AuthFault{Path: "/rest/access", Status: http.StatusOK, Body: "all of it", ContentType: "text/plain"})
	f, got, err := fetchShared(t, r, 0, 3)
	if err != nil || string(got) != "all" || f.Size != 9 {
		t.Errorf("%q, %v", got, err)
	}
	s.AuthFaults().Inject(1, uftptest.AuthFault{Path: "/rest/access", Status: http.StatusOK, Body: "all of it"})
	_, _, err = fetchShared(t, r, 1, -1)
	wantErr(t, err, errors.ErrUnsupported)
	s.AuthFaults().Inject(1, uftptest.AuthFault{Path: "/rest/access", Status: http.StatusFound, Location: "https://elsewhere.example.org/"})
	_, _, err = fetchShared(t, r, 0, -1)
	wantErr(t, err, uftp.ErrProtocol)
}

func TestPutShared(t *testing.T) {
	t.Parallel()
	uftptest.Each(t, twoUsers, func(t *testing.T, s *uftptest.Server) {
		ctx := t.Context()
		s.WriteFile(t, "dir/old", []byte("what was there before"))
		s.WriteFile(t, "once", nil)
		dir := sharedURL(t, s, uftp.ShareRequest{Path: "dir", User: s.UserDN("guest"), Access: uftp.ShareWrite}, "guest")
		big := bytes.Repeat([]byte("0123456789"), 300_000)
		for name, data := range map[string][]byte{"old": []byte("new"), "sub%20new": big, "empty": nil} {
			for _, size := range []int64{int64(len(data)), -1} {
				check(t, uftp.PutShared(ctx, below(dir, name), bytes.NewReader(data), size))
				got := ok[[]byte](t)(os.ReadFile(filepath.Join(s.Dir(), "dir", strings.ReplaceAll(name, "%20", " "))))
				if !bytes.Equal(got, data) {
					t.Errorf("%s: %d bytes of %d", name, len(got), len(data))
				}
			}
		}
		check(t, uftp.PutShared(ctx, sharedURL(t, s, uftp.ShareRequest{Path: "once", Access: uftp.ShareWrite, OneTime: true}, ""), strings.NewReader("x"), 1))

		s.AuthFaults().Inject(1, uftptest.AuthFault{Path: "/rest/access", Cut: 7})
		wantErr(t, uftp.PutShared(ctx, below(dir, "cut"), bytes.NewReader(big), -1), uftp.ErrUnavailable)
		broken := errors.New("broken")
		wantErr(t, uftp.PutShared(ctx, below(dir, "x"), io.MultiReader(strings.NewReader("x"), iotest.ErrReader(broken)), -1), broken)
		wantErr(t, uftp.PutShared(ctx, below(dir, "x"), strings.NewReader("x"), 2), io.ErrUnexpectedEOF)
		wantErr(t, uftp.PutShared(ctx, below(dir, ""), strings.NewReader("x"), 1), fs.ErrInvalid)
		wantErr(t, uftp.PutShared(ctx, below(dir, "none/x"), strings.NewReader("x"), 1), fs.ErrNotExist)
		readOnly := sharedURL(t, s, uftp.ShareRequest{Path: "dir/old"}, "other")
		wantErr(t, uftp.PutShared(ctx, readOnly, strings.NewReader("x"), 1), fs.ErrPermission)
	})
}

func TestSharedErrors(t *testing.T) {
	t.Parallel()
	s := uftptest.Start(t, twoUsers)
	s.WriteFile(t, "f", []byte("f"))
	r := sharedURL(t, s, uftp.ShareRequest{Path: "f", User: s.UserDN("guest")}, "other")
	_, _, err := fetchShared(t, r, 0, -1)
	wantErr(t, err, uftp.ErrAuth)
	r.Access.Credential = uftp.UsernamePassword{Username: "guest", Password: "wrong"}
	_, _, err = fetchShared(t, r, 0, -1)
	wantErr(t, err, uftp.ErrAuth)
	r.AuthURL += "0"
	_, _, err = fetchShared(t, sharedURL(t, s, uftp.ShareRequest{Path: "f"}, ""), 1, 0)
	wantErr(t, err, fs.ErrInvalid)
	for _, raw := range []string{
		"", "uftp://h/rest/access/T/id", "http://h/rest/access/T/id", "https://h/rest/access/T", "https://h/rest/access/T/",
		"https://h/rest/access/T:/path/x", "https://u:p@h/rest/access/T/id", "https://h/rest/access/T/id?x=y", "https://h/rest/access/T/id/%0A", "https://h/rest/share/T/id",
	} {
		if uftp.IsShareHTTPURL(raw) {
			t.Errorf("%q is no share's URL", raw)
		}
		_, err := uftp.GetShared(t.Context(), uftp.AuthRequest{AuthURL: raw}, 0, -1)
		wantErr(t, err, fs.ErrInvalid)
		wantErr(t, uftp.PutShared(t.Context(), uftp.AuthRequest{AuthURL: raw}, strings.NewReader(""), 0), fs.ErrInvalid)
	}
	if !uftp.IsShareHTTPURL("https://gw.example.org/SITE/rest/access/T/id/a:b/c%20d") {
		t.Error("a share behind a gateway")
	}
}
