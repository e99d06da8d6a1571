package uftp

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"strings"
	"syscall"
	"time"
)

// CopyFrom makes this client's server fetch a file from another client's server,
// so that the bytes take the way between the servers (RECEIVE-FILE). The servers
// must reach each other. Like [Client.CopyTo] it copies to a temporary name,
// watches the file grow, compares the hashes, and renames: the protocol has no
// word on how such a copy goes, and errors are in the servers' logs alone. If the
// file stops growing for a quarter of IOTimeout, that is ErrUnavailable.
//
// Both clients need plain data connections; others are errors.ErrUnsupported.
func (c *Client) CopyFrom(ctx context.Context, path string, source *Client, sourcePath string) error {
	const op = "receive file"
	return remoteCopy{op: op, path: path, verb: "RECEIVE-FILE", asked: c, other: source, from: source, to: c,
		fromPath: sourcePath, toPath: path}.run(ctx)
}

// CopyTo makes this client's server send a file to another client's server
// (SEND-FILE), for servers of which only this one reaches the other. See
// [Client.CopyFrom].
func (c *Client) CopyTo(ctx context.Context, path string, target *Client, targetPath string) error {
	const op = "send file"
	return remoteCopy{op: op, path: path, verb: "SEND-FILE", asked: c, other: target, from: c, to: target,
		fromPath: path, toPath: targetPath}.run(ctx)
}

// remoteCopy is a copy between servers.
type remoteCopy struct {
	op, path, verb   string
	asked, other     *Client // the command goes to the one, with a password of the other
	from, to         *Client
	fromPath, toPath string
}

func (r remoteCopy) run(ctx context.Context) error {
	err := r.check()
	if err != nil {
		return wrapError(r.op, r.path, err)
	}
	info, err := r.from.Stat(ctx, r.fromPath)
	if err == nil && info.IsDir() {
		err = syscall.EISDIR
	}
	if err != nil {
		return renameOp(r.op, r.path, err)
	}
	to, _ := namedPath(r.toPath)
	dir, _ := parent(to)
	tmp := child(dir, tempName())
	defer func() {
		if err != nil {
			ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanupTime)
			defer cancel()
			_ = r.to.Remove(ctx, tmp) // the error that counts is the first one
		}
	}()
	if err = r.copy(ctx, tmp, info); err == nil {
		err = r.to.Rename(ctx, tmp, r.toPath)
	}
	return renameOp(r.op, r.path, err)
}

func (r remoteCopy) check() error {
	for _, c := range []*Client{r.from, r.to} {
		if !c.dialer.coding.plain() {
			return fmt.Errorf("%w: servers copy over plain data connections only", errors.ErrUnsupported)
		}
	}
	if r.to.cfg.ReadOnly {
		return errReadOnly
	}
	if r.other.cfg.Login != nil {
		return fmt.Errorf("%w: the other server's one-time password must be a new one, for the asked server's address", ErrAuth)
	}
	for _, p := range []string{r.fromPath, r.toPath} {
		if _, err := namedPath(p); err != nil {
			return err
		}
	}
	return nil
}

// copy starts the copy and waits until all is there.
func (r remoteCopy) copy(ctx context.Context, tmp string, info Info) error {
	// An empty file first: the size of a name that is not there cannot be watched,
	// and what cannot be made is known at once.
	if _, err := r.to.Create(ctx, tmp); err != nil {
		return err
	}
	if info.Size == 0 {
		return nil // nothing to watch
	}
	login, err := r.password(ctx)
	if err != nil {
		return err
	}
	local, remote := tmp, r.fromPath
	if r.asked == r.from {
		local, remote = r.fromPath, tmp
	}
	local, _ = cleanPath(local)
	remote, _ = cleanPath(remote)
	addr := login.Addresses()[0]
	if strings.Count(addr, ":") > 1 {
		return fmt.Errorf("%w: servers copy to host names and IPv4 addresses only, not to %s", errors.ErrUnsupported, addr)
	}
	cmd := strings.Join([]string{
		r.verb, shellQuote(wirePath(local)), shellQuote(wirePath(remote)), shellQuote(addr), shellQuote(login.Password.Reveal()),
	}, " ")
	err = r.asked.do(ctx, operation{name: r.op, path: r.path}, func(s *session) error {
		replies, err := s.exchange(noRange, cmd)
		if err != nil {
			return &final{err} // it may have begun
		}
		return firstRefusal(replies, 350, 299)
	})
	if err != nil {
		return err
	}
	if err := r.watch(ctx, tmp, info.Size); err != nil {
		return err
	}
	return r.verify(ctx, tmp)
}

// password gets a one-time password at the other server for the asked one.
func (r remoteCopy) password(ctx context.Context) (Login, error) {
	o := r.other
	o.mu.Lock()
	access := *o.access
	o.mu.Unlock()
	var from []string
	if l, _, err := r.asked.password(ctx); err == nil {
		for _, a := range l.Addresses() {
			if host, _, err := net.SplitHostPort(a); err == nil {
				from = append(from, host)
			}
		}
	}
	return Authenticate(ctx, AuthRequest{
		AuthURL: o.cfg.AuthURL, Access: access, Insecure: o.cfg.Insecure,
		BaseDir: o.cfg.BaseDir, SharedFile: o.cfg.SharedFile, Group: o.cfg.Group, UserPreferences: o.cfg.UserPreferences,
		ClientAddress: strings.Join(from, ","), HTTPTimeout: o.authTime(), Dial: o.cfg.Dial,
	})
}

// watch waits until the file has the size, as long as it grows.
func (r remoteCopy) watch(ctx context.Context, name string, size int64) error {
	patience := r.to.cfg.IOTimeout / 4
	last, since := int64(0), time.Now()
	for n := 0; ; n++ {
		now, err := r.to.Stat(ctx, name)
		switch {
		case err != nil:
			return err
		case now.Size == size:
			return nil
		case now.Size > size:
			return fmt.Errorf("%w: the copy has %d bytes of %d", ErrUnavailable, now.Size, size)
		case now.Size != last:
			last, since, n = now.Size, time.Now(), 0
		case time.Since(since) > patience:
			return fmt.Errorf("%w: the copy stays at %d bytes of %d; the servers' logs have the reason", ErrUnavailable, now.Size, size)
		}
		if err := pause(ctx, backoff(n)); err != nil {
			return err
		}
	}
}

// verify compares the hashes. The size is there before the last bytes may be:
// what differs is looked at again for a moment.
func (r remoteCopy) verify(ctx context.Context, name string) error {
	want, err := r.from.Hash(ctx, r.fromPath, syncHash, 0, -1)
	if err != nil {
		return err
	}
	for n := range 5 {
		got, err := r.to.Hash(ctx, name, syncHash, 0, -1)
		if err != nil || got == want {
			return err
		}
		if err := pause(ctx, backoff(n)); err != nil {
			return err
		}
	}
	return fmt.Errorf("%w: the copy differs from its source, which may have changed", fs.ErrInvalid)
}

// shellQuote writes a word as a shell reads it.
func shellQuote(word string) string { return "'" + strings.ReplaceAll(word, "'", `'"'"'`) + "'" }
