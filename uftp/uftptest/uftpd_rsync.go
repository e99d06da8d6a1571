package uftptest

import (
	"bufio"
	"crypto/md5" //nolint:gosec // the protocol's checksum
	"encoding/binary"
	"fmt"
	"io"
	"math"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

const (
	syncChunk    = 65536 // literal bytes are read and written in pieces of this size
	minSyncBlock = 512
	endOfSync    = -1 // the index after the last literal bytes
)

// syncToClient makes the server the leader: it has the good copy.
func (s *session) syncToClient(arg argument) error {
	p, err := s.syncFile(accessRead, 500, arg)
	if err != nil {
		return err
	}
	return s.lead(p)
}

// syncToServer makes the server the follower: its copy is to be mended.
func (s *session) syncToServer(arg argument) error {
	p, err := s.syncFile(accessWrite, 550, arg)
	if err != nil {
		return err
	}
	return s.follow(p)
}

func (s *session) syncFile(level accessLevel, code int, arg argument) (string, error) {
	if err := s.permit(level); err != nil {
		return "", err
	}
	p, err := s.resolve(arg)
	if err != nil {
		return "", err
	}
	if f, err := statFile(p); err != nil || !f.can(unix.R_OK) {
		return "", fail(code, noSuchFile)
	}
	return p, s.ctrl.reply("200 OK")
}

// weakSum is the rolling checksum of a block.
type weakSum struct{ a, b uint32 }

func newWeakSum(block []byte) weakSum {
	var sum, weighted uint64
	for i, c := range block {
		sum += uint64(c)
		weighted += uint64(i) * uint64(c)
	}
	b := uint64(len(block))*sum - weighted
	return weakSum{uint32(sum & 0xffff), uint32(b & 0xffff)}
}

// roll moves the block on by one byte: out goes, in comes.
func (w *weakSum) roll(size int, out, in byte) {
	w.a = (w.a - uint32(out) + uint32(in)) & 0xffff
	w.b = (w.b - uint32(size)*uint32(out) + w.a) & 0xffff //nolint:gosec // modulo 2^16
}

func (w weakSum) value() uint64 { return uint64(w.a) + uint64(w.b)<<16 }

// A blockRef is a block that the follower has.
type blockRef struct {
	strong [md5.Size]byte
	index  int
}

// lead reads the follower's checksums and sends what it lacks.
func (s *session) lead(p string) error {
	size, known, err := s.readChecksums()
	if err != nil {
		return err
	}
	plain, err := s.syncWriter()
	if err != nil {
		return err
	}
	content, err := os.ReadFile(p) //nolint:gosec // serving what it is asked for is its job
	if err != nil {
		return osError(err, p)
	}
	switch {
	case size == 0:
		return raise("index out of range")
	case len(content) > 0 && len(content) < size:
		return raise("'bytes' object has no attribute 'read'")
	case len(content) < size:
		return raise("'Leader' object has no attribute 'shutdown'")
	}
	w := bufio.NewWriterSize(writerFunc(plain.write), syncChunk)
	if err := sendDifferences(w, content, size, known); err != nil {
		return osError(err)
	}
	return osError(w.Flush())
}

// syncWriter is the data connection, which must be a plain one.
func (s *session) syncWriter() (*dataConn, error) {
	kind := ""
	switch d := s.data.(type) {
	case *dataConn:
		return d, nil
	case nil:
		return nil, noAttribute("write")
	case *crypted:
		kind = "CryptedConnector"
	case *compressed:
		kind = "GzipConnector"
	case *parallel:
		kind = "PConnector"
	}
	return nil, raise("%s.write() got an unexpected keyword argument 'do_flush'", kind)
}

// readChecksums reads the follower's block size and blocks by weak checksum.
func (s *session) readChecksums() (size int, known map[uint64][]blockRef, err error) {
	if size, err = s.readInt(); err != nil {
		return 0, nil, err
	}
	count, err := s.readInt()
	if err != nil {
		return 0, nil, err
	}
	known = make(map[uint64][]blockRef)
	for i := range count {
		entry, err := s.readData(8 + md5.Size)
		if err != nil {
			return 0, nil, err
		}
		if len(entry) < 8+md5.Size {
			return 0, nil, errEndSession // the real one would go on with zeros, for as long as it takes
		}
		weak := binary.BigEndian.Uint64(entry)
		known[weak] = append(known[weak], blockRef{[md5.Size]byte(entry[8:]), i})
	}
	return size, known, nil
}

// readInt reads a number; missing bytes make it smaller, and -1 is the only
// negative one.
func (s *session) readInt() (int, error) {
	b, err := s.readData(4)
	n := uint32(0)
	for _, c := range b {
		n = n<<8 | uint32(c)
	}
	if n == math.MaxUint32 {
		return endOfSync, err
	}
	return int(n), err
}

// sendDifferences writes literal bytes and indexes of the blocks that follow
// them. Like the real one it does not use block 0, and stops looking for
// matches a block before the end.
func sendDifferences(w io.Writer, content []byte, size int, known map[uint64][]blockRef) error {
	sent, k := 0, 0 // literal bytes begin at sent; the block looked at, at k
	block := content[:size]
	sum := newWeakSum(block)
	for {
		last := k + len(block) - 1
		switch index := findBlock(known[sum.value()], block); {
		case index > 0:
			if err := sendLiteral(w, content[sent:k], index); err != nil {
				return err
			}
			sent = last + 1
			k = min(k+size, len(content))
			block = content[k:min(k+size, len(content))]
			if len(block) > 0 {
				sum = newWeakSum(block)
			}
		case last < len(content)-size:
			sum.roll(size, content[k], content[last+1])
			k++
			block = content[k : k+size]
		default:
			return sendLiteral(w, content[sent:], endOfSync)
		}
	}
}

// findBlock is the index of the block with the same contents, 0 if there is none.
func findBlock(refs []blockRef, block []byte) int {
	if len(refs) == 0 {
		return 0
	}
	strong := md5.Sum(block) //nolint:gosec // the protocol's checksum
	for _, r := range refs {
		if r.strong == strong {
			return r.index
		}
	}
	return 0
}

func sendLiteral(w io.Writer, literal []byte, index int) error {
	head := binary.BigEndian.AppendUint32(nil, uint32(index)) //nolint:gosec // -1 is all ones
	head = binary.BigEndian.AppendUint64(head, uint64(len(literal)))
	if _, err := w.Write(head); err != nil {
		return err
	}
	_, err := w.Write(literal)
	return err
}

// follow sends the checksums of what is there, writes a new file beside it from
// what comes, and puts that in its place.
func (s *session) follow(p string) error {
	old, err := os.ReadFile(p) //nolint:gosec // serving what it is asked for is its job
	if err != nil {
		return osError(err, p)
	}
	plain, err := s.syncWriter()
	if err != nil {
		return err
	}
	size := max(len(old)/1000, minSyncBlock)
	if err := plain.write(checksums(old, size)); err != nil {
		return osError(err)
	}
	temporary := fmt.Sprintf("%s_tmp_%d", p, time.Now().Unix())
	if err := s.rebuild(temporary, old, size); err != nil {
		return err
	}
	return osError(os.Rename(temporary, p), temporary, p)
}

// checksums are the block size, the number of blocks, and the two checksums of each.
func checksums(content []byte, size int) []byte {
	count := (len(content) + size - 1) / size
	out := binary.BigEndian.AppendUint32(nil, uint32(size)) //nolint:gosec // a thousandth of a file in memory
	out = binary.BigEndian.AppendUint32(out, uint32(count)) //nolint:gosec // a thousand, or few more
	for ; len(content) > 0; content = content[min(size, len(content)):] {
		block := content[:min(size, len(content))]
		strong := md5.Sum(block) //nolint:gosec // the protocol's checksum
		out = binary.BigEndian.AppendUint64(out, newWeakSum(block).value())
		out = append(out, strong[:]...)
	}
	return out
}

func (s *session) rebuild(name string, old []byte, size int) (err error) {
	f, err := os.Create(name) //nolint:gosec // beside the file that was asked for
	if err != nil {
		return osError(err, name)
	}
	defer func() {
		if closeErr := f.Close(); err == nil {
			err = osError(closeErr)
		}
	}()
	for {
		index, err := s.readInt()
		if err != nil {
			return err
		}
		length, err := s.readData(8)
		if err != nil {
			return err
		}
		if len(length) < 8 {
			return errEndSession // the real one would copy block 0 until the disk is full
		}
		if err := s.copyLiteral(f, clampLength(length)); err != nil {
			return err
		}
		if index < 0 {
			return nil
		}
		start := min(index*size, len(old))
		if _, err := f.Write(old[start:min(start+size, len(old))]); err != nil {
			return osError(err)
		}
	}
}

func clampLength(b []byte) int64 {
	return int64(min(binary.BigEndian.Uint64(b), math.MaxInt64))
}

// copyLiteral reads in pieces of the same size, also the last one: what is
// longer than one piece, and no multiple of it, swallows bytes that follow.
func (s *session) copyLiteral(w io.Writer, length int64) error {
	for left := length; left > 0; {
		data, err := s.readData(int(min(length, syncChunk)))
		if err != nil {
			return err
		}
		if len(data) == 0 {
			return errEndSession // the real one would wait for ever, at full speed
		}
		if _, err := w.Write(data); err != nil {
			return osError(err)
		}
		left -= int64(len(data))
	}
	return nil
}
