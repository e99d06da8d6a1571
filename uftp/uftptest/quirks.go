package uftptest

import (
	"cmp"
	"time"
)

// Quirks chooses among the behaviours of different UFTPD versions and set-ups.
// The zero value is UFTPD 3.5.3 as observed on the wire; each field switches
// one thing.
type Quirks struct {
	// Version is what the greeting calls the server; default "3.5.3".
	Version string

	CRLF           bool // control lines end in CR LF, as those of the Java server
	OldErrors      bool // 3.4: every failure but a login's is a 500, with other words
	InclusiveRange bool // RANG's end is the last byte, and FEAT lists RFC_RANG
	LateListen     bool // 3.4: 229 and 227 are sent before the data port listens
	CleanFEAT      bool // every feature on a line of its own, none fused
	UTF8           bool // FEAT lists the standard UTF8 instead of UTF-8
	WorkingSIZE    bool // SIZE answers, as in 3.4
	WorkingAPPE    bool // APPE appends
	StandardCodes  bool // 250 where RFC 959 wants it, and 221 to QUIT
	NoDelay        bool // Nagle's algorithm is off on control connections
	HashNotes      bool // a "213-" line comes before each HASH, as with long ones
	RefuseBase     bool // a missing base directory is a 530, not a 230 and the end
	AllPersistent  bool // 3.4: every secret can be used again, also one registered as one-time

	// Disabled verbs, in upper case, are answered as unknown ones.
	Disabled []string
	// AdvertiseHost is the IPv4 address in 227 replies; default the control
	// connection's own.
	AdvertiseHost string

	// AcceptTimeout is how long EPSV waits for the client's connection before
	// the session ends; default 30 s.
	AcceptTimeout time.Duration
	// SecretLifetime is how long an unused one-time password lives; default 300 s.
	SecretLifetime time.Duration
	// SweepInterval is the time between two looks at ended sessions and expired
	// passwords; default 5 s.
	SweepInterval time.Duration
}

func (q Quirks) withDefaults() Quirks {
	q.Version = cmp.Or(q.Version, "3.5.3")
	q.AcceptTimeout = cmp.Or(q.AcceptTimeout, 30*time.Second)
	q.SecretLifetime = cmp.Or(q.SecretLifetime, 300*time.Second)
	q.SweepInterval = cmp.Or(q.SweepInterval, 5*time.Second)
	return q
}
