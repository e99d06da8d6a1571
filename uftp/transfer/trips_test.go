package transfer_test

import (
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/csi-uftp/csi-uftp/uftp"
	"github.com/csi-uftp/csi-uftp/uftp/transfer"
	"github.com/csi-uftp/csi-uftp/uftp/uftptest"
)

// TestTreeRoundTrips: trees of many small directories do not cost a round trip for
// each of them.
func TestTreeRoundTrips(t *testing.T) {
	s := uftptest.Start(t, uftptest.Config{})
	dir := t.TempDir()
	write := localWriter(t, dir)
	const width, dirs = 6, 6 + 36 + 216
	for i := range width * width * width {
		for k := range 2 {
			write(fmt.Sprintf("src/%d/%d/%d/%d", i/36, i/6%6, i%6, k), []byte("x"))
		}
	}
	c := open(t, s)
	local, remote := transfer.Local{Root: dir}, transfer.Remote{Client: c}
	trips := func(what string, most int64, f func() error) {
		t.Helper()
		before := c.Stats().RoundTrips
		check(t, f())
		got := c.Stats().RoundTrips - before
		t.Logf("%s: %d round trips", what, got)
		if got > most {
			t.Errorf("%s of %d directories takes %d round trips, want %d at most", what, dirs, got, most)
		}
	}
	run := func(from, to transfer.Tree, fromName, toName string, job transfer.Job) func() error {
		return func() error {
			job.From, job.To, job.Recursive, job.Times, job.Modes = from, to, true, true, true
			job.Pairs = []transfer.Pair{{From: fromName, To: toName}}
			_, err := transfer.Run(t.Context(), job)
			return err
		}
	}
	trips("copying up", dirs/2, run(local, remote, "src", "up", transfer.Job{}))
	trips("an unchanged sync", dirs/2, run(local, remote, "src", "up", transfer.Job{Existing: transfer.KeepSame, Delete: true}))
	trips("walking", dirs/4, func() error {
		return transfer.Walk(t.Context(), remote, "up", func(_ string, _ uftp.Info, err error) error { return err })
	})
	trips("copying down", dirs, run(remote, local, "up", "down", transfer.Job{}))
	all := readTree(t, dir)
	want, got := make(files), make(files)
	for name, content := range all {
		if len(name) > 4 && name[:4] == "src/" {
			want[name[4:]] = content
		}
		if len(name) > 5 && name[:5] == "down/" {
			got[name[5:]] = content
		}
	}
	if diff := cmp.Diff(want, got); diff != "" || len(want) != dirs+2*216 {
		t.Errorf("%d things: %s", len(want), diff)
	}
	trips("removing", dirs/2, func() error {
		sum, err := transfer.Remove(t.Context(), transfer.Job{To: remote, Recursive: true, Pairs: []transfer.Pair{{To: "up"}}})
		if want := int64(1 + dirs + 2*216); sum.Deleted != want {
			t.Errorf("%d things deleted, want %d", sum.Deleted, want)
		}
		return err
	})
	if left := readTree(t, s.Dir()); len(left) > 0 {
		t.Errorf("left: %v", left)
	}
}
