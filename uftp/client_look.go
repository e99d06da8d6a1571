package uftp

import "context"

// Looked is what [Client.Stat] would have returned for a path.
type Looked struct {
	Info Info
	Err  error
}

// Look is [Client.Connect] for one who wants to know next what some files are. They
// are asked for with the log-in: that takes no round trip more. It returns one
// answer for each path, or the error of Connect.
func (c *Client) Look(ctx context.Context, paths ...string) ([]Looked, error) {
	looked, asked := make([]Looked, len(paths)), make([]*question, len(paths))
	for i, path := range paths {
		clean, err := cleanPath(path)
		if err != nil {
			looked[i].Err = wrapError(opStat, path, err)
			continue
		}
		asked[i] = &question{path: clean, answered: func() {}}
		c.questions.add(asked[i])
		defer c.questions.remove(asked[i])
	}
	if err := c.connect(ctx); err != nil {
		return nil, err
	}
	for i, q := range asked {
		if q != nil {
			looked[i].Info, looked[i].Err = c.look(ctx, paths[i], q)
		}
	}
	return looked, nil
}

// look returns the answer to a question. There is none yet if the client had sessions
// before; then all that wait are asked together.
func (c *Client) look(ctx context.Context, path string, q *question) (Info, error) {
	if _, done, _ := c.questions.result(q); !done {
		err := c.do(ctx, operation{name: opStat, path: path}, func(s *session) error { return c.ask(s, q) })
		if err != nil {
			return Info{}, err
		}
	}
	info, _, err := c.questions.result(q)
	return info, wrapError(opStat, path, err)
}

// expectEach is how many bytes are worth a session of their own: about what one moves
// while another is opened.
const expectEach = 16 << 20

// Expect says that about n bytes will be read or written soon, and that nothing else
// will be asked for until that is done. Over a long way the sessions for it are opened
// at once, or with the first one, and not when it turns out that they are of use; none
// of them is kept for others. Near by nothing is gained.
func (c *Client) Expect(n int64) {
	if n > 0 {
		c.dialer.hurry.Store(true)
		c.pool.expect(int(min(int64(c.cfg.MaxSessions), (n+expectEach-1)/expectEach)))
	}
}

// inquiry is what a log-in asks besides what it has to.
type inquiry struct {
	cmds []string
	take func(s *session, replies []reply) error // takes the replies
}

// inquire returns the questions that wait, if nobody else could ask them, and a
// function that takes them back after a failure.
func (c *Client) inquire() (inquiry, func()) {
	if !c.pool.empty() {
		return inquiry{}, func() {}
	}
	batch := c.questions.take(nil)
	take := func(s *session, replies []reply) error { return c.answers(s, batch, replies) }
	return inquiry{batchCommands(batch), take}, func() { c.questions.back(batch) }
}

// dialIn opens a session with a one-time password.
func (c *Client) dialIn(ctx context.Context, l Login, data bool) (*session, error) {
	q, back := c.inquire()
	s, err := c.dialer.login(ctx, l, data, q)
	if err != nil {
		back()
	}
	return s, err
}
