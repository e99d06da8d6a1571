package uftp

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"time"
)

// Chmod sets the permission, set-id and sticky bits of a file or directory.
//
// The protocol cannot name a path with a blank in this command. Such a file is
// renamed for a moment, in one packet with the change, to a name beginning with
// ".uftp-": others may see that, and so may a reader of the directory.
func (c *Client) Chmod(ctx context.Context, path string, mode fs.FileMode) error {
	p, err := cleanPath(path)
	if err != nil {
		return wrapError("chmod", path, err)
	}
	tmp := tempName()
	return c.do(ctx, factOperation("chmod", path, p), c.repaired(p, tmp, func(s *session) error {
		return s.setFact(p, tmp, func(w string) string {
			return fmt.Sprintf("MFF UNIX.mode=%o; %s", unixPerm(mode), w)
		})
	}))
}

// Chtimes sets the modification time of a file or directory, exact to the
// second; the access time becomes the same. The protocol has the server's local
// time here, whose zone we learn by looking at the result; an instant that this
// zone cannot express (in the hour that comes twice in autumn) is
// errors.ErrUnsupported, and so is one that the server's file system cannot keep.
// For paths with blanks see [Client.Chmod].
func (c *Client) Chtimes(ctx context.Context, path string, mtime time.Time) error {
	p, err := cleanPath(path)
	if err == nil && (mtime.Year() < 2 || mtime.Year() > 9998) {
		err = fmt.Errorf("%w: year %d", fs.ErrInvalid, mtime.Year())
	}
	if err != nil {
		return wrapError("chtimes", path, err)
	}
	tmp := tempName()
	return c.do(ctx, factOperation("chtimes", path, p), c.repaired(p, tmp, func(s *session) error {
		return c.setTime(s, p, tmp, mtime.Unix())
	}))
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

// setTime sets the time, looks, and sets it again if the zone was another than
// we thought: at another time of the year it is.
func (c *Client) setTime(s *session, path, tmp string, want int64) error {
	zone := c.zone.Load()
	for range 3 {
		local := time.Unix(want+zone, 0).UTC().Format(localLayout)
		got, err := s.mfmt(path, tmp, local)
		if err != nil {
			return err
		}
		diff := want - got.Unix()
		if diff == 0 {
			c.zone.Store(zone)
			return nil
		}
		// More is no zone: the file system has no such time, or somebody else changed
		// the file since, which he will not do again.
		if diff > -maxZone && diff < maxZone {
			zone += diff
		}
	}
	return &refusal{msg: noInstant, cause: errors.ErrUnsupported}
}

// mfmt sets the time, written as the server's local time, and returns what
// became of it.
func (s *session) mfmt(path, tmp, local string) (time.Time, error) {
	cmd := func(w string) string { return "MFMT " + local + " " + w }
	w := wirePath(path)
	if strings.Contains(w, " ") {
		if err := s.setFact(path, tmp, cmd); err != nil {
			return time.Time{}, err
		}
		return s.epoch(path)
	}
	r, err := s.exchange(cmd(w), "STAT F "+w)
	if err != nil {
		return time.Time{}, err
	}
	if err := firstRefusal(r, 213, 211); err != nil {
		return time.Time{}, err
	}
	return epochOf(r[1])
}

// tempName returns a name that no file has.
func tempName() string { return ".uftp-" + nonce() }
