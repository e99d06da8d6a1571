package wire

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"sync"
)

// maxServed bounds the requests of one peer served at a time. More are refused:
// if they waited in the socket, so would the cancellations that make room.
const maxServed = 256

const methodCancel = "cancel"

// ErrClosed means that the connection ended before a call was answered.
var ErrClosed = errors.New("connection closed")

// errCrowd is what a request beyond maxServed gets.
var errCrowd = fmt.Errorf("already %d requests at a time", maxServed)

// Request is a call from the far side.
type Request struct {
	Method string
	Params json.RawMessage
	files  []*FD
}

// Decode parses the parameters into v.
func (r *Request) Decode(v any) error {
	if err := json.Unmarshal(r.Params, v); err != nil {
		return fmt.Errorf("%w: parameters of %s: %w", ErrMessage, r.Method, err)
	}
	return nil
}

// Take gives descriptor i to the caller, who closes it. Those not taken are
// closed when the handler returns.
func (r *Request) Take(i int) (*FD, error) {
	if i >= len(r.files) || r.files[i] == nil {
		return nil, fmt.Errorf("%w: %s without descriptor %d", ErrMessage, r.Method, i)
	}
	f := r.files[i]
	r.files[i] = nil
	return f, nil
}

// Handler answers a request. The context ends when the caller gives up or the
// connection ends. Returned descriptors are sent and closed.
type Handler func(ctx context.Context, r *Request) (result any, files []*FD, err error)

// PeerConfig says what a [Peer] does with what it receives. A far side that does
// not keep to it loses the connection.
type PeerConfig struct {
	Handle Handler                                     // nil: the far side may not ask anything
	Event  func(method string, params json.RawMessage) // nil ignores events; called in order, must not block
	// Files bounds the descriptors beside one message, at most [MaxFiles]. More
	// never enter this process, not even to be closed: closing a file can
	// block, for ever if whoever sent it serves that file himself.
	Files int
}

// Peer is one end of a connection: it calls and is called.
type Peer struct {
	conn conn
	cfg  PeerConfig

	mu      sync.Mutex // guards what follows
	last    uint64
	pending map[uint64]chan reply         // our calls
	serving map[uint64]context.CancelFunc // theirs
	err     error                         // why the connection ended

	done   chan struct{} // closed when run has returned
	cancel context.CancelFunc
}

type reply struct {
	result json.RawMessage
	files  []*FD
	err    error
}

// NewPeer starts a peer on c, which it owns. The peer lives until the
// connection ends, ctx ends or it is closed.
func NewPeer(ctx context.Context, c *net.UnixConn, cfg PeerConfig) *Peer {
	ctx, cancel := context.WithCancel(ctx)
	p := &Peer{
		conn:    conn{c: c, files: min(cfg.Files, MaxFiles)},
		cfg:     cfg,
		pending: make(map[uint64]chan reply),
		serving: make(map[uint64]context.CancelFunc),
		done:    make(chan struct{}),
		cancel:  cancel,
	}
	go p.run(ctx)
	return p
}

// Done is closed when the connection has ended and every handler has returned.
func (p *Peer) Done() <-chan struct{} { return p.done }

// Err returns why the connection ended, after [Peer.Done].
func (p *Peer) Err() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.err
}

// Close ends the connection and waits for the handlers.
func (p *Peer) Close() error {
	p.cancel()
	<-p.done
	return nil
}

// Notify sends an event.
func (p *Peer) Notify(method string, params any) error {
	b, err := json.Marshal(params)
	if err != nil {
		return fmt.Errorf("encode %s: %w", method, err)
	}
	return p.conn.send(message{Method: method, Params: b}, nil)
}

// Call sends a request with descriptors, which stay the caller's, and waits for
// its reply, which it parses into result unless that is nil. An error of the far
// side keeps its cause (see [EncodeError]).
func (p *Peer) Call(ctx context.Context, method string, params, result any, files ...*FD) error {
	back, err := p.CallFiles(ctx, method, params, result, files...)
	closeAll(back)
	return err
}

// CallFiles is [Peer.Call] for replies with descriptors, which are the caller's.
func (p *Peer) CallFiles(ctx context.Context, method string, params, result any, files ...*FD) ([]*FD, error) {
	b, err := json.Marshal(params)
	if err != nil {
		return nil, fmt.Errorf("encode %s: %w", method, err)
	}
	id, answer, err := p.register()
	if err != nil {
		return nil, err
	}
	if err := p.conn.send(message{ID: id, Method: method, Params: b}, files); err != nil {
		p.forget(id, answer)
		return nil, fmt.Errorf("%s: %w: %w", method, ErrClosed, err)
	}
	select {
	case r := <-answer:
		if r.err != nil {
			return nil, r.err
		}
		if result != nil {
			if err := json.Unmarshal(r.result, result); err != nil {
				closeAll(r.files)
				return nil, fmt.Errorf("%w: result of %s: %w", ErrMessage, method, err)
			}
		}
		return r.files, nil
	case <-ctx.Done():
		p.forget(id, answer)
		// Best effort: a peer that is gone has stopped anyway.
		_ = p.conn.send(message{ID: id, Method: methodCancel}, nil)
		return nil, context.Cause(ctx)
	}
}

func (p *Peer) register() (uint64, chan reply, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.err != nil {
		return 0, nil, p.err
	}
	p.last++
	answer := make(chan reply, 1)
	p.pending[p.last] = answer
	return p.last, answer, nil
}

// forget drops a call, and the reply if it has come in the same moment.
func (p *Peer) forget(id uint64, answer chan reply) {
	p.mu.Lock()
	delete(p.pending, id)
	p.mu.Unlock()
	select {
	case r := <-answer:
		closeAll(r.files)
	default:
	}
}

// run receives until the connection ends.
func (p *Peer) run(ctx context.Context) {
	defer close(p.done)
	stop := context.AfterFunc(ctx, func() { _ = p.conn.c.Close() })
	defer stop()
	var handlers sync.WaitGroup
	slots := make(chan struct{}, maxServed)
	buf := make([]byte, MaxMessage)
	for {
		m, files, err := p.conn.receive(buf)
		if err == nil && m.asks() && p.cfg.Handle == nil {
			closeAll(files)
			err = fmt.Errorf("%w: %s, and nobody here serves requests", ErrMessage, clip(m.Method))
		}
		if err != nil {
			p.end(err)
			break
		}
		switch {
		case m.Method == "":
			p.deliver(m, files)
		case m.Method == methodCancel:
			closeAll(files)
			p.mu.Lock()
			if cancel, ok := p.serving[m.ID]; ok {
				cancel()
			}
			p.mu.Unlock()
		case m.ID == 0:
			closeAll(files)
			if p.cfg.Event != nil {
				p.cfg.Event(m.Method, m.Params)
			}
		default:
			select {
			case slots <- struct{}{}:
			default:
				closeAll(files)
				_ = p.conn.send(message{ID: m.ID, Error: EncodeError(errCrowd)}, nil)
				continue
			}
			ctx, cancel := context.WithCancel(ctx)
			p.mu.Lock()
			p.serving[m.ID] = cancel
			p.mu.Unlock()
			handlers.Go(func() {
				p.serve(ctx, m, files)
				cancel()
				p.mu.Lock()
				delete(p.serving, m.ID)
				p.mu.Unlock()
				<-slots
			})
		}
	}
	p.cancel()
	handlers.Wait()
	_ = p.conn.c.Close()
}

// end fails every call that waits.
func (p *Peer) end(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.err = fmt.Errorf("%w: %w", ErrClosed, err)
	for id, answer := range p.pending {
		answer <- reply{err: p.err}
		delete(p.pending, id)
	}
}

func (p *Peer) deliver(m message, files []*FD) {
	p.mu.Lock()
	answer, ok := p.pending[m.ID]
	delete(p.pending, m.ID)
	if ok {
		r := reply{result: m.Result, files: files}
		if m.Error != nil {
			r.err = m.Error.Decode()
		}
		answer <- r // never blocks: room for one, and there is one reply
	}
	p.mu.Unlock()
	if !ok || m.Error != nil {
		closeAll(files)
	}
}

func (p *Peer) serve(ctx context.Context, m message, files []*FD) {
	r := &Request{Method: m.Method, Params: m.Params, files: files}
	defer func() { closeAll(r.files) }()
	answer := message{ID: m.ID}
	result, back, err := p.cfg.Handle(ctx, r)
	defer closeAll(back)
	if err == nil {
		answer.Result, err = json.Marshal(result)
	}
	if err != nil {
		answer.Error = EncodeError(err)
	}
	err = p.conn.send(answer, back)
	if errors.Is(err, ErrMessage) {
		// Too long to send: say that instead of leaving the caller waiting.
		_ = p.conn.send(message{ID: m.ID, Error: EncodeError(err)}, nil)
	}
	// Any other failure means that the connection is gone, which run sees.
}
