package main

import (
	"cmp"
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"path"
	"slices"
	"strings"

	"github.com/csi-uftp/csi-uftp/uftp"
	"github.com/csi-uftp/csi-uftp/uftp/transfer"
)

// remote is a session at the deepest directory above all operands.
type remote struct {
	*uftp.Client
	base  string   // that directory
	names []string // the operands, relative to it
	label string   // the server's name for people
	known *known
}

// tree is the base directory as a place to copy from and to.
func (r *remote) tree() transfer.Remote {
	prefix := r.label + ":" + r.base
	if r.base != "" && !strings.HasSuffix(r.base, "/") {
		prefix += "/"
	}
	return transfer.Remote{Client: knowing{r.Client, r.known}, Prefix: prefix}
}

// side is the remote as one side of a copy, with some of its operands.
func (r *remote) side(names []string) side {
	return side{r.tree(), names, func(ctx context.Context, name string) (uftp.Info, error) {
		if l, ok := r.known.peek(name); ok {
			return l.Info, l.Err
		}
		return r.Stat(ctx, name)
	}}
}

// use says what a command will do with a server.
type use struct {
	write    bool
	sessions int  // 0 is one
	glob     bool // operands may be patterns
	list     bool // nothing is transferred

	inside []string // what may come to be in the first operand, or to have its name
	bytes  int64    // how much of it, if nothing else will be asked for; 0 is not known
}

// moves reports whether files are transferred.
func (u use) moves() bool { return u.sessions > 0 && !u.list }

// withRemotes runs f with a client for operands on one server.
func (a *app) withRemotes(ctx context.Context, places []place, flags *remoteFlags, u use,
	f func(ctx context.Context, r *remote) error,
) (err error) {
	t, err := a.resolvePlace(places[0], flags)
	if err != nil {
		return err
	}
	paths := make([]string, len(places))
	for i, p := range places {
		if !p.sameServer(places[0]) {
			return usageErrorf("the URLs name different servers or users; one command works on one")
		}
		paths[i] = p.url.Path
	}
	base, names, err := commonBase(paths, u.glob)
	if err != nil {
		return err
	}
	logger, err := a.logger(slog.LevelError)
	if err != nil {
		return err
	}
	cfg := clientConfig(t)
	cfg.Logger, cfg.ReadOnly, cfg.MaxSessions, cfg.Eager = logger, !u.write, max(1, u.sessions), u.moves()
	c, at, err := connect(ctx, cfg, starts(t.spec.AuthURL, paths, base, names), u)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, c.Close()) }()
	return f(ctx, &remote{Client: c, base: at.base, names: at.names, label: path.Base(t.spec.AuthURL), known: at.known})
}

// start is where a session may begin: its base directory, the operands relative
// to it, and the one file in it that is shared.
type start struct {
	base       string
	names      []string
	sharedFile string
	known      *known // of the operands, once connected
}

// starts are the places to try. For what others share there are several: whether
// it is a file, a directory, or something in it, only the server knows.
func starts(authURL string, paths []string, base string, names []string) []start {
	above := start{base: base, names: names}
	if !strings.Contains(authURL, "/rest/access/") || len(paths) > 1 {
		return []start{above}
	}
	itself := start{base: path.Clean(paths[0]), names: []string{"."}}
	if strings.HasSuffix(paths[0], "/") {
		return []start{itself}
	}
	return []start{above, itself, {base: base, names: names, sharedFile: names[0]}}
}

// connect returns a client at the first place that is there.
func connect(ctx context.Context, cfg uftp.Config, places []start, u use) (*uftp.Client, start, error) {
	var first error
	for _, at := range places {
		cfg.BaseDir, cfg.SharedFile = at.base, at.sharedFile
		c, err := uftp.New(cfg)
		if err != nil {
			return nil, start{}, err
		}
		c.Expect(u.bytes)
		if at.known, err = look(ctx, c, u.looks(at.names)); err == nil {
			return c, at, nil
		}
		err = errors.Join(err, c.Close())
		if !errors.Is(err, fs.ErrNotExist) {
			return nil, start{}, err
		}
		if first == nil {
			first = err
		}
	}
	return nil, start{}, first
}

// commonBase returns the deepest directory above all paths, and the paths
// relative to it. A session's base must be a directory that is there, so a path
// lies below it, unless it is the root or the home directory. Of a pattern only
// what comes before its first special character counts.
func commonBase(paths []string, glob bool) (base string, names []string, err error) {
	var common []string
	for i, p := range paths {
		if strings.HasPrefix(p, "/") != strings.HasPrefix(paths[0], "/") {
			return "", nil, usageErrorf("paths must be all absolute or all relative to the home directory")
		}
		dir := components(p)
		if n := len(dir); n > 0 {
			dir = dir[:n-1]
		}
		if k := slices.IndexFunc(dir, transfer.HasGlob); glob && k >= 0 {
			dir = dir[:k]
		}
		if i == 0 {
			common = dir
		}
		common = common[:commonPrefix(common, dir)]
	}
	base = strings.Join(common, "/")
	if strings.HasPrefix(paths[0], "/") {
		base = "/" + base
	}
	for _, p := range paths {
		names = append(names, cmp.Or(strings.Join(components(p)[len(common):], "/"), "."))
	}
	return base, names, nil
}

// components splits a path.
func components(p string) []string {
	if p = strings.Trim(path.Clean(p), "/"); p == "." || p == "" {
		return nil
	}
	return strings.Split(p, "/")
}

func commonPrefix(a, b []string) int {
	n := 0
	for n < len(a) && n < len(b) && a[n] == b[n] {
		n++
	}
	return n
}
