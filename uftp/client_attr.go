package uftp

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"time"
)

// Attr is what [Client.SetAttr] sets.
type Attr struct {
	// Mode has the permission, set-id and sticky bits, if SetMode.
	Mode    fs.FileMode
	SetMode bool
	ModTime time.Time // to the second, if not zero
}

// check reports whether the protocol has words for the time.
func (a Attr) check() error {
	if y := a.ModTime.Year(); !a.ModTime.IsZero() && (y < 2 || y > 9998) {
		return fmt.Errorf("%w: year %d", fs.ErrInvalid, y)
	}
	return nil
}

// opSetAttr is the Op of errors of setting attributes.
const opSetAttr = "setattr"

// Chmod sets the permission, set-id and sticky bits of a file or directory: see
// [Client.SetAttr].
func (c *Client) Chmod(ctx context.Context, path string, mode fs.FileMode) error {
	_, err := c.setAttr(ctx, "chmod", path, Attr{Mode: mode, SetMode: true})
	return err
}

// Chtimes sets the modification time of a file or directory: see [Client.SetAttr].
func (c *Client) Chtimes(ctx context.Context, path string, mtime time.Time) error {
	_, err := c.setAttr(ctx, "chtimes", path, Attr{ModTime: mtime})
	return err
}

// SetAttr sets attributes of a file or directory and returns what it is then. One
// round trip.
//
// The access time becomes the same as the modification time, which is exact to the
// second. The protocol has the server's local time here, whose zone we learn by
// looking at the result; an instant that this zone cannot express (in the hour that
// comes twice in autumn) is errors.ErrUnsupported, and so is one that the server's
// file system cannot keep.
//
// The protocol cannot name a path with a blank in these commands. Such a file is
// renamed for a moment, in one packet with the change, to a name beginning with
// ".uftp-": others may see that, and so may a reader of the directory.
func (c *Client) SetAttr(ctx context.Context, path string, a Attr) (Info, error) {
	return c.setAttr(ctx, opSetAttr, path, a)
}

// setAttr is SetAttr as a part of the operation called name.
func (c *Client) setAttr(ctx context.Context, name, path string, a Attr) (info Info, err error) {
	p, err := cleanPath(path)
	if err == nil {
		err = a.check()
	}
	if err != nil {
		return Info{}, wrapError(name, path, err)
	}
	tmp := tempName()
	err = c.do(ctx, factOperation(name, path, p), c.repaired(p, tmp, func(s *session) (err error) {
		info, err = c.setFacts(s, p, tmp, a)
		return err
	}))
	return info, err
}

// factOperation is an operation whose renames must not be cut in two.
func factOperation(name, path, p string) operation {
	return operation{name: name, path: path, writes: true, steady: strings.Contains(p, " ")}
}

// repaired wraps an attempt so that the next one first undoes what it left.
func (c *Client) repaired(p, tmp string, run func(*session) error) func(*session) error {
	dir, base := parent(p)
	if !strings.Contains(base, " ") {
		return run
	}
	again := false
	return func(s *session) error {
		if again {
			if err := s.putBack(p, child(dir, tmp)); err != nil {
				return err
			}
		}
		again = true
		return run(s)
	}
}

// maxZone is more than any zone was ever away from UTC.
const maxZone = 26 * 3600

// noInstant is why a time cannot be set.
const noInstant = "the server's local time or its file system has no such instant"

// setFacts sets attributes and looks, and sets the time again if the zone was another
// than we thought: at another time of the year it is.
func (c *Client) setFacts(s *session, path, tmp string, a Attr) (Info, error) {
	zone := c.zone.Load()
	for range 3 {
		info, err := c.setAndLook(s, path, tmp, a.commands(zone))
		if err != nil || a.ModTime.IsZero() {
			return info, err
		}
		diff := a.ModTime.Unix() - info.ModTime.Unix()
		if diff == 0 {
			c.zone.Store(zone)
			return info, nil
		}
		// More is no zone: the file system has no such time, or somebody else changed
		// the file since, which he will not do again.
		if diff > -maxZone && diff < maxZone {
			zone += diff
		}
		a.SetMode = false
	}
	return Info{}, &refusal{msg: noInstant, cause: errors.ErrUnsupported}
}

// commands returns those that set a, but for the path, if the server's local time is
// zone seconds ahead of UTC.
func (a Attr) commands(zone int64) (cmds []string) {
	if a.SetMode {
		cmds = append(cmds, fmt.Sprintf("MFF UNIX.mode=%o;", unixPerm(a.Mode)))
	}
	if !a.ModTime.IsZero() {
		cmds = append(cmds, "MFMT "+time.Unix(a.ModTime.Unix()+zone, 0).UTC().Format(localLayout))
	}
	return cmds
}

// setAndLook runs MFF and MFMT commands, which the path follows, and returns what
// became of it.
func (c *Client) setAndLook(s *session, path, tmp string, cmds []string) (Info, error) {
	if strings.Contains(path, " ") {
		if err := s.setFact(path, tmp, cmds); err != nil {
			return Info{}, err
		}
		return c.stat(s, path)
	}
	r, err := s.exchange(append(factCommands(cmds, wirePath(path)), statCommands(path)...)...)
	if err != nil {
		return Info{}, err
	}
	info, err := c.learn(s, path, r[len(cmds)], r[len(cmds)+1])
	if refused := wantFacts(r[:len(cmds)]); refused != nil {
		err = refused
	}
	return info, err
}

// factCommands returns cmds with the path that they are about.
func factCommands(cmds []string, wire string) []string {
	whole := make([]string, len(cmds))
	for i, cmd := range cmds {
		whole[i] = cmd + " " + wire
	}
	return whole
}

// wantFacts returns the first failure among the replies to MFF and MFMT.
func wantFacts(r []reply) error {
	for i := range r {
		if err := r[i].want(213); err != nil {
			return err
		}
	}
	return nil
}

// tempName returns a name that no file has.
func tempName() string { return ".uftp-" + nonce() }
