package uftp_test

import (
	"bytes"
	"io"
	"io/fs"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/csi-uftp/csi-uftp/uftp"
	"github.com/csi-uftp/csi-uftp/uftp/uftptest"
)

// twoUsers is a server where "demo" shares and "guest" is shared with.
var twoUsers = uftptest.Config{
	Sharing: true,
	Users: []uftptest.User{
		{Name: "demo", Password: "demo-password", Groups: []string{"demo"}},
		{Name: "guest", Password: "guest-password", UnixUser: "demo", Groups: []string{"demo"}},
		{Name: "other", Password: "other-password", UnixUser: "demo", Groups: []string{"demo"}},
		{Name: "stranger", Password: "stranger-password", NoRole: true},
	},
}

func as(s *uftptest.Server, name string) uftp.AuthRequest {
	r := uftp.AuthRequest{AuthURL: s.AuthURL(), Access: uftp.Access{CABundle: s.CABundle()}}
	if name != "" {
		r.Access.Credential = uftp.UsernamePassword{Username: name, Password: uftp.Secret(name + "-password")}
	}
	return r
}

// visit opens what is shared, as somebody.
func visit(t *testing.T, s *uftptest.Server, name, dir, file string) *uftp.Client {
	t.Helper()
	return open(t, s, func(c *uftp.Config) {
		c.Access = as(s, name).Access
		c.AuthURL, c.BaseDir, c.SharedFile = s.AccessURL(), dir, file
	})
}

func TestShare(t *testing.T) {
	t.Parallel()
	uftptest.Each(t, twoUsers, func(t *testing.T, s *uftptest.Server) {
		ctx := t.Context()
		s.WriteFile(t, "dir/sub/f", []byte("shared"))
		s.WriteFile(t, "dir/g", []byte("g"))
		s.WriteFile(t, "file", []byte("one file"))
		s.WriteFile(t, "hidden", []byte("not shared"))
		dir := filepath.Join(s.Dir(), "dir")
		demo := as(s, "demo")

		made := ok[uftp.Share](t)(uftp.CreateShare(ctx, demo, uftp.ShareRequest{
			Path: dir, User: s.UserDN("guest"), Access: uftp.ShareWrite, Lifetime: time.Hour,
		}))
		if made.ID == "" || made.Path != dir+"/" || !made.Directory || made.Access != uftp.ShareWrite ||
			!strings.EqualFold(made.User, s.UserDN("guest")) || made.Lifetime < 59*time.Minute || made.Lifetime > time.Hour {
			t.Errorf("made %+v", made)
		}
		if want := s.AccessURL() + ":" + dir + "/"; made.UFTPURL != want || !strings.HasSuffix(made.HTTPURL, "/"+made.ID) {
			t.Errorf("URLs are %s and %s, want %s", made.UFTPURL, made.HTTPURL, want)
		}
		public := ok[uftp.Share](t)(uftp.CreateShare(ctx, demo, uftp.ShareRequest{Path: filepath.Join(s.Dir(), "file")}))
		if public.Access != uftp.ShareRead || public.User != uftp.ShareAnonymous || public.Directory || public.Lifetime != 0 {
			t.Errorf("made %+v", public)
		}

		t.Run("read and write a directory", func(t *testing.T) {
			c := visit(t, s, "guest", dir, "")
			p := make([]byte, 6)
			ok[int](t)(c.ReadAt(ctx, "sub/f", p, 0))
			ok[int](t)(c.WriteAt(ctx, "sub/new", []byte("new"), 0))
			wantErr(t, c.Remove(ctx, "g"), fs.ErrPermission) // writing is not deleting
			if _, err := visit(t, s, "guest", dir+"/sub", "").Stat(ctx, "f"); err != nil {
				t.Error(err)
			}
		})
		t.Run("read a file, as nobody", func(t *testing.T) {
			for _, name := range []string{"", "guest"} {
				c := visit(t, s, name, s.Dir(), "file")
				r, _, err := c.Get(ctx, "file")
				check(t, err)
				if got := ok[[]byte](t)(io.ReadAll(r)); string(got) != "one file" {
					t.Errorf("%q", got)
				}
				_, err = c.ReadAt(ctx, "hidden", make([]byte, 1), 0)
				wantErr(t, err, fs.ErrPermission)
				_, err = c.WriteAt(ctx, "file", []byte("x"), 0)
				wantErr(t, err, fs.ErrPermission)
			}
		})
		t.Run("not for everybody", func(t *testing.T) {
			for _, name := range []string{"", "other"} {
				err := visit(t, s, name, dir, "").Connect(ctx)
				wantErr(t, err, uftp.ErrAuth)
				if !strings.Contains(err.Error(), "not shared with") {
					t.Error(err)
				}
			}
			wantErr(t, visit(t, s, "guest", s.Dir(), "hidden").Connect(ctx), fs.ErrNotExist)
			wantErr(t, visit(t, s, "guest", s.Dir(), "").Connect(ctx), fs.ErrNotExist)
		})
		t.Run("lists", func(t *testing.T) {
			own := ok[uftp.Shares](t)(uftp.ListShares(ctx, demo))
			if len(own.Own) != 2 || len(own.Accessible) != 0 || own.Own[1].Count != 2 {
				t.Errorf("own: %+v", own)
			}
			guest := ok[uftp.Shares](t)(uftp.ListShares(ctx, as(s, "guest")))
			if len(guest.Own) != 0 || len(guest.Accessible) != 1 || guest.Accessible[0].ID != made.ID || !strings.EqualFold(guest.Accessible[0].Owner, s.UserDN("demo")) {
				t.Errorf("guest's: %+v", guest)
			}
		})
		t.Run("change", func(t *testing.T) {
			forever, sub := time.Duration(0), dir+"/sub/"
			check(t, uftp.UpdateShare(ctx, demo, made.ID, uftp.ShareUpdate{Path: &sub, Lifetime: &forever}))
			got := ok[uftp.Share](t)(uftp.GetShare(ctx, demo, made.ID))
			if got.Path != sub || got.Lifetime != 0 {
				t.Errorf("changed to %+v", got)
			}
			again := ok[uftp.Share](t)(uftp.CreateShare(ctx, demo, uftp.ShareRequest{Path: sub, User: s.UserDN("guest")}))
			if again.ID != made.ID || again.Access != uftp.ShareRead {
				t.Errorf("shared again: %+v", again)
			}
			wantErr(t, uftp.UpdateShare(ctx, as(s, "guest"), made.ID, uftp.ShareUpdate{Lifetime: &forever}), fs.ErrPermission)
		})
		t.Run("delete", func(t *testing.T) {
			wantErr(t, uftp.DeleteShare(ctx, as(s, "guest"), made.ID), fs.ErrPermission)
			check(t, uftp.DeleteShare(ctx, demo, made.ID))
			_, err := uftp.GetShare(ctx, demo, made.ID)
			wantErr(t, err, fs.ErrNotExist)
			wantErr(t, visit(t, s, "guest", dir+"/sub", "").Connect(ctx), fs.ErrNotExist)
		})
		t.Run("once", func(t *testing.T) {
			once := ok[uftp.Share](t)(uftp.CreateShare(ctx, demo, uftp.ShareRequest{Path: filepath.Join(s.Dir(), "hidden"), OneTime: true}))
			check(t, visit(t, s, "", s.Dir(), "hidden").Connect(ctx))
			_, err := uftp.GetShare(ctx, demo, once.ID)
			wantErr(t, err, fs.ErrNotExist)
			wantErr(t, visit(t, s, "", s.Dir(), "hidden").Connect(ctx), fs.ErrNotExist)
		})
	})
}

func TestShareErrors(t *testing.T) {
	t.Parallel()
	s := uftptest.Start(t, uftptest.Config{Sharing: true, ReadOnlyShares: true, Users: twoUsers.Users})
	none := uftptest.Start(t, uftptest.Config{})
	s.WriteFile(t, "f", nil)
	file := filepath.Join(s.Dir(), "f")
	ctx := t.Context()
	create := func(r uftp.AuthRequest, q uftp.ShareRequest) error {
		_, err := uftp.CreateShare(ctx, r, q)
		return err
	}
	noName := as(s, "demo")
	noName.AuthURL = s.InfoURL()
	for _, tt := range []struct {
		name string
		err  error
		want error
	}{
		{"relative path", create(as(s, "demo"), uftp.ShareRequest{Path: "f"}), fs.ErrInvalid},
		{"unknown access", create(as(s, "demo"), uftp.ShareRequest{Path: file, Access: "FULL"}), fs.ErrInvalid},
		{"lifetime", create(as(s, "demo"), uftp.ShareRequest{Path: file, Lifetime: time.Millisecond}), fs.ErrInvalid},
		{"writable", create(as(s, "demo"), uftp.ShareRequest{Path: file, Access: uftp.ShareWrite}), fs.ErrPermission},
		{"as nobody", create(as(s, ""), uftp.ShareRequest{Path: file}), fs.ErrPermission},
		{"without the role", create(as(s, "stranger"), uftp.ShareRequest{Path: file}), fs.ErrPermission},
		{"wrong password", create(uftp.AuthRequest{AuthURL: s.AuthURL(), Access: uftp.Access{
			CABundle: s.CABundle(), Credential: uftp.UsernamePassword{Username: "demo", Password: "x"}}}, uftp.ShareRequest{Path: file}), uftp.ErrAuth},
		{"what is not there", create(as(s, "demo"), uftp.ShareRequest{Path: file + "x"}), uftp.ErrUnavailable},
		{"no server's name", create(noName, uftp.ShareRequest{Path: file}), fs.ErrInvalid},
		{"no sharing there", create(uftp.AuthRequest{AuthURL: none.AuthURL(), Access: uftp.Access{CABundle: none.CABundle()}}, uftp.ShareRequest{Path: file}), fs.ErrNotExist},
		{"no id", uftp.DeleteShare(ctx, as(s, "demo"), ""), fs.ErrInvalid},
		{"id with a slash", uftp.DeleteShare(ctx, as(s, "demo"), "../x"), fs.ErrInvalid},
	} {
		t.Run(tt.name, func(t *testing.T) { wantErr(t, tt.err, tt.want) })
	}
}

func TestIssueToken(t *testing.T) {
	t.Parallel()
	s := uftptest.Start(t, uftptest.Config{Users: []uftptest.User{
		{Name: "demo", Password: "demo-password", Groups: []string{"main", "project"}},
	}, Reservations: []string{"'maintenance': users=[x]"}})
	ctx := t.Context()
	r := as(s, "demo")
	r.UserPreferences = "group:project"
	token := ok[uftp.Secret](t)(uftp.IssueToken(ctx, r, uftp.TokenRequest{Lifetime: time.Hour, Renewable: true, Limited: true}))
	with := as(s, "")
	with.Access.Credential = uftp.BearerToken{Token: token}
	info := ok[uftp.AuthInfo](t)(uftp.ServerInfo(ctx, with))
	server := info.Servers["TEST"]
	if info.Client.Method != "ETD" || server.GID != "project" {
		t.Errorf("the token stands for %+v in group %q", info.Client, server.GID)
	}
	if d := cmp.Diff([]string{"'maintenance': users=[x]"}, server.Reservations); d != "" {
		t.Error(d)
	}
	again := ok[uftp.Secret](t)(uftp.IssueToken(ctx, with, uftp.TokenRequest{}))
	with.Access.Credential = uftp.BearerToken{Token: again}
	_, err := uftp.IssueToken(ctx, with, uftp.TokenRequest{})
	wantErr(t, err, uftp.ErrAuth) // that one is not renewable
	_, err = uftp.IssueToken(ctx, r, uftp.TokenRequest{Lifetime: 1e6 * time.Hour})
	wantErr(t, err, fs.ErrInvalid)
	_, err = uftp.IssueToken(ctx, r, uftp.TokenRequest{Lifetime: -1})
	wantErr(t, err, fs.ErrInvalid)
	_, err = uftp.IssueToken(ctx, as(s, ""), uftp.TokenRequest{})
	wantErr(t, err, uftp.ErrAuth)

	c := open(t, s, func(c *uftp.Config) { c.UserPreferences = "group:project" })
	check(t, c.Connect(ctx))
	if got := s.AuthRequests(); got[len(got)-1].Preferences != "group:project" {
		t.Errorf("%+v", got)
	}
	c = open(t, s, func(c *uftp.Config) { c.UserPreferences = "group:none" })
	wantErr(t, c.Connect(ctx), uftp.ErrAuth)
	if bytes.Contains([]byte(token.String()), []byte("ey")) {
		t.Error("a token prints itself")
	}
}
