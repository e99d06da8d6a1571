package blockcache

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// Resident returns how much memory the cache has of the system, in bytes, by the
// kernel's word.
func (c *Cache) Resident() (sum int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, m := range c.arena.maps {
		pages := make([]byte, len(m)/pageSize)
		_, _, errno := unix.Syscall(unix.SYS_MINCORE, uintptr(unsafe.Pointer(&m[0])), uintptr(len(m)), uintptr(unsafe.Pointer(&pages[0])))
		if errno != 0 {
			panic(errno)
		}
		for _, p := range pages {
			sum += int64(p&1) * pageSize
		}
	}
	return sum
}

// Mapped returns how much address space the cache has, in bytes.
func (c *Cache) Mapped() (sum int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, m := range c.arena.maps {
		sum += int64(len(m))
	}
	return sum
}
