package driver

import "sync"

// keyedLock admits one operation a key. The zero value is ready.
type keyedLock struct {
	mu   sync.Mutex // guards held
	held map[string]struct{}
}

// tryLock reports whether the key was free; then unlock must follow.
func (l *keyedLock) tryLock(key string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if _, ok := l.held[key]; ok {
		return false
	}
	if l.held == nil {
		l.held = map[string]struct{}{}
	}
	l.held[key] = struct{}{}
	return true
}

func (l *keyedLock) unlock(key string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.held, key)
}
