package fusefs_test

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/csi-uftp/csi-uftp/mounter/fusefs"
	"github.com/csi-uftp/csi-uftp/mounter/fusefs/fsxtest"
	"github.com/csi-uftp/csi-uftp/uftp"
	"github.com/csi-uftp/csi-uftp/uftp/uftptest"
)

// mountFunc mounts something empty.
type mountFunc func(*testing.T, func(*fusefs.Config)) *mounted

// eachServer runs f on a local directory, on our UFTPD, and on the real one
// where there is one.
func eachServer(t *testing.T, f func(*testing.T, mountFunc)) {
	t.Run("directory", func(t *testing.T) { f(t, mountDir) })
	start := map[string]func(testing.TB, uftptest.Config) *uftptest.Server{
		"uftptest": uftptest.Start,
		"uftpd":    uftptest.StartReal,
	}
	for name, start := range start {
		t.Run(name, func(t *testing.T) {
			f(t, func(t *testing.T, change func(*fusefs.Config)) *mounted {
				t.Helper()
				return mountServer(t, start(t, uftptest.Config{}), change)
			})
		})
	}
}

func mountServer(t *testing.T, s *uftptest.Server, change func(*fusefs.Config)) *mounted {
	t.Helper()
	client, err := uftp.New(uftp.Config{
		AuthURL: s.AuthURL(),
		Access: uftp.Access{
			Credential: uftp.UsernamePassword{Username: uftptest.DefaultUserName, Password: uftptest.DefaultUserPassword},
			CABundle:   s.CABundle(),
		},
		BaseDir:   s.Dir(),
		IOTimeout: 20 * time.Second,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := client.Close(); err != nil {
			t.Error(err)
		}
	})
	return mountRemote(t, client, s.Dir(), change)
}

// TestRealServerKeepsNoMount: the real UFTPD has a mount namespace of its own, and
// what that has a copy of stays mounted for as long as the server runs.
func TestRealServerKeepsNoMount(t *testing.T) {
	m := mountDir(t, nil)
	uftptest.StartReal(t, uftptest.Config{})
	tables, err := filepath.Glob("/proc/[0-9]*/mountinfo")
	if err != nil {
		t.Fatal(err)
	}
	ours, err := os.Readlink("/proc/self/ns/mnt")
	if err != nil {
		t.Fatal(err)
	}
	for _, table := range tables {
		mounts, err := os.ReadFile(table)
		if err != nil || !strings.Contains(string(mounts), m.dir) {
			continue // or the process has ended
		}
		if ns, err := os.Readlink(filepath.Join(filepath.Dir(table), "ns", "mnt")); err == nil && ns != ours {
			t.Errorf("%s has a copy of the mount", table)
		}
	}
}

// TestSessionsKilled is the random test while the server drops all connections
// again and again: a program must not notice.
func TestSessionsKilled(t *testing.T) {
	s := uftptest.Start(t, uftptest.Config{})
	m := mountServer(t, s, func(c *fusefs.Config) {
		c.Disk, c.WriteBackDelay = openDisk(t, t.TempDir()), 10*time.Millisecond
	})
	m.fs.PassThrough(m.backer)
	ctx, stop := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	kills := 0
	wg.Go(func() {
		tick := time.NewTicker(150 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
			if err := s.KillSessions(); err != nil {
				t.Error(err)
			}
			kills++
		}
	})
	defer func() {
		stop()
		wg.Wait()
		t.Logf("connections dropped %d times", kills)
	}()
	testFsx(t, m, fsxtest.Config{Seed: *fsxSeed, Ops: *fsxOps / 8, MaxSize: 2 << 20, Served: m.root})
}
