package diskcache

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/cespare/xxhash/v2"
	"golang.org/x/sys/unix"
)

// Content is what a remote file had in it at one time.
type Content struct {
	Path    string // on the server; whatever makes it unique there
	Size    int64  // bytes
	ModTime time.Time
}

// page is the unit of checksums, in bytes.
const page = 4 << 10

// The index of a content is a header of headerSize bytes and a checksum of
// sumSize bytes for each page, 0 for one that is not there.
const (
	headerSize = 64
	sumSize    = 8
	magic      = "uftpdc01"
)

// errDamaged means that what is on the disk is not what was put there.
var errDamaged = errors.New("diskcache: damaged")

// id names a content on the disk: a hash over everything it depends on.
type id [sha256.Size]byte

func newID(cfg Config, x Content) id {
	h := sha256.New()
	for _, s := range []string{cfg.Source, cfg.Identity, x.Path,
		strconv.FormatInt(x.Size, 10), strconv.FormatInt(x.ModTime.UnixNano(), 10)} {
		_ = binary.Write(h, binary.LittleEndian, uint64(len(s))) // hashes do not fail
		h.Write([]byte(s))
	}
	return id(h.Sum(nil))
}

// stored is an open content: a sparse file with its bytes where they are in the
// remote file, and an index that says which are there. Any number of processes
// may have it open, and write to it: all of them write the same.
type stored struct {
	id          id
	size        int64
	dir         string
	data, index *os.File
	birth       uint64       // tells the data file from all that come and go under its name
	touched     atomic.Int64 // when the index's time was set, nanoseconds since 1970
	full        atomic.Bool  // every page was seen to be there

	// Guarded by Cache.mu.
	users int
	used  time.Time
}

func (id id) path(dir, kind string) string {
	return filepath.Join(dir, hex.EncodeToString(id[:16])+kind)
}

const (
	dataKind  = ".data"
	indexKind = ".index"
)

// openStored opens a content, or makes it if it is to be made. There is no order
// of writes to keep and nothing to sync: pages that do not fit their checksums
// are not there.
func openStored(dir string, id id, size int64, create bool) (*stored, error) {
	flags := os.O_RDWR
	if create {
		flags |= os.O_CREATE
	}
	s := &stored{id: id, size: size, dir: dir}
	var err error
	if s.data, err = os.OpenFile(id.path(dir, dataKind), flags, 0o600); err != nil {
		return nil, err
	}
	if s.index, err = os.OpenFile(id.path(dir, indexKind), flags, 0o600); err != nil {
		_ = s.data.Close()
		return nil, err
	}
	if err := s.prepare(create); err != nil {
		s.close()
		return nil, err
	}
	s.touch()
	return s, nil
}

// prepare checks that the files belong to the content and to one another. If
// they do not, as others may be making or removing them right now, it makes them
// so, or they are as good as not there.
func (s *stored) prepare(create bool) error {
	birth, size, err := identify(s.data)
	if err != nil {
		return err
	}
	s.birth = birth
	want, got := s.header(), make([]byte, headerSize)
	_, _ = s.index.ReadAt(got, 0) // nothing is a wrong header
	switch {
	case size != 0 && size != s.size:
		return errDamaged
	case slices.Equal(got, want) && size == s.size:
		return nil
	case !create:
		return fs.ErrNotExist
	}
	if err := s.data.Truncate(s.size); err != nil {
		return err
	}
	if slices.ContainsFunc(got, func(b byte) bool { return b != 0 }) {
		// An index of other data. Who has it open may go on with it.
		if err := os.Remove(s.id.path(s.dir, indexKind)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		index, err := os.OpenFile(s.id.path(s.dir, indexKind), os.O_RDWR|os.O_CREATE, 0o600)
		if err != nil {
			return err
		}
		_ = s.index.Close()
		s.index = index
	}
	_, err = s.index.WriteAt(want, 0)
	return err
}

// identify returns what tells f from every other file, past ones included, as
// far as its file system knows when it was made, and its size.
func identify(f *os.File) (birth uint64, size int64, err error) {
	var st unix.Statx_t
	if err := statx(f, &st); err != nil {
		return 0, 0, err
	}
	var b [24]byte
	binary.LittleEndian.PutUint64(b[:], st.Ino)
	binary.LittleEndian.PutUint64(b[8:], uint64(st.Btime.Sec)) //nolint:gosec // bits
	binary.LittleEndian.PutUint64(b[16:], uint64(st.Btime.Nsec))
	return xxhash.Sum64(b[:]), int64(st.Size), nil //nolint:gosec // sizes fit
}

func statx(f *os.File, st *unix.Statx_t) error {
	return unix.Statx(int(f.Fd()), "", unix.AT_EMPTY_PATH, unix.STATX_BASIC_STATS|unix.STATX_BTIME, st)
}

// header tells which content this is the index of, and which file has its bytes.
func (s *stored) header() []byte {
	b := make([]byte, 0, headerSize)
	b = append(b, magic...)
	b = append(b, s.id[:]...)
	b = binary.LittleEndian.AppendUint64(b, uint64(s.size)) //nolint:gosec // not negative
	b = binary.LittleEndian.AppendUint64(b, s.birth)
	return binary.LittleEndian.AppendUint64(b, xxhash.Sum64(b))
}

func (s *stored) close() {
	_ = s.index.Close()
	_ = s.data.Close()
}

// remove makes the content one that is not there. Who has it open goes on with
// what he has.
func (s *stored) remove() {
	_ = os.Remove(s.id.path(s.dir, indexKind))
	_ = os.Remove(s.id.path(s.dir, dataKind))
}

// gone reports whether somebody has removed it.
func (s *stored) gone() bool {
	var st unix.Stat_t
	return unix.Fstat(int(s.index.Fd()), &st) != nil || st.Nlink == 0 ||
		unix.Fstat(int(s.data.Fd()), &st) != nil || st.Nlink == 0
}

// bytes returns how much of the disk the data takes.
func (s *stored) bytes() (int64, error) {
	var st unix.Stat_t
	err := unix.Fstat(int(s.data.Fd()), &st)
	return st.Blocks * 512, err
}

// touchEvery is how exactly it is known when a content was used last.
const touchEvery = 15 * time.Second

// touch notes for all processes that the content is in use.
func (s *stored) touch() {
	now := time.Now()
	last := s.touched.Load()
	if now.UnixNano()-last < int64(touchEvery) || !s.touched.CompareAndSwap(last, now.UnixNano()) {
		return
	}
	_ = os.Chtimes(s.id.path(s.dir, indexKind), now, now) // gone is gone
}

// sum is the checksum of one page. It depends on the place, so that a page in
// the wrong one is found out.
func (s *stored) sum(pageNo int64, p []byte) uint64 {
	var d xxhash.Digest
	d.ResetWithSeed(binary.LittleEndian.Uint64(s.id[16:]) ^ uint64(pageNo)) //nolint:gosec // not negative
	_, _ = d.Write(p)
	return max(d.Sum64(), 1)
}

// sums reads the checksums of n pages into dst.
func (s *stored) sums(first, n int64, dst []byte) ([]byte, error) {
	dst = slices.Grow(dst[:0], int(n*sumSize))[:n*sumSize]
	got, err := s.index.ReadAt(dst, headerSize+first*sumSize)
	if got < len(dst) && !isEOF(err) {
		return nil, err
	}
	clear(dst[got:])
	return dst, nil
}
