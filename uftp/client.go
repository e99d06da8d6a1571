package uftp

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"net/url"
	"sync"
	"sync/atomic"
	"time"
)

// Defaults of a [Config].
const (
	DefaultMaxSessions = 4
	DefaultIdleTimeout = time.Minute
	DefaultIOTimeout   = 5 * time.Minute
	DefaultDialTimeout = 10 * time.Second
)

// busyPatience is how long Connect waits for one of the user's sessions to
// become free: the server takes 5 s to notice that one ended.
const busyPatience = 7 * time.Second

// Config says where a [Client] finds its files and how it behaves. The zero
// value of a field means its default.
type Config struct {
	// AuthURL is the auth service and server: https://host:port/rest/auth/NAME.
	// Required, unless Login is set.
	AuthURL  string
	Access   Access // who to be there; the default is anonymous
	Insecure bool   // do not verify the auth service's TLS certificate

	// BaseDir is the directory that paths are relative to; "" is the user's
	// home. It need not end in a slash.
	BaseDir string
	// SharedFile and UserPreferences are as in [AuthRequest].
	SharedFile, UserPreferences string

	Group         string        // Unix group to ask for; "" is the user's default
	ClientAddress string        // addresses UFTPD shall accept; "" is ours as the auth service sees it
	HTTPTimeout   time.Duration // of one request to the auth service; default Authenticate's, or half of IOTimeout if that is less, but not below 5 s

	// Encryption of data connections: EncryptionAES, EncryptionBlowfish, or ""
	// for none. Names, sizes and passwords are never encrypted there. Compress
	// sends what is transferred through gzip. Streams is how many TCP streams a
	// data connection has, at most what the server allows (often 4); it does not
	// go together with Encryption. In each of these modes a transfer opens a data
	// connection of its own, which costs three round trips.
	Encryption string
	Compress   bool
	Streams    int

	// EncryptionKey is the key that belongs to Login, as [AuthRequest] has it.
	EncryptionKey Secret
	// Login, if not nil, is the result of an authentication made elsewhere; then
	// the auth service is never asked, and when the one-time password has died
	// (some seconds after the last session ended) operations fail with ErrAuth.
	Login *Login

	// ReadOnly refuses all changes, with fs.ErrPermission.
	ReadOnly bool

	// MaxSessions is how many sessions the client opens at most; default 4. The
	// server's limit may be lower: the client lives with what it gets.
	MaxSessions int
	// Eager has Connect open a data connection too: that takes it a round trip, and
	// the first transfer begins three of them earlier.
	Eager bool
	// IdleTimeout is after how long unused sessions are given back, the last one
	// too; default 1 minute.
	IdleTimeout time.Duration
	// IOTimeout is how long an operation waits for a server that is away or
	// busy; default 5 minutes. A server that is silent in the middle of
	// something for a quarter of that counts as gone. One that has been away for
	// as long is not waited for any more: operations fail at once, with
	// ErrUnavailable, until it is seen to be back. Connect asks in any case.
	IOTimeout time.Duration
	// RateLimit is how many bytes per second the client's reads and writes at
	// offsets move, all together; 0 is no limit. Streams (Get, Put) and sessions
	// with encryption, compression or several streams are not held back.
	RateLimit int64
	// DialTimeout bounds a connection attempt, and the login after it; default
	// 10 s.
	DialTimeout time.Duration

	Dial   DialFunc     // default: TCP
	Logger *slog.Logger // default: none
}

// String names the place and whose access is used, without secrets.
func (cfg Config) String() string {
	if cfg.Login != nil {
		return fmt.Sprintf("%s: %q", *cfg.Login, cfg.BaseDir)
	}
	return fmt.Sprintf("%s at %q: %q", cfg.Access, safeURLText(cfg.AuthURL), cfg.BaseDir)
}

// Format implements [fmt.Formatter].
func (cfg Config) Format(f fmt.State, _ rune) { printSafely(f, cfg) }

// LogValue implements [slog.LogValuer].
func (cfg Config) LogValue() slog.Value { return slog.StringValue(cfg.String()) }

// A Client works on the files below one base directory. It is safe for
// concurrent use. Paths are relative to that directory, '/'-separated bytes;
// "" and "." are the directory itself; ".." is refused, and so is what the
// protocol cannot carry: CR, LF, NUL, and bytes that are not UTF-8.
//
// Errors are of type [*Error]; ask them with [errors.Is].
type Client struct {
	cfg     Config // without the Access
	dialer  *dialer
	pool    *pool
	engine  *engine
	writer  *writer
	retries atomic.Int64
	zone    atomic.Int64  // seconds the server's local time was ahead of UTC when last seen
	asking  chan struct{} // full while somebody asks for a one-time password

	questions questions   // that wait for a session
	short     atomic.Bool // the last listing was

	mu        sync.Mutex // guards the following
	access    *Access    // behind pointers, since fmt follows one for verbs that do not fit
	accesses  int        // how often access was set
	login     *Login
	loginTime time.Time
	misses    int   // logins in a row that did not reach the server
	refused   error // what the auth service said to the present access, at loginTime
	logins    int64
	auths     int64
}

// String is that of the client's [Config].
func (c *Client) String() string {
	cfg := c.cfg
	c.mu.Lock()
	defer c.mu.Unlock()
	cfg.Access = *c.access
	return cfg.String()
}

// Format implements [fmt.Formatter].
func (c *Client) Format(f fmt.State, _ rune) { printSafely(f, c) }

// LogValue implements [slog.LogValuer].
func (c *Client) LogValue() slog.Value { return slog.StringValue(c.String()) }

// New returns a client. It checks cfg and uses no network: see
// [Client.Connect].
func New(cfg Config) (*Client, error) {
	switch {
	case cfg.MaxSessions < 0 || cfg.IdleTimeout < 0 || cfg.IOTimeout < 0 || cfg.DialTimeout < 0 || cfg.RateLimit < 0:
		return nil, wrapError("new client", "", fmt.Errorf("%w: negative limit", fs.ErrInvalid))
	case cfg.Login != nil && (cfg.Login.Host == "" || cfg.Login.Port <= 0 || cfg.Login.Port > 65535):
		return nil, wrapError("new client", "", fmt.Errorf("%w: login without server address", fs.ErrInvalid))
	case cfg.Login == nil:
		if u, err := url.Parse(cfg.AuthURL); err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http" {
			return nil, wrapError("new client", "", fmt.Errorf("%w: auth URL must be like https://host:port/rest/auth/NAME", fs.ErrInvalid))
		}
	}
	cfg.MaxSessions = cmp.Or(cfg.MaxSessions, DefaultMaxSessions)
	cfg.IdleTimeout = cmp.Or(cfg.IdleTimeout, DefaultIdleTimeout)
	cfg.IOTimeout = cmp.Or(cfg.IOTimeout, DefaultIOTimeout)
	cfg.DialTimeout = cmp.Or(cfg.DialTimeout, DefaultDialTimeout)
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.Dial == nil {
		cfg.Dial = (&net.Dialer{KeepAliveConfig: net.KeepAliveConfig{
			Enable: true, Idle: 10 * time.Second, Interval: 5 * time.Second, Count: 4,
		}}).DialContext
	}
	coding, err := newCoding(cfg)
	if err != nil {
		return nil, wrapError("new client", "", err)
	}
	access := cfg.Access
	cfg.Access = Access{}
	c := &Client{cfg: cfg, access: &access, asking: make(chan struct{}, 1)}
	c.dialer = &dialer{dial: cfg.Dial, timeout: cfg.DialTimeout, stall: cfg.IOTimeout / 4, linger: finishTime, late: newLateWrites(), coding: coding}
	if cfg.Login != nil {
		l := *cfg.Login
		l.key = cfg.EncryptionKey
		c.login = &l
	}
	c.dialer.limit.rate = cfg.RateLimit
	c.pool = newPool(c.openSession, cfg.MaxSessions, cfg.IdleTimeout, cfg.Logger)
	c.pool.far, c.pool.outage.patience = c.dialer.far, cfg.IOTimeout
	c.engine = newEngine(c.pool, c.dialer, cfg.IOTimeout)
	c.writer = newWriter(c.pool, c.dialer, cfg.IOTimeout)
	return c, nil
}

// Connect authenticates, logs in, and checks the base directory, so that what
// is wrong with credentials, server or path is known before anything depends on
// it. It fails at once instead of waiting for better times, but gives a server
// whose sessions are all in use some seconds. A client need not be connected:
// every operation does what is needed.
func (c *Client) Connect(ctx context.Context) error {
	_, err := c.Look(ctx)
	return err
}

// connect is Connect without looking at anything else.
func (c *Client) connect(ctx context.Context) error {
	s, err := c.pool.acquire(ctx, c.cfg.Eager, busyPatience)
	if err != nil {
		return wrapError(opConnect, c.cfg.BaseDir, err)
	}
	if !s.fresh {
		err = s.run(ctx, func() error {
			_, err := s.look(".")
			return err
		})
	}
	c.pool.release(s)
	if errors.Is(err, ErrUnavailable) && ctx.Err() == nil {
		// An old session that had died unnoticed. Once more, on a new one.
		return c.do(ctx, operation{name: opConnect, path: c.cfg.BaseDir}, func(s *session) error {
			_, err := s.look(".")
			return err
		})
	}
	return wrapError(opConnect, c.cfg.BaseDir, err)
}

// UpdateAccess sets the access for authentications from now on. Sessions that
// exist stay.
func (c *Client) UpdateAccess(a Access) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.access = &a
	c.accesses++
	c.refused = nil
}

// Close ends all sessions and operations.
func (c *Client) Close() error {
	c.engine.stop()
	c.writer.stop()
	c.pool.close()
	c.engine.wait()
	c.writer.wait()
	return nil
}

// ClientStats is a snapshot of what a client did.
type ClientStats struct {
	Sessions     int   // held now
	IdleSessions int   // of these, not in use
	SessionLimit int   // how many the server allows us, as far as known
	Logins       int64 // sessions opened
	Auths        int64 // one-time passwords obtained
	Retries      int64 // attempts beyond the first
	RoundTrips   int64 // waits for a server's answer or for a data connection
	BytesRead    int64 // file contents received
	BytesWritten int64 // file contents sent

	Lanes         int   // sessions that read now, each with many ranges on their way
	Ranges        int   // on their way
	BytesInFlight int64 // asked for that have not come
	Window        int   // bytes that may be on their way in a lane, as of lately
}

// RoundTrip is the shortest time that the server took to answer so far, which is
// what the way there and back takes; 0 if nothing was asked yet.
func (c *Client) RoundTrip() time.Duration { return c.dialer.trip.get() }

// Reach is how many bytes a reader should have asked for ahead, so that all
// sessions there may be are busy: over a long way there and back, what is on its
// way in them, and half as much. It is 0 over a short way, and where that is not
// known yet: a reader then does with what he needs not to wait.
func (c *Client) Reach() int64 { return c.engine.reach() }

// Stats returns a snapshot.
func (c *Client) Stats() ClientStats {
	total, idle, limit := c.pool.snapshot()
	st := c.engine.snapshot()
	c.mu.Lock()
	defer c.mu.Unlock()
	return ClientStats{
		Lanes: st.Lanes, Ranges: st.Ranges, BytesInFlight: st.BytesInFlight, Window: st.Window,
		Sessions: total, IdleSessions: idle, SessionLimit: limit,
		Logins: c.logins, Auths: c.auths, Retries: c.retries.Load(),
		RoundTrips: c.dialer.trips.Load(),
		BytesRead:  c.dialer.received.Load(), BytesWritten: c.dialer.sent.Load(),
	}
}
