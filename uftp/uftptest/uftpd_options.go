package uftptest

import (
	"crypto/md5"  //nolint:gosec // one of the protocol's algorithms
	"crypto/sha1" //nolint:gosec // one of the protocol's algorithms
	"crypto/sha256"
	"crypto/sha512"
	"fmt"
	"hash"
	"math/big"
	"slices"
	"strings"
)

// defaultBuffer is the size of one read or write in a transfer.
const defaultBuffer = 1 << 20

// parallelBuffer is the size of a group in multi-stream transfers.
const parallelBuffer = 16384

type accessLevel int

const (
	accessNone accessLevel = iota
	accessInfo
	accessRead
	accessWrite
	accessFull
)

// parseAccess reads a level; unknown words mean full access.
func parseAccess(word string) accessLevel {
	if i := slices.Index([]string{"NONE", "INFO", "READ", "WRITE"}, word); i >= 0 {
		return accessLevel(i)
	}
	return accessFull
}

// options are the settings of a session. Most can be changed by OPTS.
type options struct {
	streams     int // per data connection
	maxStreams  int
	key         []byte // nil: no encryption
	algo        string
	compress    bool
	archive     bool
	keepAlive   bool
	sendfile    bool
	hash        string
	buffer      *big.Int
	readBuffer  *big.Int
	writeBuffer *big.Int
	rate        *big.Int // bytes per second, 0: unlimited
	initialRate *big.Int
}

func newOptions(j job, maxStreams int) (options, error) {
	o := options{
		maxStreams:  maxStreams,
		compress:    j.compress,
		hash:        "MD5",
		algo:        "n/a",
		buffer:      big.NewInt(defaultBuffer),
		readBuffer:  big.NewInt(defaultBuffer),
		writeBuffer: big.NewInt(defaultBuffer),
		rate:        big.NewInt(j.rateLimit),
		initialRate: big.NewInt(j.rateLimit),
	}
	o.setStreams(max(j.streams, 1))
	if j.key == nil {
		return o, nil
	}
	o.key, o.algo = j.key, j.algo
	if o.algo == "" {
		switch n := len(o.key); {
		case n == 32 || n == 40 || n == 48:
			o.algo = "AES"
		case n > 56:
			return o, raise("Illegal key length")
		default:
			o.algo = "BLOWFISH"
		}
	}
	return o, nil
}

func (o *options) encrypted() bool { return o.key != nil }

// setStreams sets the number of streams, up to the limit.
func (o *options) setStreams(n int) { o.streams = min(n, o.maxStreams) }

// bufferSize is the size of one read in a transfer.
func (o *options) bufferSize() int {
	if o.streams != 1 {
		return parallelBuffer
	}
	return int(min(clamp(o.buffer), 64<<20))
}

// hashes are the algorithms of HASH in the order FEAT lists them.
var hashes = []struct { //nolint:gochecknoglobals // a table
	name string
	make func() hash.Hash
}{
	{"MD5", md5.New},
	{"SHA-1", sha1.New},
	{"SHA-256", sha256.New},
	{"SHA-512", sha512.New},
}

func (o *options) newHash() hash.Hash {
	for _, h := range hashes {
		if h.name == o.hash {
			return h.make()
		}
	}
	return md5.New() //nolint:gosec // the protocol's default
}

// hashList is what FEAT says about HASH.
func (o *options) hashList() string {
	names := make([]string, len(hashes))
	for i, h := range hashes {
		names[i] = h.name
		if h.name == o.hash {
			names[i] += "*"
		}
	}
	return strings.Join(names, ";")
}

// list is the answer to OPTS without a value.
func (o *options) list() []string {
	return []string{
		fmt.Sprintf("RATE_LIMIT %s", o.rate),
		fmt.Sprintf("FILE_READ_BUFFER_SIZE %s", o.readBuffer),
		fmt.Sprintf("FILE_WRITE_BUFFER_SIZE %s", o.writeBuffer),
		fmt.Sprintf("BUFFER_SIZE %s", o.buffer),
		"SENDFILE_ENABLED " + pyBool(o.sendfile),
		"HASH " + o.hash,
	}
}

// set changes an option; name is in upper case.
func (o *options) set(name, value string) error {
	switch name {
	case "FILE_READ_BUFFER_SIZE":
		return setSize(&o.readBuffer, value)
	case "FILE_WRITE_BUFFER_SIZE":
		return setSize(new(*big.Int), value) // checked, and forgotten
	case "BUFFER_SIZE":
		return setSize(&o.buffer, value)
	case "HASH":
		algo := strings.ToUpper(value)
		for _, h := range hashes {
			if h.name == algo {
				o.hash = algo
				return nil
			}
		}
		return raise("Unsupported hash algorithm '%s'", algo)
	case "SENDFILE_ENABLED":
		o.sendfile = isTrue(value)
	case "KEEP_ALIVE":
		o.keepAlive = isTrue(value)
	case "ARCHIVE":
		o.archive = isTrue(value)
	case "RATE_LIMIT":
		rate := new(big.Int)
		if err := setSize(&rate, value); err != nil {
			return err
		}
		if o.initialRate.Sign() > 0 && o.initialRate.Cmp(rate) < 0 {
			rate = o.initialRate
		}
		o.rate = rate
	default:
		return raise("Unknown option '%s'", name)
	}
	return nil
}

func setSize(to **big.Int, value string) error {
	n, err := pyInt(value, 10)
	if err != nil {
		return err
	}
	if n.Sign() < 0 {
		return raise("Need positive value")
	}
	*to = n
	return nil
}

// clamp is n as an int64, or the nearest one.
func clamp(n *big.Int) int64 {
	switch {
	case n.IsInt64():
		return n.Int64()
	case n.Sign() < 0:
		return -1 << 63
	}
	return 1<<63 - 1
}
