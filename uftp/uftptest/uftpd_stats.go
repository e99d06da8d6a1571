package uftptest

import (
	"maps"
	"sync"
)

// Stats is what the file server has done so far.
type Stats struct {
	Commands        map[string]int64 // command lines by verb, in upper case; unknown verbs too
	Connections     int64            // control connections accepted
	Logins          int64            // successful ones
	Sessions        int              // logged in now
	PeakSessions    int              // most at a time
	DataConnections int64            // accepted
	Transfers       int64            // RETR and STOR that moved data to their end
	BytesSent       int64            // file contents, without framing and encoding
	BytesReceived   int64
}

// Stats counts what the file server did so far, all zero for a real one.
func (s *Server) Stats() Stats {
	if s.engine == nil {
		return Stats{}
	}
	return s.engine.counts.snapshot()
}

type counters struct {
	mu sync.Mutex
	s  Stats
}

// update changes the counters.
func (c *counters) update(f func(*Stats)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	f(&c.s)
}

func (c *counters) command(verb string) {
	c.update(func(s *Stats) {
		if s.Commands == nil {
			s.Commands = make(map[string]int64)
		}
		s.Commands[verb]++
	})
}

func (c *counters) sessionStarted() {
	c.update(func(s *Stats) {
		s.Logins++
		s.Sessions++
		s.PeakSessions = max(s.PeakSessions, s.Sessions)
	})
}

func (c *counters) snapshot() Stats {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := c.s
	s.Commands = maps.Clone(c.s.Commands)
	return s
}
