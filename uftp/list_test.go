package uftp_test

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/csi-uftp/csi-uftp/uftp"
	"github.com/csi-uftp/csi-uftp/uftp/uftptest"
)

// TestListOnTwo lists a long directory with half of the work on another session,
// whether that is there, has to be opened, may not be, or breaks.
func TestListOnTwo(t *testing.T) {
	t.Parallel()
	const n = 300
	for name, tt := range map[string]struct {
		limit, sessions int
		fault           uftptest.Fault
	}{
		"alone":          {limit: 2, sessions: 1},
		"server is full": {limit: 4, sessions: 1, fault: uftptest.Fault{Verb: uftptest.FaultLogin, Reply: "500 Too many active sessions for 'demo' - server limit is 1"}},
		"another":        {limit: 4},
		"breaks":         {limit: 4, fault: uftptest.Fault{Verb: "MLSD", Kill: true}},
		"fails":          {limit: 4, fault: uftptest.Fault{Verb: "MLSD", LastReply: "500 Error processing command 'MLSD': [Errno 32] Broken pipe"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := uftptest.Start(t, uftptest.Config{})
			for i := range n {
				s.WriteFile(t, fmt.Sprintf("dir/%03d", i), make([]byte, i))
			}
			c := open(t, s, func(c *uftp.Config) { c.MaxSessions = tt.limit })
			check(t, c.Connect(t.Context()))
			if tt.fault.Verb != "" {
				s.Faults().Inject(1, tt.fault)
			}
			for range 3 {
				entries, err := c.List(t.Context(), "dir")
				check(t, err)
				slices.SortFunc(entries, func(a, b uftp.Info) int { return int(a.Size - b.Size) })
				for i, e := range entries {
					if e.Name != fmt.Sprintf("%03d", i) || e.Size != int64(i) || e.Mode != 0o644 {
						t.Fatalf("entry %d is %+v", i, e)
					}
				}
				if len(entries) != n {
					t.Fatalf("%d entries", len(entries))
				}
				_, err = c.List(t.Context(), "dir/000")
				wantErr(t, err, syscall.ENOTDIR)
				_, err = c.List(t.Context(), "absent")
				wantErr(t, err, fs.ErrNotExist)
			}
			if st := c.Stats(); tt.sessions > 0 && st.Sessions > tt.sessions || st.Sessions > 2 {
				t.Errorf("%+v", st)
			}
		})
	}
}

// TestListSome lists directories together: short and long ones, an empty one, a file
// and what is not there.
func TestListSome(t *testing.T) {
	t.Parallel()
	uftptest.Each(t, uftptest.Config{}, func(t *testing.T, s *uftptest.Server) {
		dirs := []string{"a", "long", "empty", "a/file", "missing", "b c", "ä"}
		for dir, n := range map[string]int{"a": 3, "long": 200, "b c": 64, "ä": 65} {
			for i := range n {
				s.WriteFile(t, fmt.Sprintf("%s/f %03d", dir, i), make([]byte, i))
			}
		}
		s.WriteFile(t, "a/file", nil)
		check(t, os.Mkdir(filepath.Join(s.Dir(), "empty"), 0o750))
		check(t, os.Chmod(filepath.Join(s.Dir(), "a", "f 001"), 0o640))
		s.Chown(t)
		c := open(t, s, func(c *uftp.Config) { c.MaxSessions = 1 })
		check(t, c.Connect(t.Context()))
		for range 2 {
			listings, err := c.ListSome(t.Context(), dirs)
			check(t, err)
			for i, dir := range dirs {
				want, wantErr := c.List(t.Context(), dir)
				got := listings[i]
				for _, entries := range [][]uftp.Info{want, got.Entries} {
					slices.SortFunc(entries, func(a, b uftp.Info) int { return strings.Compare(a.Name, b.Name) })
				}
				if d := cmp.Diff(want, got.Entries, cmpopts.EquateEmpty()); d != "" {
					t.Errorf("%s: %s", dir, d)
				}
				if (wantErr == nil) != (got.Err == nil) || wantErr != nil && got.Err.Error() != wantErr.Error() {
					t.Errorf("%s: %v, alone %v", dir, got.Err, wantErr)
				}
			}
		}
		for _, n := range []int{0, uftp.MaxListSome + 1} {
			_, err := c.ListSome(t.Context(), make([]string, n))
			wantErr(t, err, fs.ErrInvalid)
		}
		before := c.Stats().RoundTrips
		_, err := c.ListSome(t.Context(), []string{"a", "empty", "b c"})
		check(t, err)
		if trips := c.Stats().RoundTrips - before; trips > 3 {
			t.Errorf("three short listings took %d round trips", trips)
		}
		if st := c.Stats(); st.Retries != 0 || st.Logins != 1 {
			t.Errorf("stats: %+v", st)
		}
	})
}
