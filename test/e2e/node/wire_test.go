package node_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	mrand "math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/csi-uftp/csi-uftp/uftp/uftptest"
)

// wireFault is a way for a server, or what lies before it, to fail. A mount
// outlives each of them.
func wireFault(rnd *mrand.Rand) uftptest.Fault {
	verb := []string{"RETR", "STOR"}[rnd.IntN(2)]
	after := rnd.Int64N(200 << 10)
	faults := []uftptest.Fault{
		{Verb: verb, Cut: true, After: after},
		{Verb: verb, Kill: true},
		{Verb: verb, Kill: true, Transfer: true, After: after},
		{Verb: "RETR", Short: true, After: after},
		{Verb: verb, LoseReply: true},
		{Verb: verb, LastReply: "426 Connection closed; transfer aborted."},
		{Verb: verb, Stall: true, Transfer: true, After: after},
		{Verb: uftptest.FaultData, Cut: true},
		{Verb: uftptest.FaultConnect, Reply: "421 Service not available"},
		{Verb: uftptest.FaultConnect, Kill: true},
		{Verb: uftptest.FaultLogin, Kill: true},
		{Verb: "EPSV", Reply: "500 Not now"},
		{Verb: "STAT", LoseReply: true},
		{Verb: "STAT", Reply: "\x00\xff garbage\n\n999999999999999999999 x"},
		{Verb: "MLST", Kill: true},
		{Verb: "MLST", Reply: "250-\n250 "},
		{Verb: verb, Reply: "226 nothing was sent"},
		{Verb: verb, Delay: 300 * time.Millisecond},
	}
	return faults[rnd.IntN(len(faults))]
}

// TestWireFaults has programs read and write at random while one thing after
// the other goes wrong, and compares all that they get with what they wrote.
// Errors are allowed where they are true; bytes are not allowed to be wrong.
func TestWireFaults(t *testing.T) {
	const writers, size = 3, 2 << 20
	s := uftptest.Start(t, uftptest.Config{})
	n := startNode(t)
	v := n.mount(t, s, "wire", "ioTimeout=8s", "cacheSize=1Mi", "blockSize=64Ki")
	rnd := mrand.New(mrand.NewPCG(1, 2))
	over := breaking(t, 150*time.Millisecond, 30, func() error {
		s.Faults().Inject(1, wireFault(rnd))
		return nil
	})
	var wg sync.WaitGroup
	var mu sync.Mutex
	failed := map[string]int{}
	note := func(op string, err error) {
		mu.Lock()
		defer mu.Unlock()
		failed[fmt.Sprintf("%s: %v", op, errors.Unwrap(err))]++
	}
	for w := range writers {
		wg.Go(func() {
			d := &doubter{rnd: mrand.New(mrand.NewPCG(3, uint64(w))), name: filepath.Join(v.target, fmt.Sprint("f", w)), note: note}
			if err := d.run(size, over); err != nil {
				t.Errorf("file %d: %v", w, err)
				return
			}
			got, err := os.ReadFile(filepath.Join(s.Dir(), fmt.Sprint("f", w)))
			if err != nil {
				t.Error(err)
			}
			sameBytes(t, fmt.Sprint("on the server, file ", w), got, d.model)
		})
	}
	wg.Wait()
	t.Logf("errors that programs got: %v; %+v", failed, s.Stats())
}

// doubter works on one file, knows what must be in it, and lives with errors.
type doubter struct {
	rnd   *mrand.Rand
	name  string
	note  func(op string, err error)
	f     *os.File
	model []byte
}

func (d *doubter) run(size int64, over <-chan struct{}) error {
	if err := d.open(); err != nil {
		return err
	}
	defer func() {
		if d.f != nil {
			_ = d.f.Close()
		}
	}()
	for step := 0; ; step++ {
		if err := d.step(size); err != nil {
			return fmt.Errorf("step %d: %w", step, err)
		}
		select {
		case <-over:
			return d.again("last fsync", d.f.Sync)
		default:
		}
	}
}

// again repeats f while it gets errors that a server's faults explain.
func (d *doubter) again(op string, f func() error) error {
	for range 20 {
		err := f()
		if err == nil {
			return nil
		}
		d.note(op, err)
		if !errors.Is(err, syscall.EIO) && !errors.Is(err, syscall.ETIMEDOUT) {
			return fmt.Errorf("%s: %w", op, err)
		}
	}
	return fmt.Errorf("%s fails for ever", op)
}

func (d *doubter) open() error {
	return d.again("open", func() (err error) {
		d.f, err = os.OpenFile(d.name, os.O_CREATE|os.O_RDWR, 0o644)
		return err
	})
}

func (d *doubter) step(size int64) error {
	off := d.rnd.Int64N(size)
	p := make([]byte, 1+d.rnd.Int64N(min(300<<10, size-off)))
	switch d.rnd.IntN(8) {
	case 0, 1, 2: // write: into memory, as long as there is room
		for i := range p {
			p[i] = byte(d.rnd.Uint32())
		}
		return d.again("write", func() error {
			_, err := d.f.WriteAt(p, off)
			if err == nil {
				d.model = append(d.model, make([]byte, max(0, int(off)+len(p)-len(d.model)))...)
				copy(d.model[off:], p)
			}
			return err
		})
	case 3, 4, 5:
		return d.again("read", func() error {
			n, err := d.f.ReadAt(p, off)
			if err != nil && !errors.Is(err, io.EOF) {
				return err
			}
			end := min(off+int64(len(p)), int64(len(d.model)))
			want := d.model[min(off, end):end]
			if !bytes.Equal(p[:n], want) {
				return fmt.Errorf("wrong bytes: %d at %d, want %d of %d", n, off, len(want), len(d.model))
			}
			return nil
		})
	case 6:
		return d.again("fsync", d.f.Sync)
	default:
		if err := d.again("fsync before close", d.f.Sync); err != nil {
			return err
		}
		if err := d.f.Close(); err != nil {
			d.note("close", err)
		}
		return d.open()
	}
}

// TestStalledServer has a server that says nothing more: programs wait as long
// as the volume's ioTimeout says and no longer, and go on when it is back.
func TestStalledServer(t *testing.T) {
	const ioTimeout = 4 * time.Second
	s := uftptest.Start(t, uftptest.Config{})
	data := content(1, 4<<20)
	for _, name := range []string{"read", "stat", "dir/a", "changed/a"} {
		s.WriteFile(t, name, data)
	}
	n := startNode(t)
	v := n.mount(t, s, "stalled", "ioTimeout="+ioTimeout.String())
	written, err := os.Create(filepath.Join(v.target, "written"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := written.Write(data); err != nil {
		t.Fatal(err)
	}
	// While a name is made the kernel lets nobody look up others of its directory:
	// those who do would wait for one another, and for ioTimeout each.
	changed := filepath.Join(v.target, "changed")
	if _, err := os.Stat(changed); err != nil {
		t.Fatal(err)
	}
	s.Faults().Inject(-1, uftptest.Fault{Stall: true})
	var wg sync.WaitGroup
	for name, f := range map[string]func() error{
		"read":  func() error { _, err := os.ReadFile(filepath.Join(v.target, "read")); return err },
		"stat":  func() error { _, err := os.Stat(filepath.Join(v.target, "stat")); return err },
		"list":  func() error { _, err := os.ReadDir(filepath.Join(v.target, "dir")); return err },
		"fsync": written.Sync,
		"mkdir": func() error { return os.Mkdir(filepath.Join(changed, "new"), 0o755) },
	} {
		wg.Go(func() {
			start := time.Now()
			err := f()
			took := time.Since(start)
			t.Logf("%s: %v after %v", name, err, took.Round(time.Millisecond))
			if !errors.Is(err, syscall.EIO) && !errors.Is(err, syscall.ETIMEDOUT) {
				t.Errorf("%s: %v", name, err)
			}
			if took > 2*ioTimeout {
				t.Errorf("%s took %v, which is more than ioTimeout explains", name, took)
			}
		})
	}
	wg.Wait()
	s.Faults().Clear()
	// The session that was lost in the middle of an upload may still write.
	waitFor(t, "fsync when the server is back", func() bool { return written.Sync() == nil })
	if err := written.Close(); err != nil {
		t.Error(err)
	}
	for _, name := range []string{"read", "written"} {
		got, err := os.ReadFile(filepath.Join(v.target, name))
		if err != nil {
			t.Error(err)
		}
		sameBytes(t, name, got, data)
	}
}
