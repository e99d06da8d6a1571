package uftp_test

import (
	"fmt"
	"io/fs"
	"slices"
	"syscall"
	"testing"

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
