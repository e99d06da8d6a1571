package uftptest

import (
	"slices"
	"sync"
	"syscall"
	"time"
)

// Places where a [Fault] can strike that are not commands. They are given as
// its Verb.
const (
	FaultConnect = "<CONNECT>" // a control connection is there, nothing was said yet
	FaultLogin   = "<LOGIN>"   // the password has come
	FaultData    = "<DATA>"    // a data connection was accepted
)

// A Fault is one way for the file server to fail a command. Fields combine where
// that makes sense: what is due before the command goes before the command, the
// rest during or after it.
type Fault struct {
	// Verb limits the fault to one command, in upper case, or names a place
	// ([FaultConnect], [FaultLogin], [FaultData]). Default: every command.
	Verb string
	// Skip is the number of matching commands that are let alone first.
	Skip int

	// Before the command.

	Delay time.Duration // wait before going on
	Stall bool          // do nothing more until Clear, or until the session ends
	Kill  bool          // drop the connections of the session without a word
	// Reply is sent in place of executing the command: one line, or several
	// separated by "\n"; garbage and overlong lines are welcome. At
	// FaultConnect and FaultLogin the connection is closed after it.
	Reply string
	// Errno makes the command fail as if the operating system had refused it.
	Errno syscall.Errno

	// During the transfer that the command starts: with Transfer set, Delay,
	// Stall, Kill and Errno wait until After bytes have been moved, not counting
	// framing and encoding; Cut and Short always do. A shorter transfer goes
	// unharmed. At FaultData, Cut strikes at once.

	Transfer bool
	After    int64
	Cut      bool // reset the data connection
	Short    bool // end the transfer there, and call it a success

	// After the command: its last reply line is replaced, or never sent.

	LastReply string
	LoseReply bool
}

// transfers reports whether f has something to do in mid-transfer.
func (f *Fault) transfers() bool { return f.Transfer || f.Cut || f.Short }

// Faults are the faults that a file server has been told to show, and the
// [Link] it is reached over. With none it works, as fast as it can. Faults may
// be changed at any time, also while sessions run.
type Faults struct {
	mu      sync.Mutex
	pending []*armedFault
	link    Link
}

// An armedFault is a Fault at work.
type armedFault struct {
	Fault
	skip    int
	left    int           // commands, negative for all
	cleared chan struct{} // closed by Clear
}

// Faults breaks the file server, all instances of it. It is nil if the file
// server is a real one.
func (s *Server) Faults() *Faults {
	if s.engine == nil {
		return nil
	}
	return s.engine.faults
}

// Inject makes the next n commands that match fail with f, or all of them, until
// [Faults.Clear], if n is negative. Faults for the same command take turns in the
// order they were injected in: the second one waits until the first one is used up.
func (f *Faults) Inject(n int, fault Fault) {
	if n == 0 {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.pending = append(f.pending, &armedFault{Fault: fault, skip: fault.Skip, left: n, cleared: make(chan struct{})})
}

// Clear forgets all faults, and lets go on what stalls. The link stays as it is.
func (f *Faults) Clear() {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, p := range f.pending {
		close(p.cleared)
	}
	f.pending = nil
}

// SetLink makes connections accepted from now on pass through a link like l,
// those to the auth service too.
func (f *Faults) SetLink(l Link) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.link = l
}

func (f *Faults) currentLink() Link {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.link
}

// take returns the fault for a command or place, or nil.
func (f *Faults) take(verb string) *armedFault {
	place := verb == FaultConnect || verb == FaultLogin || verb == FaultData
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, p := range f.pending {
		if p.left == 0 || p.Verb != verb && (p.Verb != "" || place) {
			continue
		}
		if p.skip > 0 {
			p.skip--
			return nil
		}
		if p.left > 0 {
			p.left--
		}
		f.dropUsed()
		return p
	}
	return nil
}

// dropUsed forgets faults that nobody can stall on any more.
func (f *Faults) dropUsed() {
	f.pending = slices.DeleteFunc(f.pending, func(p *armedFault) bool { return p.left == 0 && !p.Stall })
}
