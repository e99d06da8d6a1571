package uftp

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"time"
)

// pipeFrom is from how many bytes on a write goes through the writer: less is
// written with one packet, on a session that others need not wait for.
const pipeFrom = 256 << 10

// upload writes a batch, again if need be, and tells what the file is then.
func (c *Client) upload(ctx context.Context, path string, b *batch) (Info, error) {
	clean, err := cleanPath(path)
	if err == nil {
		err = b.measure()
	}
	if err != nil {
		return Info{}, wrapError(opWrite, path, err)
	}
	b.path = clean
	if b.bytes >= pipeFrom && c.dialer.coding.plain() {
		return c.pipeline(ctx, path, b)
	}
	var after Info
	op := operation{name: opWrite, path: path, data: true, writes: true, fills: clean, bulk: b.bytes >= pipeFrom}
	err = c.do(ctx, op, func(s *session) error {
		parts, err := b.load()
		if err == nil {
			after, err = s.writeRanges(clean, parts)
		}
		return err
	})
	return after, err
}

// measure checks the parts of a batch and adds them up.
func (b *batch) measure() error {
	b.bytes, b.end = 0, 0
	for _, p := range b.parts {
		if p.off < 0 || p.n <= 0 || p.n > math.MaxInt || p.off > math.MaxInt64-p.n {
			return fmt.Errorf("%w: %d bytes at %d", fs.ErrInvalid, p.n, p.off)
		}
		b.bytes += int(p.n)
		b.end = max(b.end, p.off+p.n)
	}
	return nil
}

// pipeline writes a batch by way of the writer. Attempts are repeated by the rules
// of [Client.do].
func (c *Client) pipeline(ctx context.Context, path string, b *batch) (Info, error) {
	if c.cfg.ReadOnly {
		return Info{}, wrapError(opWrite, path, errReadOnly)
	}
	since := time.Now()
	for n := 0; ; {
		err := c.attemptPipeline(ctx, b, since)
		if err == nil {
			b.after.Name = baseName(b.path)
			return b.after, nil
		}
		innocent := errors.Is(err, errAgain) && ctx.Err() == nil
		again := innocent || retryable(err) || n == 0 && outOfStep(err)
		if !again || ctx.Err() != nil {
			return Info{}, wrapError(opWrite, path, err)
		}
		c.retries.Add(1)
		if innocent {
			continue
		}
		if err := c.rest(ctx, since, n, err); err != nil {
			return Info{}, wrapError(opWrite, path, err)
		}
		n++
	}
}

// attemptPipeline makes one attempt.
func (c *Client) attemptPipeline(ctx context.Context, b *batch, since time.Time) error {
	wait, cancel := context.WithDeadline(ctx, since.Add(c.cfg.IOTimeout))
	defer cancel()
	c.dialer.seen.forget(b.path)
	if c.writer.ctx.Err() != nil {
		return errClosed
	}
	if err := c.dialer.late.wait(wait, b.path); err != nil {
		return err
	}
	err := c.writer.write(ctx, b)
	c.dialer.seen.forget(b.path) // by somebody else in between
	return err
}
