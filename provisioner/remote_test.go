package provisioner

import (
	"errors"
	"io/fs"
	"testing"
	"testing/synctest"
	"time"

	"github.com/csi-uftp/csi-uftp/internal/volume"
	"github.com/csi-uftp/csi-uftp/uftp"
)

// slow is a client whose server is away when it is closed.
type slow struct {
	remote
	closing, closed chan struct{}
}

func (s *slow) Close() error {
	close(s.closing)
	<-s.closed
	return nil
}

// TestIdleClientsAreNotWaitedFor: who comes after a client was idle for long does not
// wait until that is closed, but the end of all does.
func TestIdleClientsAreNotWaitedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		first := &slow{closing: make(chan struct{}), closed: make(chan struct{})}
		next := &slow{closing: make(chan struct{}), closed: make(chan struct{})}
		close(next.closed)
		all := []*slow{first, next}
		c := newClients(uftp.Config{}, func(uftp.Config) (remote, error) {
			s := all[0]
			all = all[1:]
			return s, nil
		})
		use := func(path string) {
			t.Helper()
			_, release, err := c.acquire(volume.Spec{Path: path}, uftp.Access{})
			if err != nil {
				t.Fatal(err)
			}
			release()
		}
		use("/one")
		<-time.After(clientIdle)
		use("/two")
		<-first.closing
		ended := make(chan error)
		go func() { ended <- c.close() }()
		synctest.Wait()
		select {
		case err := <-ended:
			t.Fatalf("the end does not wait for a client that is being closed: %v", err)
		default:
		}
		close(first.closed)
		if err := <-ended; err != nil {
			t.Error(err)
		}
		if _, _, err := c.acquire(volume.Spec{}, uftp.Access{}); !errors.Is(err, fs.ErrClosed) {
			t.Errorf("after the end: %v, want ErrClosed", err)
		}
	})
}
