package uftptest

import (
	"math/big"
	"os"

	"golang.org/x/sys/unix"
)

// untilEnd is the count of a transfer that only the end of data limits.
func untilEnd() *big.Int { return big.NewInt(1<<63 - 1) }

// allo sets the number of bytes to store; without a range it forgets the offset.
func (s *session) allo(arg argument) error {
	if err := s.permit(accessWrite); err != nil {
		return err
	}
	if !arg.given {
		return raise("int() argument must be a string, a bytes-like object or a real number, not 'NoneType'")
	}
	n, err := pyInt(arg.text, 10)
	if err != nil {
		return err
	}
	if !s.haveRange {
		s.offset = new(big.Int)
	}
	s.count = n
	return s.ctrl.reply("200 OK Will read up to %s bytes from data connection.", n)
}

// stor touches the file before it answers: an empty file is left behind when
// nothing comes.
func (s *session) stor(arg argument) error {
	p, err := s.path(accessWrite, arg)
	if err != nil {
		return err
	}
	if s.count.Cmp(big.NewInt(-1)) == 0 {
		s.count = untilEnd()
	}
	if err := create(p); err != nil {
		return err
	}
	return s.store(p)
}

// create makes a file if there is none, and else sets its times to now.
func create(p string) error {
	if err := checkPath(p); err != nil {
		return err
	}
	if touch(p, unix.Timespec{Nsec: unix.UTIME_NOW}) == nil {
		return nil
	}
	f, err := os.OpenFile(p, os.O_CREATE|os.O_WRONLY, 0o666) //nolint:gosec // the mode files have in the real one
	if err != nil {
		return osError(err, p)
	}
	return osError(f.Close())
}

// appe fails on its first use, and on the next does what STOR would.
func (s *session) appe(arg argument) error {
	p, err := s.path(accessWrite, arg)
	if err != nil {
		return err
	}
	if s.count.Cmp(big.NewInt(-1)) == 0 {
		s.count = untilEnd()
		f, err := statFile(p)
		switch {
		case err != nil:
			return osError(err, p)
		case !s.eng.quirks.WorkingAPPE:
			return raise("tuple indices must be integers or slices, not str")
		}
		s.offset, s.haveRange = big.NewInt(f.stat.Size()), true
	}
	return s.store(p)
}

func (s *session) store(p string) error {
	if err := s.ctrl.reply("150 OK"); err != nil {
		return err
	}
	receive := s.receive
	if s.options.archive {
		receive = s.receiveArchive
	}
	if err := receive(p); err != nil {
		s.closeData()
		return err
	}
	return nil
}

// receive writes to a file what comes, up to the count or the end of data:
// either is a success. Without a range the file is emptied first.
func (s *session) receive(p string) error {
	received, err := s.receiveInto(p)
	s.eng.counts.update(func(st *Stats) { st.BytesReceived += received })
	if err != nil {
		return err
	}
	if !s.options.keepAlive {
		s.closeData()
	}
	return s.transferred()
}

func (s *session) receiveInto(p string) (n int64, err error) {
	f, err := openAt(p, os.O_RDWR, s.offset)
	if err != nil {
		return 0, err
	}
	defer func() {
		if closeErr := f.Close(); err == nil {
			err = osError(closeErr)
		}
	}()
	if !s.haveRange {
		_ = f.Truncate(0) // devices cannot
	}
	if err := seekTo(f, s.offset); err != nil {
		return 0, err
	}
	s.untilEOF()
	return s.copyData(clamp(s.count), s.readData, func(p []byte) error {
		_, err := f.Write(p)
		return osError(err)
	})
}

// untilEOF ignores the announced count in encrypted sessions.
func (s *session) untilEOF() {
	if s.options.encrypted() {
		s.count = untilEnd()
	}
}

func (s *session) readData(n int) ([]byte, error) {
	if s.data == nil {
		return nil, noAttribute("read")
	}
	return s.data.read(n)
}
