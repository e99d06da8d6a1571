package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"iter"
	"os"
	"strings"
	"sync"
	"time"
)

const retr, stor = "RETR", "STOR"

// span is a piece of a file, read or written by one pair of commands.
type span struct {
	file string
	off  int64
	n    int64
}

// pipe moves spans over a session with up to depth of them under way: one
// goroutine sends commands, one reads replies, and move, in the caller's,
// handles the bytes of each span in turn. It ends early when move has enough, or
// when that or the server fails.
func (s *session) pipe(verb string, spans iter.Seq[span], depth int, move func(span) error) error {
	slots := make(chan struct{}, depth)
	// What was read is done with, its replies come a round trip later: the server
	// leaves Nagle's algorithm on. What was written is not done before its reply.
	moving, replying := make(chan span, depth), make(chan span, depth+1024)
	var group sync.WaitGroup
	var sendErr, replyErr error
	stop := make(chan struct{})
	group.Go(func() {
		sendErr = s.send(verb, spans, slots, stop, moving, replying)
		close(moving)
		close(replying)
	})
	group.Go(func() {
		for sp := range replying {
			if replyErr == nil {
				if replyErr = s.settle(verb, sp); replyErr != nil {
					s.close() // wakes all others
				}
			}
			if verb == stor {
				<-slots
			}
		}
	})
	var moveErr error
	enough := false
	for sp := range moving {
		switch err := move(sp); {
		case moveErr != nil: // all is lost already
		case errors.Is(err, errEnough):
			if !enough {
				enough = true
				close(stop)
			}
		case err != nil:
			moveErr = err
			s.close() // wakes all others
		}
		if verb == retr {
			<-slots
		}
	}
	group.Wait()
	return errors.Join(replyErr, moveErr, sendErr)
}

// errEnough says that no more spans are wanted; those under way come still.
var errEnough = errors.New("enough")

func (s *session) send(verb string, spans iter.Seq[span], slots chan struct{}, stop <-chan struct{}, moving, replying chan<- span) error {
	out := bufio.NewWriter(s.control)
	for sp := range spans {
		select {
		case slots <- struct{}{}:
		default: // full: what is buffered goes out before we wait
			s.trips++
			if err := out.Flush(); err != nil {
				return err
			}
			slots <- struct{}{}
		}
		select {
		case <-stop:
			<-slots
			return out.Flush()
		default:
		}
		fmt.Fprintf(out, "RANG %d %d\r\n%s %s\r\n", sp.off, sp.off+sp.n, verb, sp.file)
		replying <- sp
		moving <- sp
	}
	s.trips++
	return out.Flush()
}

// settle reads the three replies to a span's commands.
func (s *session) settle(verb string, sp span) error {
	for _, code := range [...]string{"350", "150", "226"} {
		line, err := s.reply(nil)
		if err != nil {
			return err
		}
		if !strings.HasPrefix(line, code) {
			return fmt.Errorf("%s %s at %d: %s", verb, sp.file, sp.off, line)
		}
	}
	return nil
}

// reader counts what comes over a data connection.
type reader struct {
	s     *session
	buf   []byte
	begin time.Time
	first time.Duration
	bytes int64
	to    *os.File // gets the bytes, if it is not nil
}

func newReader(s *session, begin time.Time) *reader {
	return &reader{s: s, buf: make([]byte, 512<<10), begin: begin}
}

// take reads the bytes of a span, and writes or drops them.
func (r *reader) take(sp span) error {
	for left := sp.n; left > 0; {
		n, err := prompt{r.s.data}.Read(r.buf[:min(int64(len(r.buf)), left)])
		if r.first == 0 {
			r.first = time.Since(r.begin)
		}
		if r.to != nil {
			if _, werr := r.to.WriteAt(r.buf[:n], sp.off+sp.n-left); werr != nil {
				return werr
			}
		}
		left -= int64(n)
		r.bytes += int64(n)
		if err != nil {
			if errors.Is(err, io.EOF) {
				err = io.ErrUnexpectedEOF
			}
			return err
		}
	}
	return nil
}

// give writes the bytes of a span, from buf over and over.
func (s *session) give(buf []byte) func(span) error {
	return func(sp span) error {
		for left := sp.n; left > 0; {
			n, err := s.data.Write(buf[:min(int64(len(buf)), left)])
			left -= int64(n)
			if err != nil {
				return err
			}
		}
		return nil
	}
}
