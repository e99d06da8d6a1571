package provisioner

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"github.com/csi-uftp/csi-uftp/internal/volume"
	"github.com/csi-uftp/csi-uftp/uftp"
)

// pausing is a remote that calls first before the first directory is made.
type pausing struct {
	remote
	first func()
}

func (p *pausing) Mkdir(ctx context.Context, path string) error {
	p.first()
	return p.remote.Mkdir(ctx, path)
}

// Two claims whose templates make the same name of them, as ${pvc.namespace}-${pvc.name}
// can, come at the same time. One gets the directory.
func TestSameDirectoryAtTheSameTime(t *testing.T) {
	s := newSite(t)
	one, two := s.claim("pvc-1", named("a-b-c", 0)), s.claim("pvc-2", named("a-b-c", 0))
	two.OnDelete = volume.Retain // two classes
	var other error
	var begun atomic.Bool
	meanwhile := func() {
		if begun.Swap(true) {
			return
		}
		ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond) // it may have to wait for us
		defer cancel()
		_, other = s.Create(ctx, two, s.access)
	}
	dial := s.clients.dial
	s.clients.dial = func(cfg uftp.Config) (remote, error) {
		r, err := dial(cfg)
		return &pausing{remote: r, first: meanwhile}, err
	}
	_, err := s.Create(t.Context(), one, s.access)
	if (err == nil) == (other == nil) {
		t.Fatalf("one: %v, and meanwhile the other: %v", err, other)
	}
	if err == nil {
		_, err = s.Create(t.Context(), two, s.access)
	}
	if !errors.Is(err, volume.ErrConflict) {
		t.Errorf("the one that comes later: %v, want ErrConflict", err)
	}
}
