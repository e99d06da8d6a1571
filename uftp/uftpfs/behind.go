package uftpfs

const (
	// pieceSize is how much is moved at once: few round trips, little memory.
	pieceSize = 4 << 20
	// minBehind is the memory with which a writer begins.
	minBehind = 64 << 10
)

// writeBehind collects what is written in sequence, and writes one piece while
// the next one is filled. Its owner's mutex guards it.
type writeBehind struct {
	file *File
	buf  []byte // to be written at off
	off  int64
	free []byte       // a piece's memory for use
	busy chan written // the end of the write under way; nil if there is none
	err  error        // of a write behind; the file is not what its writer thinks
}

type written struct {
	buf []byte
	err error
}

// room returns memory for bytes at off, at least one.
func (w *writeBehind) room(off int64) ([]byte, error) {
	inSequence := w.off+int64(len(w.buf)) == off
	switch {
	case inSequence && len(w.buf) < cap(w.buf):
	case inSequence && cap(w.buf) < pieceSize && w.busy == nil:
		w.buf = append(make([]byte, 0, min(max(4*cap(w.buf), minBehind), pieceSize)), w.buf...)
	default:
		if err := w.start(); err != nil {
			return nil, err
		}
		if w.buf == nil {
			w.buf, w.free = w.free[:0], nil
		}
		if cap(w.buf) == 0 {
			w.buf = make([]byte, 0, minBehind)
		}
		w.off = off
	}
	return w.buf[len(w.buf):cap(w.buf)], w.err
}

// add says that n bytes are in what room returned.
func (w *writeBehind) add(n int) { w.buf = w.buf[:len(w.buf)+n] }

// start begins to write what was collected, after what is under way.
func (w *writeBehind) start() error {
	if err := w.wait(); err != nil || len(w.buf) == 0 {
		return err
	}
	piece, off, done := w.buf, w.off, make(chan written, 1)
	w.off += int64(len(w.buf))
	w.buf, w.busy = nil, done
	f := w.file
	f.transfer.Go(func() {
		_, err := f.fs.client.WriteAt(f.ctx, f.path, piece, off)
		done <- written{piece, err}
	})
	return nil
}

// wait waits for the write under way.
func (w *writeBehind) wait() error {
	if w.busy != nil {
		end := <-w.busy
		w.busy, w.free = nil, end.buf
		if end.err != nil {
			w.err = end.err
		}
	}
	return w.err
}

// flush returns when the server has everything.
func (w *writeBehind) flush() error {
	if err := w.start(); err != nil {
		return err
	}
	return w.wait()
}
