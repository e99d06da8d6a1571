package main

import (
	"context"
	"path"
	"sync"

	"github.com/csi-uftp/csi-uftp/uftp"
	"github.com/csi-uftp/csi-uftp/uftp/transfer"
)

// known is what the server has said of files when the command logged in, so that it
// need not be asked again at once. It is safe for concurrent use.
type known struct {
	mu    sync.Mutex
	files map[string]uftp.Looked // by name
}

// maxLooks bounds how many files are asked for with a log-in.
const maxLooks = 16

// looks are the files that a command will ask for first.
func (u use) looks(names []string) []string {
	if !u.moves() {
		return nil
	}
	var looks []string
	for _, name := range names {
		if !u.glob || !transfer.HasGlob(name) {
			looks = append(looks, name)
		}
	}
	for _, name := range u.inside {
		looks = append(looks, path.Join(names[0], name))
	}
	return looks[:min(len(looks), maxLooks)]
}

// look logs in and asks for files.
func look(ctx context.Context, c *uftp.Client, names []string) (*known, error) {
	looked, err := c.Look(ctx, names...)
	if err != nil {
		return nil, err
	}
	k := &known{files: make(map[string]uftp.Looked)}
	for i, l := range looked {
		k.files[names[i]] = l
	}
	return k, nil
}

// peek returns what is known of a file, and leaves it known.
func (k *known) peek(name string) (uftp.Looked, bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	l, ok := k.files[name]
	return l, ok
}

// take returns what is known of a file, which may have changed when somebody asks the
// next time.
func (k *known) take(name string) (uftp.Looked, bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	l, ok := k.files[name]
	delete(k.files, name)
	return l, ok
}

// knowing is a client that does not ask for what is known.
type knowing struct {
	*uftp.Client
	known *known
}

// clientOf returns the client of a tree of this program.
func clientOf(r transfer.Remote) *uftp.Client {
	k, _ := r.Client.(knowing)
	return k.Client
}

// Stat is that of the client, or what is known.
func (k knowing) Stat(ctx context.Context, name string) (uftp.Info, error) {
	if l, ok := k.known.take(name); ok {
		return l.Info, l.Err
	}
	return k.Client.Stat(ctx, name)
}
