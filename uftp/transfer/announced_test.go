package transfer_test

import (
	"bytes"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/csi-uftp/csi-uftp/uftp"
	"github.com/csi-uftp/csi-uftp/uftp/transfer"
	"github.com/csi-uftp/csi-uftp/uftp/uftptest"
)

// announced is a client that counts what is announced to it.
type announced struct {
	*uftp.Client
	bytes atomic.Int64
}

func (a *announced) Expect(n int64) {
	a.bytes.Add(n)
	a.Client.Expect(n)
}

// TestAnnounced tells a client how much will be moved if one file is all there is to
// copy, and moves it with all sessions.
func TestAnnounced(t *testing.T) {
	const size = 40 << 20
	data := pattern(size, 3)
	for name, tt := range map[string]struct {
		change func(*transfer.Job)
		want   int64
	}{
		"a file":      {func(*transfer.Job) {}, size},
		"a range":     {func(j *transfer.Job) { j.Range = &transfer.Range{Offset: size - 100, Length: 1000} }, 100},
		"two files":   {func(j *transfer.Job) { j.Pairs = append(j.Pairs, transfer.Pair{From: "g", To: "g"}) }, 0},
		"a directory": {func(j *transfer.Job) { j.Pairs[0], j.Recursive = transfer.Pair{From: ".", To: "."}, true }, 0},
		"what may be": {func(j *transfer.Job) { j.Existing = transfer.KeepSame }, 0},
	} {
		for _, direction := range []string{"download", "upload"} {
			t.Run(name+", "+direction, func(t *testing.T) {
				t.Parallel()
				s := uftptest.Start(t, uftptest.Config{})
				s.Faults().SetLink(uftptest.Link{Delay: 10 * time.Millisecond})
				dir := t.TempDir()
				c := &announced{Client: open(t, s)}
				job := transfer.Job{
					From: transfer.Remote{Client: c}, To: transfer.Local{Root: dir}, Pairs: []transfer.Pair{{From: "f", To: "f"}},
				}
				copied := filepath.Join(dir, "f")
				write := func(name string, data []byte) { s.WriteFile(t, name, data) }
				if direction == "upload" {
					job.From, job.To, copied = job.To, job.From, filepath.Join(s.Dir(), "f")
					write = localWriter(t, dir)
				}
				write("f", data)
				write("g", nil)
				tt.change(&job)
				_, err := transfer.Run(t.Context(), job)
				check(t, err)
				got, err := os.ReadFile(copied)
				check(t, err)
				want := data
				if job.Range != nil {
					want = data[size-100:]
				}
				if !bytes.Equal(got, want) {
					t.Error("wrong bytes")
				}
				if n := c.bytes.Load(); n != tt.want {
					t.Errorf("%d bytes were announced, want %d", n, tt.want)
				}
			})
		}
	}
}
