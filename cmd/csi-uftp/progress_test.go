package main

import (
	"bytes"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/csi-uftp/csi-uftp/uftp"
	"github.com/csi-uftp/csi-uftp/uftp/transfer"
)

// TestBar has the bar show a copy of three files: one moved, one there, one failed.
func TestBar(t *testing.T) {
	var out bytes.Buffer
	r := newBarReporter(&out)
	item := func(name string, size int64) transfer.Item {
		return transfer.Item{From: name, To: "to/" + name, Info: uftp.Info{Name: name, Size: size}}
	}
	moved, kept, failed := item("moved", 3<<20), item("kept", 5), item("fai\x1bled", 7)
	for _, i := range []transfer.Item{moved, kept, failed} {
		r.Found(i)
	}
	r.Moved(moved, 1<<20, true)
	r.Moved(moved, 2<<20, false)
	r.Done(moved, nil)
	skip := kept
	skip.Action = transfer.Skip
	r.Done(skip, nil)
	r.Done(failed, errors.New("fai\x1bled: disk full"))
	if r.total != 3<<20 || r.ended != 3 || r.failed != 1 || len(r.left) != 0 {
		t.Errorf("total %d, ended %d, failed %d, left %v", r.total, r.ended, r.failed, r.left)
	}
	r.finish(transfer.Summary{Files: 1, Skipped: 1, Failed: 1, Bytes: 2 << 20}, 2*time.Second, false)
	for _, want := range []string{
		"csi-uftp: fai led: disk full\n", "3/3 files 1 failed", "3.0 MiB",
		"csi-uftp: 1 file copied, 1 file up to date, 1 failed; 2.0 MiB in 2s, 1.0 MiB/s\n",
	} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %q in %q", want, out.String())
		}
	}
}

func TestByteCount(t *testing.T) {
	for n, want := range map[int64]string{0: "0 bytes", 1023: "1023 bytes", 1024: "1.0 KiB", 5 << 30: "5.0 GiB", 1<<63 - 1: "8192.0 PiB"} {
		if got := byteCount(n); got != want {
			t.Errorf("byteCount(%d) = %q, want %q", n, got, want)
		}
	}
}
