package diskcache

import (
	"os"
	"time"
)

// verifyAtOnce is the size up to which a content is verified while the opener
// waits, in bytes.
const verifyAtOnce = 1 << 20

// Complete returns the file that holds all of x, open for reading, if there is
// one and each byte of it was verified lately: see verdict. Whoever has it may
// read from it for as long as he likes: nobody changes it, and removing it does
// not touch who has it open. To make room it is not removed while he has, or whoever
// he gave the open file to, be it the kernel: see hold. Large files are verified in
// the background; the answer is then no until that is done.
func (c *Cache) Complete(x Content) (*os.File, bool) {
	s, err := c.acquire(x, false)
	if err != nil {
		c.note(nil, err)
		return nil, false
	}
	defer c.release(s)
	whole, err := s.whole()
	c.note(s, err)
	if !whole || !c.isVerified(s) {
		return nil, false
	}
	f, err := os.Open(s.id.path(s.dir, dataKind))
	if err != nil {
		return nil, false
	}
	if !hold(f) {
		_ = f.Close()
		return nil, false
	}
	birth, size, err := identify(f)
	if err != nil || birth != s.birth || size != s.size {
		_ = f.Close()
		if birth == s.birth && size != s.size {
			err = errDamaged
		}
		c.note(s, err)
		return nil, false
	}
	s.touch()
	return f, true
}

// Keep notes that x is in use without Get and Complete being called, until done
// is: what others have not used for longer leaves before it.
func (c *Cache) Keep(x Content) (done func()) {
	id := newID(c.cfg, x)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.kept[id]++
	return func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		if c.kept[id]--; c.kept[id] == 0 {
			delete(c.kept, id)
		}
	}
}

// isVerified reports whether all of s is known to be right, and sees to it that
// it will be.
func (c *Cache) isVerified(s *stored) bool {
	state, err := s.state()
	if err != nil {
		c.note(s, err)
		return false
	}
	if c.knows(s, state, time.Now()) {
		return true
	}
	if s.size <= verifyAtOnce {
		return c.verify(s)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return false
	}
	select {
	case c.verifying <- struct{}{}:
		s.users++
		c.group.Go(func() {
			c.verify(s)
			<-c.verifying
			c.release(s)
		})
	default: // one at a time
	}
	return false
}
