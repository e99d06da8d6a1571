package uftptest

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// An engine is a UFTPD in this process. Each control connection has a goroutine
// that does one command after another, as each has a process in the real one.
type engine struct {
	cfg     Config
	quirks  Quirks
	log     *slog.Logger
	faults  *Faults   // shared by the instances of a server
	counts  *counters // likewise
	secrets *secrets
	shaper  *shaper
	ln      net.Listener
	port    int

	copies atomic.Int64 // server-to-server copies begun

	ctx    context.Context // ends with the engine
	cancel context.CancelFunc
	wg     sync.WaitGroup

	mu       sync.Mutex
	sessions map[*session]struct{}
}

var (
	_ backend  = (*engine)(nil)
	_ controls = (*engine)(nil)
)

// newEngine starts a UFTPD that serves cfg.Dir at cfg.ControlListen. It shares
// faults and counters with sibling, if there is one.
func newEngine(cfg Config, sibling *engine) (*engine, error) {
	q := cfg.Quirks.withDefaults()
	ctx, cancel := context.WithCancel(context.Background())
	e := &engine{
		cfg:      cfg,
		quirks:   q,
		log:      cfg.Logger,
		faults:   new(Faults),
		counts:   new(counters),
		secrets:  newSecrets(cfg.MaxConnections, q),
		ctx:      ctx,
		cancel:   cancel,
		sessions: make(map[*session]struct{}),
	}
	if sibling != nil {
		e.faults, e.counts = sibling.faults, sibling.counts
	}
	e.shaper = newShaper(e.faults.currentLink)
	ln, err := cfg.Listen(ctx, "tcp", cfg.ControlListen)
	if err != nil {
		cancel()
		return nil, fmt.Errorf("listen for control connections: %w", err)
	}
	e.ln = ln
	e.port = addrPort(ln.Addr())
	e.wg.Go(e.serve)
	e.wg.Go(e.sweep)
	return e, nil
}

// listenShaped is Config.Listen with the link of the moment in each connection.
func (e *engine) listenShaped(ctx context.Context, network, address string) (net.Listener, error) {
	ln, err := e.cfg.Listen(ctx, network, address)
	if err != nil {
		return nil, err
	}
	return e.shaper.listener(ln), nil
}

// serve accepts control connections until the engine is closed.
func (e *engine) serve() {
	for {
		conn, err := e.ln.Accept()
		if err != nil {
			if e.ctx.Err() == nil {
				e.log.Error("accepting control connections ended", "err", err)
			}
			return
		}
		s := newSession(e, e.shaper.wrap(conn))
		if !e.add(s) {
			s.kill()
			return
		}
		e.wg.Go(func() {
			defer e.remove(s)
			s.serve()
		})
	}
}

// sweep looks for ended sessions and expired secrets from time to time.
func (e *engine) sweep() {
	tick := time.NewTicker(e.quirks.SweepInterval)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			e.secrets.sweep()
		case <-e.ctx.Done():
			return
		}
	}
}

func (e *engine) add(s *session) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.ctx.Err() != nil {
		return false
	}
	e.sessions[s] = struct{}{}
	return true
}

func (e *engine) remove(s *session) {
	e.mu.Lock()
	defer e.mu.Unlock()
	delete(e.sessions, s)
}

func (e *engine) register(_ context.Context, j job) (int, error) {
	if err := e.secrets.register(j); err != nil {
		return 0, err
	}
	return e.port, nil
}

func (e *engine) ping(context.Context) (version, host string, port, limit int, err error) {
	return e.quirks.Version, addrHost(e.ln.Addr()), e.port, e.cfg.MaxConnections, nil
}

// userKeys reads the key files below cfg.Dir, which is everybody's home.
func (e *engine) userKeys(context.Context, string) ([]string, error) {
	var keys []string
	for _, name := range []string{".ssh/authorized_keys", ".uftp/authorized_keys"} {
		lines, err := readLines(filepath.Join(e.cfg.Dir, name))
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			return nil, fmt.Errorf("read key file: %w", err)
		}
		for _, line := range lines {
			if !strings.HasPrefix(line, "#") {
				keys = append(keys, strings.TrimSpace(line))
			}
		}
	}
	return keys, nil
}

func readLines(name string) ([]string, error) {
	f, err := os.Open(name) //nolint:gosec // a key file in the home
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	var lines []string
	sc := bufio.NewScanner(f)
	for sc.Scan() {
		lines = append(lines, sc.Text())
	}
	return lines, sc.Err()
}

// killSessions drops the connections of all sessions.
func (e *engine) killSessions() error {
	e.mu.Lock()
	defer e.mu.Unlock()
	for s := range e.sessions {
		s.kill()
	}
	return nil
}

func (e *engine) expireSecrets() error {
	e.secrets.expire()
	return nil
}

// close ends all sessions and waits for them.
func (e *engine) close() error {
	e.mu.Lock()
	e.cancel()
	e.mu.Unlock()
	err := e.ln.Close()
	_ = e.killSessions()
	e.shaper.close()
	e.wg.Wait()
	return err
}

// addrPort is the TCP port of an address, 0 if it has none.
func addrPort(a net.Addr) int {
	if tcp, ok := a.(*net.TCPAddr); ok {
		return tcp.Port
	}
	return 0
}

// addrHost is the textual IP address of an address.
func addrHost(a net.Addr) string {
	if tcp, ok := a.(*net.TCPAddr); ok {
		return tcp.IP.String()
	}
	return a.String()
}
