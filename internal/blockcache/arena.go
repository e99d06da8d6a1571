package blockcache

import (
	"slices"

	"golang.org/x/sys/unix"
)

const (
	pageSize = 4 << 10
	// growBy is the address space that a class of slots asks the system for at
	// a time, in bytes, or one slot if that is more.
	growBy = 1 << 20
)

// arena is memory for runs, outside the Go heap: buffers are neither zeroed nor
// looked at by the garbage collector, and go back to the system when they are
// not needed. A slot belongs to one class of sizes for ever: address space is
// cheap, and memory behind a free slot can be given back page by page, so
// nothing fragments. The caller has the lock.
type arena struct {
	budget  int64
	held    int64 // bytes of memory behind slots, in use or warm, and charged
	warm    int64 // bytes behind free slots
	classes []class
	maps    [][]byte
}

// class is the free slots of one size.
type class struct {
	size int64
	warm [][]byte // with memory behind, last used last
	cold [][]byte // without
}

// newArena makes an arena with slots of up to largest bytes, a power of two. It
// asks the system for nothing yet.
func newArena(budget, largest int64) *arena {
	a := &arena{budget: budget}
	// Four classes in each doubling waste a tenth on average.
	for size := int64(pageSize); size <= largest; {
		a.classes = append(a.classes, class{size: size})
		step := int64(pageSize)
		for step*8 <= size {
			step *= 2
		}
		size += step
	}
	return a
}

// class returns the smallest class that holds n bytes.
func (a *arena) class(n int64) *class {
	i, _ := slices.BinarySearchFunc(a.classes, n, func(c class, n int64) int { return int(c.size - n) })
	return &a.classes[i]
}

// fits reports whether take would find memory for n bytes, and charge bytes
// more, within the budget.
func (a *arena) fits(n, charge int64) bool {
	c := a.class(n)
	if len(c.warm) > 0 {
		return a.held+charge <= a.budget
	}
	return a.held+c.size+charge <= a.budget
}

// take returns n bytes of what fits said yes to, with anything in them, or nil
// if the system has no memory.
func (a *arena) take(n, charge int64) []byte {
	c := a.class(n)
	var slot []byte
	if last := len(c.warm) - 1; last >= 0 {
		slot, c.warm = c.warm[last], c.warm[:last]
		a.warm -= c.size
	} else {
		if len(c.cold) == 0 && !a.grow(c) {
			return nil
		}
		last := len(c.cold) - 1
		slot, c.cold = c.cold[last], c.cold[:last]
		a.held += c.size
	}
	a.held += charge
	return slot[:n]
}

// give takes back what take returned. The memory stays, for the next one.
func (a *arena) give(buf []byte, charge int64) {
	slot := buf[:cap(buf)]
	c := a.class(int64(len(slot)))
	c.warm = append(c.warm, slot)
	a.warm += c.size
	a.held -= charge
}

// trim gives the system memory behind free slots, n bytes or more if there are
// as many.
func (a *arena) trim(n int64) {
	for i := range a.classes {
		c := &a.classes[i]
		for len(c.warm) > 0 && n > 0 {
			last := len(c.warm) - 1
			slot := c.warm[last]
			c.warm = c.warm[:last]
			if unix.Madvise(slot, unix.MADV_DONTNEED) != nil {
				a.warm -= c.size // it stays held, and is never used again
				continue
			}
			c.cold = append(c.cold, slot)
			a.warm -= c.size
			a.held -= c.size
			n -= c.size
		}
	}
}

// grow gives c cold slots.
func (a *arena) grow(c *class) bool {
	n := max(growBy/c.size, 1)
	m, err := unix.Mmap(-1, 0, int(n*c.size), unix.PROT_READ|unix.PROT_WRITE,
		unix.MAP_PRIVATE|unix.MAP_ANONYMOUS|unix.MAP_NORESERVE)
	if err != nil {
		return false
	}
	// A huge page behind a small slot would be memory that nobody counts.
	_ = unix.Madvise(m, unix.MADV_NOHUGEPAGE) // not built in: fine
	a.maps = append(a.maps, m)
	for i := n - 1; i >= 0; i-- {
		c.cold = append(c.cold, m[i*c.size:(i+1)*c.size:(i+1)*c.size])
	}
	return true
}

// unmap gives everything back. Nothing may be in use.
func (a *arena) unmap() {
	for _, m := range a.maps {
		_ = unix.Munmap(m)
	}
	a.maps = nil
}
