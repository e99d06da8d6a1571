package uftp_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/csi-uftp/csi-uftp/uftp"
	"github.com/csi-uftp/csi-uftp/uftp/uftptest"
)

// newFiles makes n files of different sizes, some of them empty, in dir. Every
// other one is checked by its hash.
func newFiles(dir string, n int, seed uint64) []uftp.NewFile {
	r := rand.New(rand.NewPCG(seed, 0))
	files := make([]uftp.NewFile, n)
	for i := range files {
		files[i] = uftp.NewFile{
			Path: fmt.Sprintf("%s/f%03d", dir, i), Part: fmt.Sprintf("%s/.part%03d", dir, i),
			Data: pattern(r.IntN(40_000)*r.IntN(2), seed+uint64(i)),
		}
		if i%2 == 0 {
			files[i].Hash, files[i].Sum = "SHA-256", fmt.Sprintf("%x", sha256.Sum256(files[i].Data))
		}
	}
	return files
}

// mustHold checks that what is below dir are the files without an error, and them
// alone.
func mustHold(t *testing.T, s *uftptest.Server, dir string, files []uftp.NewFile, errs []error) {
	t.Helper()
	want := make(map[string][]byte)
	for i, f := range files {
		if errs[i] == nil {
			want[strings.TrimPrefix(f.Path, dir+"/")] = f.Data
		}
	}
	entries := ok[[]os.DirEntry](t)(os.ReadDir(filepath.Join(s.Dir(), dir)))
	for _, e := range entries {
		data, there := want[e.Name()]
		switch {
		case !there && !e.IsDir():
			t.Errorf("%s is there", e.Name())
		case there && !bytes.Equal(local(t, s, dir+"/"+e.Name()), data):
			t.Errorf("%s has wrong bytes", e.Name())
		}
		delete(want, e.Name())
	}
	if len(want) > 0 {
		t.Errorf("missing: %q", slices.Sorted(maps.Keys(want)))
	}
}

func TestPutFiles(t *testing.T) {
	t.Parallel()
	uftptest.Each(t, uftptest.Config{}, func(t *testing.T, s *uftptest.Server) {
		ctx := t.Context()
		c := open(t, s)
		check(t, c.Mkdir(ctx, "d"))
		s.WriteFile(t, "d/f007", []byte("what was there before, and longer than most"))
		s.WriteFile(t, "d/.part008", pattern(100_000, 1))
		s.Chown(t)
		files := newFiles("d", 300, 1)
		winter, summer := time.Date(2021, 1, 2, 3, 4, 5, 0, time.UTC), time.Date(2021, 7, 2, 3, 4, 5, 0, time.UTC)
		for i := range files {
			files[i].ModTime = []time.Time{winter, summer, {}}[i%3]
			files[i].Mode, files[i].SetMode = 0o640, i%2 == 0
		}
		files[50].Path, files[50].Part = "d/ name with  blanks ", "d/.part with blanks"
		before := c.Stats().RoundTrips
		errs := c.PutFiles(ctx, files)
		for i, err := range errs {
			if err != nil {
				t.Errorf("%s: %v", files[i].Path, err)
			}
		}
		if trips := c.Stats().RoundTrips - before; trips > 25 { // 300 files are three groups
			t.Errorf("%d round trips", trips)
		}
		mustHold(t, s, "d", files, errs)
		for i, f := range files {
			fi := ok[os.FileInfo](t)(os.Stat(filepath.Join(s.Dir(), f.Path)))
			if f.SetMode && fi.Mode() != 0o640 || !f.ModTime.IsZero() && !fi.ModTime().Equal(f.ModTime) {
				t.Errorf("%d: %s has mode %v and time %v, want %v", i, f.Path, fi.Mode(), fi.ModTime(), f.ModTime)
			}
		}
		if errs := c.PutFiles(ctx, nil); len(errs) != 0 {
			t.Errorf("nothing: %v", errs)
		}
	})
}

// TestPutFilesCorrupt has files whose bytes are not those that there should be, in a
// group and one that goes alone: they do not get their names.
func TestPutFilesCorrupt(t *testing.T) {
	t.Parallel()
	uftptest.Each(t, uftptest.Config{}, func(t *testing.T, s *uftptest.Server) {
		c := open(t, s)
		check(t, c.Mkdir(t.Context(), "d"))
		files := newFiles("d", 40, 9)
		files[20].Part, files[20].Mode, files[20].SetMode = "d/part with blanks", 0o600, true
		bad := map[int]bool{0: true, 20: true, 38: true}
		for i := range bad {
			files[i].Sum = strings.Repeat("0", 64)
		}
		files[10].Hash = "SHA-3" // not one of the server's
		errs := c.PutFiles(t.Context(), files)
		for i, err := range errs {
			switch {
			case bad[i] != errors.Is(err, uftp.ErrCorrupt), i != 10 && !bad[i] && err != nil, i == 10 && err == nil:
				t.Errorf("%s: %v", files[i].Path, err)
			}
		}
		mustHold(t, s, "d", files, errs)
	})
}

// TestPutFilesRefused has bad files among good ones, everywhere in a group.
func TestPutFilesRefused(t *testing.T) {
	t.Parallel()
	uftptest.Each(t, uftptest.Config{}, func(t *testing.T, s *uftptest.Server) {
		ctx := t.Context()
		c := open(t, s)
		check(t, c.Mkdir(ctx, "d"))
		check(t, c.Mkdir(ctx, "d/dir"))
		s.WriteFile(t, "d/dir/x", nil)
		for round := range 6 {
			files := newFiles("d", 40, uint64(100+round))
			bad := map[int]error{}
			for _, i := range rand.Perm(len(files))[:5] {
				switch bad[i] = nil; rand.IntN(4) {
				case 0:
					files[i].Path, files[i].Part, bad[i] = "d/none/f", "d/none/p", fs.ErrNotExist
				case 1:
					files[i].Part, bad[i] = "d/dir", syscall.EISDIR
				case 2:
					files[i].Path, bad[i] = "d/dir", syscall.EISDIR // rename over a directory with something in it
				case 3:
					files[i].Path, bad[i] = "d/a\nb", fs.ErrInvalid
				}
			}
			errs := c.PutFiles(ctx, files)
			for i, err := range errs {
				switch {
				case bad[i] == nil && err != nil, bad[i] != nil && err == nil:
					t.Errorf("%d %q: %v, want %v", i, files[i].Path, err, bad[i])
				case bad[i] != nil:
					wantErr(t, err, bad[i])
				}
			}
			mustHold(t, s, "d", files, errs)
			for _, f := range files {
				_ = os.Remove(filepath.Join(s.Dir(), f.Path))
			}
			s.WriteFile(t, "d/dir/x", nil)
		}
	})
}

// TestPutFilesFaults strikes in the middle of a group.
func TestPutFilesFaults(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		fault uftptest.Fault
		want  error
	}{
		"refused":        {uftptest.Fault{Verb: "STOR", Errno: syscall.EACCES}, fs.ErrPermission},
		"disk full":      {uftptest.Fault{Verb: "STOR", Transfer: true, After: 100, Errno: syscall.ENOSPC}, syscall.ENOSPC},
		"cut":            {uftptest.Fault{Verb: "STOR", Cut: true, After: 100}, nil},
		"short":          {uftptest.Fault{Verb: "STOR", Short: true, After: 100}, nil},
		"killed":         {uftptest.Fault{Verb: "STOR", Kill: true}, nil},
		"killed halfway": {uftptest.Fault{Verb: "STOR", Transfer: true, After: 100, Kill: true}, nil},
		"226 lost":       {uftptest.Fault{Verb: "STOR", LoseReply: true}, nil},
		"stalled":        {uftptest.Fault{Verb: "STOR", Transfer: true, After: 100, Stall: true}, nil},
		"length refused": {uftptest.Fault{Verb: "ALLO", Reply: "501 Argument syntax error"}, nil},
		"look lost":      {uftptest.Fault{Verb: "STAT", Kill: true}, nil},
		"mode refused":   {uftptest.Fault{Verb: "MFF", Errno: syscall.EPERM}, fs.ErrPermission},
		"name refused":   {uftptest.Fault{Verb: "RNTO", Errno: syscall.EACCES}, fs.ErrPermission},
		"name lost":      {uftptest.Fault{Verb: "RNTO", Kill: true}, nil},
		"name said lost": {uftptest.Fault{Verb: "RNTO", LoseReply: true}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := uftptest.Start(t, uftptest.Config{MaxConnections: 1000})
			c := open(t, s)
			uftp.SetStall(c, 500*time.Millisecond)
			uftp.SetLateTime(c, 100*time.Millisecond) // see TestLateWrites
			for round := range 4 {
				dir := fmt.Sprint("d", round)
				check(t, c.Mkdir(t.Context(), dir))
				files := newFiles(dir, 150, uint64(1000*round))
				for i := range files {
					files[i].Mode, files[i].SetMode = 0o600, true
				}
				f := tt.fault
				f.Skip = rand.IntN(len(files))
				s.Faults().Inject(1, f)
				errs := c.PutFiles(t.Context(), files)
				s.Faults().Clear()
				failed := 0
				for _, err := range errs {
					if err != nil {
						failed++
						if tt.want == nil {
							t.Error(err)
						} else {
							wantErr(t, err, tt.want)
						}
					}
				}
				if failed > 1 {
					t.Errorf("%d files failed", failed)
				}
				mustHold(t, s, dir, files, errs)
			}
		})
	}
}

// TestPutFilesElsewhere is a server in a zone with summer time.
func TestPutFilesElsewhere(t *testing.T) {
	t.Parallel()
	loc, err := time.LoadLocation("Australia/Lord_Howe") // half an hour
	check(t, err)
	s := uftptest.Start(t, uftptest.Config{Location: loc})
	c := open(t, s)
	check(t, c.Mkdir(t.Context(), "d"))
	files := newFiles("d", 200, 5)
	for i := range files {
		files[i].ModTime = time.Date(2021, time.Month(1+i%12), 2, 3, 4, 5, 0, time.UTC)
	}
	errs := c.PutFiles(t.Context(), files)
	mustHold(t, s, "d", files, errs)
	for i, f := range files {
		check(t, errs[i])
		if fi := ok[os.FileInfo](t)(os.Stat(filepath.Join(s.Dir(), f.Path))); !fi.ModTime().Equal(f.ModTime) {
			t.Errorf("%s: %v, want %v", f.Path, fi.ModTime(), f.ModTime)
		}
	}
}

// TestPutFilesModes is one by one, where a data connection takes one transfer.
func TestPutFilesModes(t *testing.T) {
	t.Parallel()
	uftptest.Each(t, uftptest.Config{}, func(t *testing.T, s *uftptest.Server) {
		c := open(t, s, func(cfg *uftp.Config) { cfg.Encryption = uftp.EncryptionAES })
		check(t, c.Mkdir(t.Context(), "d"))
		files := newFiles("d", 10, 9)
		errs := c.PutFiles(t.Context(), files)
		for _, err := range errs {
			check(t, err)
		}
		mustHold(t, s, "d", files, errs)
	})
}

// TestPutFilesInterrupted gives up in the middle of a group: nothing stays of what
// had not got its name.
func TestPutFilesInterrupted(t *testing.T) {
	t.Parallel()
	s := uftptest.Start(t, uftptest.Config{})
	c := open(t, s)
	uftp.SetFinishTime(c, 10*time.Millisecond)
	uftp.SetLateTime(c, 100*time.Millisecond)
	check(t, c.Mkdir(t.Context(), "d"))
	files := newFiles("d", 20, 1)
	s.Faults().Inject(1, uftptest.Fault{Verb: "STOR", Skip: 8, Stall: true})
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	done := make(chan []error, 1)
	go func() { done <- c.PutFiles(ctx, files) }()
	eventually(t, "eight parts", func() bool {
		_, err := os.Stat(filepath.Join(s.Dir(), files[7].Part))
		return err == nil
	})
	cancel()
	errs := <-done
	for i, err := range errs {
		if !errors.Is(err, context.Canceled) {
			t.Errorf("%s: %v", files[i].Path, err)
		}
	}
	mustHold(t, s, "d", files, errs)
}
