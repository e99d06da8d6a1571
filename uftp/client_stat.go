package uftp

import (
	"context"
	"slices"
	"sync"
)

// opStat is the Op of errors of Stat.
const opStat = "stat"

// Stat returns the attributes of a file or directory; links are followed. One
// round trip, or none beside that of a log-in if there is no session yet. Who waits
// for a session has the one who gets it ask for him, too.
func (c *Client) Stat(ctx context.Context, path string) (Info, error) {
	p, err := cleanPath(path)
	if err != nil {
		return Info{}, wrapError(opStat, path, err)
	}
	return c.answer(ctx, opStat, path, &question{path: p})
}

// answer waits for the answer to a question, which is part of an operation on path.
func (c *Client) answer(ctx context.Context, op, path string, q *question) (Info, error) {
	var wait context.Context
	wait, q.answered = context.WithCancel(ctx)
	defer q.answered()
	c.questions.add(q)
	defer c.questions.remove(q)
	err := c.do(wait, operation{name: op, path: path}, func(s *session) error { return c.ask(s, q) })
	if info, ok, answer := c.questions.result(q); ok {
		return info, wrapError(op, path, answer)
	}
	return Info{}, err
}

// question is about one file.
type question struct {
	path     string // clean
	brief    bool   // size and time are all
	answered func() // ends the wait for a session
	asked    bool   // by who waits for the answer: what he is at is not to be ended

	// The following and asked are guarded by the mutex of questions.
	done bool
	info Info
	err  error // a refusal
}

// questions are those that nobody has asked yet.
type questions struct {
	mu      sync.Mutex
	waiting []*question
}

const (
	// maxQuestions bounds how many are asked in one packet.
	maxQuestions = 64
	// maxQuestionBytes bounds the bytes of their paths, so that neither end waits
	// for the other to read.
	maxQuestionBytes = 4 << 10
)

func (qs *questions) add(q *question) {
	qs.mu.Lock()
	defer qs.mu.Unlock()
	qs.waiting = append(qs.waiting, q)
}

func (qs *questions) remove(q *question) {
	qs.mu.Lock()
	defer qs.mu.Unlock()
	if i := slices.Index(qs.waiting, q); i >= 0 {
		qs.waiting = slices.Delete(qs.waiting, i, i+1)
	}
}

// take returns own, if it is not nil and not answered, and what waits besides, to be
// asked now; nothing if own is answered.
func (qs *questions) take(own *question) []*question {
	qs.mu.Lock()
	defer qs.mu.Unlock()
	var batch []*question
	bytes, rest := 0, qs.waiting[:0]
	if own != nil {
		if own.done {
			return nil
		}
		own.asked = true
		batch, bytes = append(batch, own), len(own.path)
	}
	for _, q := range qs.waiting {
		switch bytes += len(q.path); {
		case q == own:
		case len(batch) < maxQuestions && bytes <= maxQuestionBytes:
			batch = append(batch, q)
		default:
			rest = append(rest, q)
		}
	}
	clear(qs.waiting[len(rest):])
	qs.waiting = rest
	return batch
}

// back takes questions back that got no answer.
func (qs *questions) back(batch []*question) {
	qs.mu.Lock()
	defer qs.mu.Unlock()
	for _, q := range batch {
		if !q.done && !slices.Contains(qs.waiting, q) {
			qs.waiting = append(qs.waiting, q)
		}
	}
}

// answer notes an answer, if there is none yet.
func (qs *questions) answer(q *question, info Info, err error) {
	qs.mu.Lock()
	defer qs.mu.Unlock()
	if !q.done {
		if q.done, q.info, q.err = true, info, err; !q.asked {
			q.answered()
		}
	}
}

func (qs *questions) result(q *question) (info Info, ok bool, answer error) {
	qs.mu.Lock()
	defer qs.mu.Unlock()
	return q.info, q.done, q.err
}

// ask asks a question on s, and those that wait.
func (c *Client) ask(s *session, own *question) error {
	batch := c.questions.take(own)
	if len(batch) == 0 {
		return nil
	}
	replies, err := s.exchange(batchCommands(batch)...)
	if err != nil {
		c.questions.back(batch[1:])
		return err
	}
	return c.answers(s, batch, replies)
}

// batchCommands are those of all questions of a batch.
func batchCommands(batch []*question) []string {
	cmds := make([]string, 0, 2*len(batch))
	for _, q := range batch {
		cmds = append(cmds, q.commands()...)
	}
	return cmds
}

// answers takes the replies to a batch.
func (c *Client) answers(s *session, batch []*question, replies []reply) error {
	for i, q := range batch {
		n := len(q.commands())
		info, err := c.understand(s, q, replies[:n])
		replies = replies[n:]
		if err != nil && !isRefusal(err) {
			c.questions.back(batch[i:])
			return err
		}
		c.questions.answer(q, info, err)
	}
	return nil
}

func (q *question) commands() []string {
	if q.brief {
		return lookCommands(q.path)
	}
	return statCommands(q.path)
}

func (c *Client) understand(s *session, q *question, r []reply) (Info, error) {
	if q.brief {
		return looked(q.path, r[0])
	}
	return c.learn(s, q.path, r[0], r[1])
}

// stat asks for one file, whoever waits.
func (c *Client) stat(s *session, path string) (Info, error) {
	r, err := s.exchange(statCommands(path)...)
	if err != nil {
		return Info{}, err
	}
	return c.learn(s, path, r[0], r[1])
}

// learn returns what the replies to statCommands say, and what they say about the
// server's time zone is remembered.
func (c *Client) learn(s *session, path string, stat, mlst reply) (Info, error) {
	info, f, err := s.described(path, stat, mlst)
	if err == nil {
		c.dialer.seen.note(path, versionOf(info))
	}
	if err == nil && !f.local.IsZero() {
		c.zone.Store(f.local.Unix() - info.ModTime.Unix())
	}
	return info, err
}
