package transfer

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"syscall"
	"unicode/utf8"

	"github.com/csi-uftp/csi-uftp/uftp"
)

var (
	// ErrIncomplete means that some of many items could not be done, and the
	// rest were. What was wrong with each, the [Observer] was told.
	ErrIncomplete = errors.New("incomplete")
	// ErrChanged means that a file changed while it was copied. Its target was
	// left as it was.
	ErrChanged = errors.New("changed while it was copied")
	// ErrCorrupt means that the hash of a copy is not that of its source. The
	// copy was thrown away.
	ErrCorrupt = uftp.ErrCorrupt
)

// errIsDir is what is wrong with a directory where files are wanted.
var errIsDir = fmt.Errorf("%w; directories need recursion", syscall.EISDIR)

// errCopying is what is wrong with a part that others work on.
var errCopying = fmt.Errorf("%w: another program is copying the same file", fs.ErrExist)

// fatal reports whether nothing else will succeed after err.
func fatal(ctx context.Context, err error) bool {
	return ctx.Err() != nil || errors.Is(err, uftp.ErrAuth) || errors.Is(err, uftp.ErrUnavailable) || errors.Is(err, uftp.ErrBusy)
}

// itemError says which item failed.
func itemError(path string, err error) error { return fmt.Errorf("%s: %w", path, err) }

// checkName refuses what the protocol cannot carry, before anything is sent.
func checkName(name string) error {
	switch {
	case strings.ContainsAny(name, "\r\n\x00"):
		return fmt.Errorf("%w: the protocol cannot carry CR, LF or NUL in a name", fs.ErrInvalid)
	case !utf8.ValidString(name):
		return fmt.Errorf("%w: the protocol cannot carry a name that is not UTF-8", fs.ErrInvalid)
	}
	return nil
}
