package diskcache

import "os"

// verifyAtOnce is the size up to which a content is verified while the opener
// waits, in bytes.
const verifyAtOnce = 1 << 20

// Complete returns the file that holds all of x, open for reading, if there is
// one and each byte of it was verified since this process began. Whoever has it
// may read from it for as long as he likes: nobody changes it, and removing it
// does not touch who has it open. Large files are verified in the background;
// the answer is then no until that is done.
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

// isVerified reports whether all of s is known to be right, and sees to it that
// it will be.
func (c *Cache) isVerified(s *stored) bool {
	c.mu.Lock()
	if c.verified[s.id] == s.birth {
		c.mu.Unlock()
		return true
	}
	if c.closed || c.verifying {
		c.mu.Unlock()
		return false
	}
	if s.size > verifyAtOnce {
		c.verifying = true
		s.users++
		c.group.Go(func() {
			c.verify(s)
			c.release(s)
		})
		c.mu.Unlock()
		return false
	}
	c.mu.Unlock()
	return c.verify(s)
}

func (c *Cache) verify(s *stored) bool {
	ok, err := s.verify(c.ctx.Done())
	c.note(s, err)
	c.mu.Lock()
	defer c.mu.Unlock()
	if s.size > verifyAtOnce {
		c.verifying = false
	}
	if !ok {
		return false
	}
	if len(c.verified) >= mostVerified {
		clear(c.verified)
	}
	c.verified[s.id] = s.birth
	return true
}
