package diskcache

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// errBusy means that another process keeps the ledger for longer than we wait.
var errBusy = errors.New("diskcache: the directory is locked")

const (
	lockName = "ledger"
	// lockTries and lockPause are how often and how long we wait for others.
	lockTries = 100
	lockPause = 5 * time.Millisecond
	// orphanAge is when half a content is taken for one that nobody is making.
	orphanAge = time.Minute
)

// ledger keeps account of a directory for all processes that use it: a file,
// locked while one counts, with the bytes that are in use or promised. A count
// that is wrong, because a process died, is right again after the next sweep.
type ledger struct {
	dir    string
	budget int64
}

// promise adds n bytes to what is in use, after removing what was used longest
// ago if they would be too many. It is errDropped if they are too many even then:
// what somebody holds is not removed. The ledger is locked until the caller closes
// what it gets.
func (l *ledger) promise(ctx context.Context, n int64) (io.Closer, error) {
	f, err := l.lock(ctx)
	if err != nil {
		return nil, err
	}
	used := l.load(f)
	if used < 0 || used+n > l.budget {
		used, err = l.sweep(n)
	}
	if err == nil && used+n > l.budget {
		err = errors.Join(errDropped, l.store(f, used))
	}
	if err == nil {
		err = l.store(f, used+n)
	}
	if err != nil {
		_ = f.Close()
		return nil, err
	}
	return f, nil
}

// recount makes the count right.
func (l *ledger) recount(ctx context.Context) error {
	f, err := l.lock(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	used, err := l.sweep(0)
	if err != nil {
		return err
	}
	return l.store(f, used)
}

// lock opens the ledger and locks it. It never waits for long: a process that
// stops while it holds the lock does not stop the others.
func (l *ledger) lock(ctx context.Context) (*os.File, error) {
	f, err := os.OpenFile(filepath.Join(l.dir, lockName), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	for range lockTries {
		err = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if !errors.Is(err, syscall.EWOULDBLOCK) && !errors.Is(err, syscall.EINTR) {
			break
		}
		select {
		case <-time.After(lockPause):
			err = errBusy
		case <-ctx.Done():
			_ = f.Close()
			return nil, ctx.Err()
		}
	}
	if err != nil {
		_ = f.Close()
		return nil, err
	}
	return f, nil
}

// load returns the count, or less than 0 if there is none to believe in.
func (l *ledger) load(f *os.File) int64 {
	var b [16]byte
	if n, _ := f.ReadAt(b[:], 0); n < len(b) {
		return -1
	}
	used, check := binary.LittleEndian.Uint64(b[:]), binary.LittleEndian.Uint64(b[8:])
	if check != ^used || used > 1<<62 {
		return -1
	}
	return int64(used)
}

func (l *ledger) store(f *os.File, used int64) error {
	var b [16]byte
	binary.LittleEndian.PutUint64(b[:], uint64(used))   //nolint:gosec // not negative
	binary.LittleEndian.PutUint64(b[8:], ^uint64(used)) //nolint:gosec // not negative
	_, err := f.WriteAt(b[:], 0)
	return err
}

// found is a content as a sweep finds it.
type found struct {
	name  string // without kind
	bytes int64
	used  time.Time
	parts int
}

// sweep counts what is on the disk. If n bytes more would be too many it removes
// what was used longest ago, and nobody holds, until there is a tenth of the budget
// to spare: the next sweep is not to come soon. It returns what is left.
func (l *ledger) sweep(n int64) (int64, error) {
	all, err := l.list()
	if err != nil {
		return 0, err
	}
	used := int64(page) // the ledger's own
	for _, x := range all {
		used += x.bytes
	}
	goal := l.budget
	if used+n > goal {
		goal -= l.budget / 10
	}
	slices.SortFunc(all, func(a, b found) int { return a.used.Compare(b.used) })
	for _, x := range all {
		orphan := x.parts < 2 && time.Since(x.used) > orphanAge
		if !orphan && used+n <= goal {
			continue
		}
		removed, err := l.remove(x.name)
		if err != nil {
			return 0, err
		}
		if removed {
			used -= x.bytes
		}
	}
	return used, nil
}

// remove removes a content, unless somebody holds it.
func (l *ledger) remove(name string) (bool, error) {
	f, err := os.Open(filepath.Join(l.dir, name+dataKind)) //nolint:gosec // of our own directory
	switch {
	case err == nil:
		defer func() { _ = f.Close() }()
		if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
			return false, nil // it is held
		}
	case !errors.Is(err, fs.ErrNotExist):
		return false, err
	}
	for _, kind := range []string{indexKind, dataKind} {
		if err := os.Remove(filepath.Join(l.dir, name+kind)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return false, err
		}
	}
	return true, nil
}

// hold keeps a data file from being removed to make room, for as long as this open
// file of it lives, in whichever process or in the kernel: its bytes would stay on
// the disk, and nobody would count them. It reports false if it is removed already.
func hold(f *os.File) bool {
	if unix.Flock(int(f.Fd()), unix.LOCK_SH|unix.LOCK_NB) != nil {
		return false // somebody is about to remove it
	}
	var st unix.Stat_t
	return unix.Fstat(int(f.Fd()), &st) == nil && st.Nlink > 0
}

func (l *ledger) list() ([]found, error) {
	entries, err := os.ReadDir(l.dir)
	if err != nil {
		return nil, err
	}
	var all []found
	for _, e := range entries { // sorted: the parts of a content come together
		name, kind := e.Name(), filepath.Ext(e.Name())
		if kind != indexKind && kind != dataKind {
			continue
		}
		name = strings.TrimSuffix(name, kind)
		info, err := e.Info()
		if err != nil {
			continue // removed meanwhile
		}
		if len(all) == 0 || all[len(all)-1].name != name {
			all = append(all, found{name: name})
		}
		x := &all[len(all)-1]
		x.parts++
		if st, ok := info.Sys().(*syscall.Stat_t); ok {
			x.bytes += st.Blocks * 512
		}
		if info.ModTime().After(x.used) && (kind == indexKind || x.used.IsZero()) {
			x.used = info.ModTime()
		}
	}
	return all, nil
}
