package uftp

import (
	"sync"
	"time"
)

// version is what tells one content of a file from another, as far as the
// server tells.
type version struct {
	size int64
	msec int64 // modification time
}

func versionOf(i Info) version { return version{i.Size, i.ModTime.UnixMilli()} }

const (
	// maxVersions bounds what a client remembers.
	maxVersions = 4096
	// restlessTime is how long a file that changed while it was read is read with
	// care.
	restlessTime = 5 * time.Second
	// racyTime is longer than the steps of a file system's clock: a file that was
	// changed so lately may be changed again and show the same time.
	racyTime = 100 * time.Millisecond
)

// versions remembers the files seen last, for ranges in a pipe; see [lane].
type versions struct {
	mu    sync.Mutex
	files map[string]sighting // by clean path
}

type sighting struct {
	version
	known    bool
	restless time.Time // it changes: until then nothing is taken for granted
}

// note remembers what the server said about a file.
func (v *versions) note(path string, now version) {
	v.mu.Lock()
	defer v.mu.Unlock()
	s := v.roomLocked(path)
	s.version, s.known = now, true
	v.files[path] = s
}

// changing says that a file changed while it was read.
func (v *versions) changing(path string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	s := v.roomLocked(path)
	s.restless = time.Now().Add(restlessTime)
	v.files[path] = s
}

// forget says that we are about to change a file.
func (v *versions) forget(path string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	delete(v.files, path)
}

// look returns what is known about a file.
func (v *versions) look(path string) sighting {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.files[path]
}

func (v *versions) roomLocked(path string) sighting {
	s, ok := v.files[path]
	if !ok && len(v.files) >= maxVersions || v.files == nil {
		v.files = make(map[string]sighting)
	}
	return s
}

// trusted reports whether the range up to end is certainly there as long as the
// file does not change, and a change will show.
func (s sighting) trusted(end int64, now time.Time) bool {
	return s.known && end <= s.size && !now.Before(s.restless) && !s.racy(now)
}

// racy reports whether a further change might not show.
func (v version) racy(now time.Time) bool {
	return time.UnixMilli(v.msec).After(now.Add(-racyTime))
}
