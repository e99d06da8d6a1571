package uftp_test

import (
	"bytes"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/csi-uftp/csi-uftp/uftp"
	"github.com/csi-uftp/csi-uftp/uftp/uftptest"
)

// partsOf cuts data into parts of different sizes, in another order. None is smaller
// than a tenth of the largest, so that a fault behind the first few bytes of a part
// strikes whichever part it is for.
func partsOf(data []byte, off int64, most int) []uftp.WriteRange {
	var parts []uftp.WriteRange
	least := most / 10
	for len(data) > 0 {
		n := least + 1 + rand.IntN(most-least)
		if len(data)-n <= least {
			n = len(data)
		}
		parts = append(parts, uftp.WriteRange{Off: off, Data: data[:n]})
		data, off = data[n:], off+int64(n)
	}
	rand.Shuffle(len(parts), func(i, k int) { parts[i], parts[k] = parts[k], parts[i] })
	return parts
}

// TestWriteRangesFaults strikes in the middle of a pipe of uploads.
func TestWriteRangesFaults(t *testing.T) {
	data := pattern(3<<20, 81)
	const after = 10 << 10
	for name, tt := range map[string]struct {
		fault uftptest.Fault
		want  error
	}{
		"refused":        {uftptest.Fault{Verb: "STOR", Errno: syscall.EACCES}, fs.ErrPermission},
		"disk full":      {uftptest.Fault{Verb: "STOR", Transfer: true, After: after, Errno: syscall.ENOSPC}, syscall.ENOSPC},
		"cut":            {uftptest.Fault{Verb: "STOR", Cut: true, After: after}, nil},
		"killed":         {uftptest.Fault{Verb: "STOR", Kill: true}, nil},
		"killed halfway": {uftptest.Fault{Verb: "STOR", Transfer: true, After: after, Kill: true}, nil},
		"226 lost":       {uftptest.Fault{Verb: "STOR", LoseReply: true}, nil},
		"stalled":        {uftptest.Fault{Verb: "STOR", Transfer: true, After: after, Stall: true}, nil},
		"look lost":      {uftptest.Fault{Verb: "STAT", Kill: true}, nil},
		"range refused":  {uftptest.Fault{Verb: "RANG", Reply: "501 Argument syntax error"}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := uftptest.Start(t, uftptest.Config{MaxConnections: 1000})
			c := open(t, s)
			uftp.SetStall(c, 500*time.Millisecond)
			uftp.SetLateTime(c, 100*time.Millisecond) // see TestLateWrites
			check(t, c.Connect(t.Context()))
			for round := range 4 {
				parts := partsOf(data, 0, 300<<10)
				f := tt.fault
				f.Skip = rand.IntN(len(parts))
				if f.Verb == "STAT" {
					f.Skip = 0
				}
				s.Faults().Inject(1, f)
				name := fmt.Sprint("f", round)
				_, err := c.WriteRanges(t.Context(), name, parts)
				s.Faults().Clear()
				if tt.want != nil {
					wantErr(t, err, tt.want)
					if _, err := c.WriteRanges(t.Context(), name, parts); err != nil {
						t.Errorf("once more: %v", err)
					}
				} else if err != nil {
					t.Errorf("round %d: %v", round, err)
				}
				if !bytes.Equal(local(t, s, name), data) {
					t.Errorf("round %d: wrong bytes", round)
				}
				check(t, os.Remove(filepath.Join(s.Dir(), name)))
			}
		})
	}
}
