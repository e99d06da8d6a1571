package diskcache

import (
	"encoding/binary"
	"os"
	"strings"
	"time"

	"github.com/cespare/xxhash/v2"
	"golang.org/x/sys/unix"
)

// verdict says that all of a content was read and was right, and what its data
// file was then.
//
// It holds until the file's identity, size or times are others, and for a day:
// disks decay, and nobody compares what the kernel reads from a file that
// Complete has given away. It is also written behind the checksums in the index,
// where other processes find it. There it holds for one run of the system: what
// a crash of that takes away may leave the file's times as they were.
type verdict struct {
	state uint64 // see stored.state
	at    time.Time
}

// verdictAge is for how long a verdict holds.
const verdictAge = 24 * time.Hour

func (v verdict) holds(state uint64, now time.Time) bool {
	age := now.Sub(v.at)
	return v.state == state && age >= 0 && age < verdictAge
}

// bootID names this run of the system.
func bootID() string {
	b, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(b))
}

// state tells s's data file from what it will be after a change.
func (s *stored) state() (uint64, error) {
	var st unix.Statx_t
	if err := statx(s.data, &st); err != nil {
		return 0, err
	}
	var b []byte
	for _, v := range []uint64{
		s.birth, st.Ino, st.Size, uint64(st.Mtime.Sec), uint64(st.Mtime.Nsec), uint64(st.Ctime.Sec), uint64(st.Ctime.Nsec), //nolint:gosec // bits
	} {
		b = binary.LittleEndian.AppendUint64(b, v)
	}
	return xxhash.Sum64(b), nil
}

// knows reports whether somebody has verified s as it is now: we, or whoever
// wrote so into the index.
func (c *Cache) knows(s *stored, state uint64, now time.Time) bool {
	c.mu.Lock()
	known := c.verified[s.id]
	c.mu.Unlock()
	if known.holds(state, now) {
		return true
	}
	if c.boot == "" {
		return false
	}
	v, ok := s.readVerdict(c.boot)
	if !ok || !v.holds(state, now) {
		return false
	}
	c.remember(s, v)
	return true
}

func (c *Cache) remember(s *stored, v verdict) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.verified) >= mostVerified {
		clear(c.verified)
	}
	c.verified[s.id] = v
}

// verify reads all of s and remembers if it was right.
func (c *Cache) verify(s *stored) bool {
	before, err := s.state()
	if err != nil {
		c.note(s, err)
		return false
	}
	ok, err := s.verify(c.ctx.Done())
	c.note(s, err)
	if !ok {
		return false
	}
	if after, err := s.state(); err != nil || after != before {
		return false // somebody writes to it, the same as is there
	}
	v := verdict{before, time.Now()}
	c.remember(s, v)
	c.complete.Add(1)
	if c.boot != "" {
		_ = s.writeVerdict(c.boot, v) // others will have to look for themselves
	}
	return true
}

// verdictAt is where the verdict is in the index.
func (s *stored) verdictAt() int64 { return headerSize + (s.size+page-1)/page*sumSize }

// verdictSize is the time, in nanoseconds since 1970, the state, and a checksum.
const verdictSize = 24

func (s *stored) writeVerdict(boot string, v verdict) error {
	b := binary.LittleEndian.AppendUint64(nil, uint64(v.at.UnixNano()))
	b = binary.LittleEndian.AppendUint64(b, v.state)
	b = binary.LittleEndian.AppendUint64(b, s.seal(boot, b))
	_, err := s.index.WriteAt(b, s.verdictAt())
	return err
}

func (s *stored) readVerdict(boot string) (verdict, bool) {
	var b [verdictSize]byte
	if n, _ := s.index.ReadAt(b[:], s.verdictAt()); n < len(b) {
		return verdict{}, false
	}
	if binary.LittleEndian.Uint64(b[16:]) != s.seal(boot, b[:16]) {
		return verdict{}, false
	}
	at := int64(binary.LittleEndian.Uint64(b[:])) //nolint:gosec // bits
	return verdict{binary.LittleEndian.Uint64(b[8:]), time.Unix(0, at)}, true
}

// seal is the checksum of a verdict on s in one run of the system.
func (s *stored) seal(boot string, b []byte) uint64 {
	var d xxhash.Digest
	d.Reset()
	_, _ = d.Write(s.id[:])
	_, _ = d.WriteString(boot)
	_, _ = d.Write(b)
	return d.Sum64()
}
