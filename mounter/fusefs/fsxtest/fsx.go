// Package fsxtest tries a file system with random operations on one file,
// through several handles and mappings, and compares every byte and every size
// that it sees with a plain byte slice, in the tradition of fsx. For tests only.
//
// The main function is [Run]. It uses the directory that it is given and
// nothing else, from one goroutine, so that a seed repeats a run exactly. It
// must not run in a process that serves the file system: it maps files.
package fsxtest

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Config says what to do.
type Config struct {
	Dir     string // where; must exist
	Seed    uint64
	Ops     int   // how many operations
	MaxSize int64 // of the file, default 1 MiB
	Handles int   // open at a time, default 4
	Direct  bool  // use O_DIRECT too, unaligned, as FUSE allows
	// Served, if not "", is what Dir shows. Now and then the closed file gets
	// another name there, which Dir has never seen, and an old time, and is read as
	// a whole again and again: as a file that nobody changes here.
	Served string
	// FailingSync says that fsync, msync and close may fail with EIO. Nothing may
	// be lost by it: the file system keeps what was written.
	FailingSync bool
	Final       string    // if not "", a file outside Dir that gets what the file must contain at the end
	Trace       io.Writer // if not nil, gets every operation
}

// Run does cfg.Ops operations. Its error says at which one the file system
// differed from the model, and what went before.
func Run(cfg Config) (err error) {
	if cfg.MaxSize <= 0 {
		cfg.MaxSize = 1 << 20
	}
	if cfg.Handles <= 0 {
		cfg.Handles = 4
	}
	r := &run{
		cfg:     cfg,
		rnd:     rand.New(rand.NewPCG(cfg.Seed, 0x66737866)),
		name:    filepath.Join(cfg.Dir, fmt.Sprintf("fsx %d", cfg.Seed)),
		handles: make([]*os.File, cfg.Handles),
		flags:   make([]int, cfg.Handles),
	}
	defer func() {
		if closeErr := r.closeAll(); err == nil {
			err = closeErr
		}
		if err != nil {
			err = fmt.Errorf("seed %d, operation %d: %w\nlast operations:\n%s", cfg.Seed, r.op, err, strings.Join(r.last, "\n"))
		}
	}()
	if err := os.WriteFile(r.name, nil, 0o644); err != nil {
		return err
	}
	if err := r.openAll(); err != nil {
		return err
	}
	for r.op = 1; r.op <= cfg.Ops; r.op++ {
		if err := r.step(); err != nil {
			return err
		}
	}
	return r.finish()
}

// run is the state of a Run.
type run struct {
	cfg     Config
	rnd     *rand.Rand
	name    string
	model   []byte
	handles []*os.File
	flags   []int
	op      int
	last    []string
}

// kinds are the ways to open the file, the usual ones more often.
var kinds = []int{
	os.O_RDWR, os.O_RDWR, os.O_RDONLY, os.O_WRONLY,
	os.O_RDWR | os.O_APPEND, os.O_WRONLY | os.O_APPEND, os.O_RDWR | unix.O_DIRECT,
}

func (r *run) step() error {
	i := r.rnd.IntN(len(r.handles))
	h, flags := r.handles[i], r.flags[i]
	readable := flags&unix.O_ACCMODE != os.O_WRONLY
	writable := flags&unix.O_ACCMODE != os.O_RDONLY
	mappable := flags&unix.O_DIRECT == 0
	switch n := r.rnd.IntN(100); {
	case n < 30 && readable:
		return r.read(i, h)
	case n < 60 && writable:
		return r.write(i, h, flags&os.O_APPEND != 0)
	case n < 67 && readable && mappable:
		return r.mapRead(i, h)
	case n < 71 && flags&unix.O_ACCMODE == os.O_RDWR && mappable:
		return r.mapWrite(i, h)
	case n < 75 && writable:
		return r.truncate(i, h)
	case n < 77:
		return r.truncate(-1, nil)
	case n < 83:
		return r.reopen(i)
	case n < 88 && writable:
		r.note("fsync %d", i)
		return r.tolerate(h.Sync())
	case n < 92:
		return r.stat(i, h)
	case n < 94:
		return r.rename()
	case n < 95 && writable:
		return r.allocate(i, h)
	case n < 96:
		r.note("chmod")
		return os.Chmod(r.name, []os.FileMode{0o600, 0o644, 0o666}[r.rnd.IntN(3)])
	case n == 99 && r.cfg.Served != "":
		return r.rest()
	default:
		r.note("fadvise %d dontneed", i)
		return unix.Fadvise(int(h.Fd()), 0, 0, unix.FADV_DONTNEED)
	}
}

func (r *run) note(format string, args ...any) {
	line := fmt.Sprintf("%d: ", r.op) + fmt.Sprintf(format, args...) + fmt.Sprintf(" (size %d)", len(r.model))
	if r.cfg.Trace != nil {
		fmt.Fprintln(r.cfg.Trace, line)
	}
	if r.last = append(r.last, line); len(r.last) > 30 {
		r.last = r.last[1:]
	}
}

// tolerate is err unless such errors are expected.
func (r *run) tolerate(err error) error {
	if r.cfg.FailingSync && errors.Is(err, unix.EIO) {
		return nil
	}
	return err
}

// span returns a random piece: mostly small, sometimes aligned, below limit.
func (r *run) span(limit int64) (off, n int64) {
	if limit <= 0 {
		return 0, 0
	}
	off = r.rnd.Int64N(limit)
	n = 1 + r.rnd.Int64N(int64(1)<<r.rnd.IntN(18))
	if r.rnd.IntN(3) == 0 {
		off &^= 4095
		n = (n + 4095) &^ 4095
	}
	return off, min(n, limit-off)
}

func (r *run) read(i int, h *os.File) error {
	off, n := r.span(r.cfg.MaxSize)
	r.note("read %d at %d+%d", i, off, n)
	p := make([]byte, n)
	got, err := h.ReadAt(p, off)
	if err != nil && err != io.EOF {
		return err
	}
	return r.compare(p[:got], off, n)
}

// compare checks what a read of n bytes at off returned.
func (r *run) compare(got []byte, off, n int64) error {
	want := r.model[min(off, int64(len(r.model))):min(off+n, int64(len(r.model)))]
	if len(got) != len(want) {
		return fmt.Errorf("%d bytes at %d, want %d", len(got), off, len(want))
	}
	for k := range want {
		if got[k] != want[k] {
			wrong := 0
			for j := range want {
				if got[j] != want[j] {
					wrong++
				}
			}
			return fmt.Errorf("wrong byte at %d: %#x, want %#x (%d wrong of %d from %d)", off+int64(k), got[k], want[k], wrong, n, off)
		}
	}
	return nil
}

func (r *run) fill(n int64) []byte {
	p := make([]byte, n)
	for i := range p {
		p[i] = byte(r.rnd.Uint32())
	}
	return p
}

// put writes p to the model.
func (r *run) put(p []byte, off int64) {
	r.resize(max(int64(len(r.model)), off+int64(len(p))))
	copy(r.model[off:], p)
}

func (r *run) resize(size int64) {
	if size <= int64(len(r.model)) {
		r.model = r.model[:size]
		return
	}
	r.model = append(r.model, make([]byte, size-int64(len(r.model)))...)
}

func (r *run) write(i int, h *os.File, atEnd bool) error {
	off, n := r.span(r.cfg.MaxSize)
	if atEnd {
		off = int64(len(r.model))
		n = min(n, r.cfg.MaxSize-off)
		r.note("append %d at %d+%d", i, off, n)
	} else {
		r.note("write %d at %d+%d", i, off, n)
	}
	if n <= 0 {
		return nil
	}
	p := r.fill(n)
	var err error
	if atEnd {
		_, err = h.Write(p)
	} else {
		_, err = h.WriteAt(p, off)
	}
	if err != nil {
		return err
	}
	r.put(p, off)
	return nil
}

// mapping maps the pages around a random piece of the file. m is nil if there
// is nothing to map.
func (r *run) mapping(h *os.File, prot int) (m []byte, off, n, base int64, err error) {
	off, n = r.span(int64(len(r.model)))
	if n == 0 {
		return nil, 0, 0, 0, nil
	}
	base = off &^ int64(os.Getpagesize()-1)
	m, err = unix.Mmap(int(h.Fd()), base, int(off+n-base), prot, unix.MAP_SHARED)
	return m, off, n, base, err
}

func (r *run) mapRead(i int, h *os.File) error {
	m, off, n, base, err := r.mapping(h, unix.PROT_READ)
	if m == nil {
		return err
	}
	r.note("mmap read %d at %d+%d", i, off, n)
	got := bytes.Clone(m[off-base:])
	if err := unix.Munmap(m); err != nil {
		return err
	}
	return r.compare(got, off, n)
}

func (r *run) mapWrite(i int, h *os.File) error {
	m, off, n, base, err := r.mapping(h, unix.PROT_READ|unix.PROT_WRITE)
	if m == nil {
		return err
	}
	sync := r.rnd.IntN(2) == 0
	r.note("mmap write %d at %d+%d, msync %v", i, off, n, sync)
	p := r.fill(n)
	copy(m[off-base:], p)
	if sync {
		if err := r.tolerate(unix.Msync(m, unix.MS_SYNC)); err != nil {
			return err
		}
	}
	r.put(p, off)
	return unix.Munmap(m)
}

// truncate uses the handle, or the path if there is none.
func (r *run) truncate(i int, h *os.File) error {
	size := r.rnd.Int64N(r.cfg.MaxSize)
	switch r.rnd.IntN(4) {
	case 0:
		size = 0
	case 1:
		size = r.rnd.Int64N(int64(len(r.model)) + 1)
	}
	r.note("truncate %d to %d", i, size)
	var err error
	if h != nil {
		err = h.Truncate(size)
	} else {
		err = os.Truncate(r.name, size)
	}
	if err != nil {
		return err
	}
	r.resize(size)
	return nil
}

func (r *run) allocate(i int, h *os.File) error {
	off, n := r.span(r.cfg.MaxSize)
	r.note("fallocate %d at %d+%d", i, off, n)
	switch err := unix.Fallocate(int(h.Fd()), 0, off, n); err {
	case nil:
		r.resize(max(int64(len(r.model)), off+n))
		return nil
	case unix.EOPNOTSUPP:
		return nil
	default:
		return err
	}
}

func (r *run) reopen(i int) error {
	flags := kinds[r.rnd.IntN(len(kinds))]
	if r.handles[i] == nil && i == 0 {
		flags = os.O_RDWR
	}
	if !r.cfg.Direct {
		flags &^= unix.O_DIRECT
	}
	trunc := r.rnd.IntN(20) == 0 && flags&unix.O_ACCMODE != os.O_RDONLY
	r.note("reopen %d with %#x, truncate %v", i, flags, trunc)
	if h := r.handles[i]; h != nil {
		r.handles[i] = nil
		if err := r.tolerate(h.Close()); err != nil {
			return err
		}
	}
	extra := 0
	if trunc {
		extra = os.O_TRUNC
	}
	h, err := os.OpenFile(r.name, flags&^os.O_APPEND|extra, 0)
	if err != nil {
		return err
	}
	if flags&os.O_APPEND != 0 { // os.File refuses WriteAt with O_APPEND; fcntl sets what the kernel looks at
		if _, err := unix.FcntlInt(h.Fd(), unix.F_SETFL, unix.O_APPEND); err != nil {
			return err
		}
	}
	r.handles[i], r.flags[i] = h, flags
	if trunc {
		r.resize(0)
	}
	return nil
}

func (r *run) stat(i int, h *os.File) error {
	r.note("stat %d and the path", i)
	for _, stat := range []func() (os.FileInfo, error){h.Stat, func() (os.FileInfo, error) { return os.Stat(r.name) }} {
		fi, err := stat()
		if err != nil {
			return err
		}
		if fi.Size() != int64(len(r.model)) {
			return fmt.Errorf("size %d, want %d", fi.Size(), len(r.model))
		}
	}
	return nil
}

// rename moves the open file, half of the times over another one.
func (r *run) rename() error {
	to := filepath.Join(r.cfg.Dir, fmt.Sprintf("fsx %d.%d", r.cfg.Seed, r.op%2))
	if to == r.name {
		to += "+"
	}
	over := r.rnd.IntN(2) == 0
	r.note("rename %q to %q, over %v", r.name, to, over)
	if over {
		if err := r.tolerate(os.WriteFile(to, []byte("replaced"), 0o644)); err != nil {
			return err
		}
	}
	if err := os.Rename(r.name, to); err != nil {
		return err
	}
	r.name = to
	return nil
}

// restReads is how often a file is read while it rests: in the meantime it may be
// moved to where reading it is fastest.
const restReads = 8

func (r *run) rest() error {
	r.note("rest")
	if err := r.closeAll(); err != nil {
		return err
	}
	base := filepath.Base(r.name)
	r.name = filepath.Join(r.cfg.Dir, fmt.Sprintf("fsx %d at rest %d", r.cfg.Seed, r.op))
	served := filepath.Join(r.cfg.Served, filepath.Base(r.name))
	if err := os.Rename(filepath.Join(r.cfg.Served, base), served); err != nil {
		return err
	}
	then := time.Unix(1_000_000_000+int64(r.op), 0)
	if err := os.Chtimes(served, then, then); err != nil {
		return err
	}
	for range restReads {
		if err := r.readAll(); err != nil {
			return err
		}
	}
	return r.openAll()
}

// readAll opens the file and compares all of it.
func (r *run) readAll() error {
	got, err := os.ReadFile(r.name)
	if err != nil {
		return err
	}
	if len(got) != len(r.model) {
		return fmt.Errorf("%d bytes in all, want %d", len(got), len(r.model))
	}
	return r.compare(got, 0, int64(len(got)))
}

// openAll opens all handles. Who has opened a file to read need not see what is
// written later, if nobody had it open to write: so the first one can.
func (r *run) openAll() error {
	for i := range r.handles {
		if err := r.reopen(i); err != nil {
			return err
		}
	}
	return nil
}

func (r *run) closeAll() (err error) {
	for i, h := range r.handles {
		if h != nil {
			if closeErr := r.tolerate(h.Close()); err == nil {
				err = closeErr
			}
			r.handles[i] = nil
		}
	}
	return err
}

// finish closes everything and reads the file a last time.
func (r *run) finish() error {
	r.note("finish")
	if err := r.closeAll(); err != nil {
		return err
	}
	if err := r.readAll(); err != nil {
		return err
	}
	if r.cfg.Final == "" {
		return nil
	}
	// What the file must be called and contain, for who can look behind the
	// file system.
	return os.WriteFile(r.cfg.Final, append([]byte(filepath.Base(r.name)+"\n"), r.model...), 0o600)
}
