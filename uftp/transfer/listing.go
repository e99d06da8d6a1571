package transfer

import (
	"cmp"
	"context"
	"slices"
	"sync"

	"github.com/csi-uftp/csi-uftp/uftp"
)

// ahead is how many directories of one directory are listed before their turn,
// so that a tree of many small directories does not cost a round trip for each.
const ahead = 8

// listing is the list of a directory that is on its way.
type listing struct {
	done  chan struct{}
	infos []uftp.Info // sorted by name
	err   error
}

// list begins to list a directory. wg counts the goroutine that does it.
func list(ctx context.Context, wg *sync.WaitGroup, t Tree, dir string) *listing {
	l := &listing{done: make(chan struct{})}
	wg.Go(func() {
		defer close(l.done)
		l.infos, l.err = t.List(ctx, dir)
		slices.SortFunc(l.infos, func(a, b uftp.Info) int { return cmp.Compare(a.Name, b.Name) })
	})
	return l
}

// wait returns the entries, sorted by name.
func (l *listing) wait() ([]uftp.Info, error) {
	<-l.done
	return l.infos, l.err
}
