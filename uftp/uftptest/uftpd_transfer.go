package uftptest

import (
	"encoding/hex"
	"io"
	"math/big"
	"os"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

func (s *session) resetRange() {
	s.offset, s.count = new(big.Int), big.NewInt(-1)
	s.haveRange = false
}

// rang sets the range of the next transfer that succeeds. "RANG 1 0" resets it.
func (s *session) rang(arg argument) error {
	text, err := arg.need("split")
	if err != nil {
		return err
	}
	words := strings.Split(text, " ")
	if len(words) < 2 {
		return fail(501, "Argument syntax error")
	}
	first, err1 := pyInt(words[0], 10)
	end, err2 := pyInt(words[1], 10)
	if err1 != nil || err2 != nil {
		return fail(501, "Argument syntax error")
	}
	if first.Cmp(big.NewInt(1)) == 0 && end.Sign() == 0 {
		s.resetRange()
		return s.ctrl.reply("350 Resetting range")
	}
	s.offset = first
	s.count = new(big.Int).Sub(end, first)
	if s.eng.quirks.InclusiveRange {
		s.count.Add(s.count, big.NewInt(1))
	}
	s.haveRange = true
	return s.ctrl.reply("350 Restarting at %s. End byte range at %s", first, end)
}

func (s *session) rest(arg argument) error {
	n, err := pyInt(arg.text, 10)
	if !arg.given || err != nil {
		return fail(501, "Argument syntax error")
	}
	s.haveRange = false
	s.offset = n
	return s.ctrl.reply("350 Restarting at %s.", n)
}

// readable checks that a path can be read, and settles how much of it is to be:
// what the range says, or what follows the offset. It returns the path and the
// number of bytes that the client is told.
func (s *session) readable(p string) (size *big.Int, err error) {
	f, err := statFile(p)
	if err != nil || !f.can(unix.R_OK) {
		return nil, fail(550, noSuchFile)
	}
	if s.haveRange {
		return s.count, nil
	}
	size = big.NewInt(f.stat.Size())
	s.count = new(big.Int).Sub(size, s.offset)
	return size, nil
}

func (s *session) retr(arg argument) error {
	p, err := s.path(accessRead, arg)
	if err != nil {
		return err
	}
	size, err := s.readable(p)
	if err != nil {
		return err
	}
	if err := s.ctrl.reply("150 OK %s bytes available for reading.", size); err != nil {
		return err
	}
	if err := s.sendData(p); err != nil {
		s.closeData()
		return err
	}
	return nil
}

// sendData sends the range of a file that has been settled.
func (s *session) sendData(p string) error {
	f, err := openAt(p, os.O_RDONLY, s.offset)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	sent, err := s.sendFrom(f, clamp(s.count))
	s.eng.counts.update(func(st *Stats) { st.BytesSent += sent })
	if err != nil {
		return err
	}
	if s.options.compress || s.options.encrypted() {
		if s.data == nil {
			return noAttribute("close")
		}
		s.data.close()
	}
	if err := s.transferred(); err != nil {
		return err
	}
	if !s.options.keepAlive {
		s.closeData()
	}
	return nil
}

// transferred ends a successful transfer.
func (s *session) transferred() error {
	s.resetRange()
	s.eng.counts.update(func(st *Stats) { st.Transfers++ })
	return s.ctrl.reply("226 File transfer successful")
}

// openAt opens a file with its position at offset, failing in Python's words.
func openAt(p string, flags int, offset *big.Int) (*os.File, error) {
	if err := checkPath(p); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(p, flags, 0) //nolint:gosec // serving what it is asked for is its job
	if err != nil {
		return nil, osError(err, p)
	}
	err = nil
	if fi, statErr := f.Stat(); statErr == nil && fi.IsDir() {
		err = osError(syscall.EISDIR, p)
	} else if flags == os.O_RDONLY {
		err = seekTo(f, offset)
	}
	if err != nil {
		_ = f.Close()
		return nil, err
	}
	return f, nil
}

func seekTo(f *os.File, offset *big.Int) error {
	if !offset.IsInt64() {
		return raise("cannot fit 'int' into an offset-sized integer")
	}
	if offset.Sign() < 0 {
		return osError(syscall.EINVAL)
	}
	_, err := f.Seek(offset.Int64(), io.SeekStart)
	return osError(err)
}

// sendFrom sends n bytes of f, or fewer if it ends before.
func (s *session) sendFrom(f *os.File, n int64) (int64, error) {
	if plain, ok := s.data.(*dataConn); ok && s.options.sendfile && s.options.rate.Sign() == 0 {
		return s.sendPlain(plain, f, n)
	}
	// That there is no data connection is noticed by writing only.
	return s.copyData(n, func(length int) ([]byte, error) {
		if len(s.buf) < length {
			s.buf = make([]byte, length)
		}
		got, err := io.ReadFull(f, s.buf[:length])
		if err == io.EOF || err == io.ErrUnexpectedEOF {
			err = nil
		}
		return s.buf[:got], osError(err)
	}, func(p []byte) error {
		if s.data == nil {
			return noAttribute("write")
		}
		return s.data.write(p)
	})
}

// sendPlain is sendfile(2) where the connection allows it.
func (s *session) sendPlain(c *dataConn, f *os.File, n int64) (int64, error) {
	total := int64(0)
	for total < n {
		if stop, err := s.faultDue(total); stop || err != nil {
			return total, err
		}
		length := s.untilFault(total, n-total)
		sent, err := io.Copy(c.conn, io.LimitReader(f, length))
		total += sent
		if err != nil || sent < length {
			return total, err
		}
	}
	return total, nil
}

// copyData moves n bytes from read to write in pieces of the buffer's size.
func (s *session) copyData(n int64, read func(int) ([]byte, error), write func([]byte) error) (int64, error) {
	total := int64(0)
	start := time.Now()
	for total < n {
		if stop, err := s.faultDue(total); stop || err != nil {
			return total, err
		}
		data, err := read(int(s.untilFault(total, min(int64(s.options.bufferSize()), n-total))))
		if err != nil || len(data) == 0 {
			return total, err
		}
		if err := write(data); err != nil {
			return total, err
		}
		total += int64(len(data))
		if err := s.limitRate(total, start); err != nil {
			return total, err
		}
	}
	return total, nil
}

// limitRate sleeps a bit longer after each piece while the rate is too high.
func (s *session) limitRate(total int64, start time.Time) error {
	rate := clamp(s.options.rate)
	if rate <= 0 {
		return nil
	}
	const step = 5 * time.Millisecond
	seconds := time.Now().Unix() - start.Unix() + 1
	if total/seconds < rate {
		s.pause = (s.pause / 2).Truncate(time.Millisecond)
		return nil
	}
	s.pause += step
	return s.sleep(s.pause)
}

// hash answers over the control connection, with an inclusive range.
func (s *session) hash(arg argument) error {
	if err := s.permit(accessRead); err != nil {
		return err
	}
	p, err := s.resolve(arg)
	if err != nil {
		return err
	}
	if _, err := s.readable(p); err != nil {
		return err
	}
	f, err := openAt(p, os.O_RDONLY, s.offset)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	if s.eng.quirks.HashNotes {
		if err := s.ctrl.reply("213-"); err != nil {
			return err
		}
	}
	h := s.options.newHash()
	if s.options.bufferSize() > 0 {
		if _, err := io.Copy(h, io.LimitReader(f, clamp(s.count))); err != nil {
			return osError(err)
		}
	}
	last := new(big.Int).Add(s.offset, s.count)
	if last.Sub(last, big.NewInt(1)).Sign() < 0 {
		last.SetInt64(0)
	}
	err = s.ctrl.reply("213 %s %s-%s %s %s", s.options.hash, s.offset, last, hex.EncodeToString(h.Sum(nil)), p)
	s.resetRange()
	return err
}
