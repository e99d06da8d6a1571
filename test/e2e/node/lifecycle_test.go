package node_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"github.com/moby/sys/mountinfo"
	"golang.org/x/sys/unix"

	"github.com/csi-uftp/csi-uftp/uftp/uftptest"
)

// workers returns the processes that serve mounts.
func (n *node) workers(t *testing.T) (pids []int) {
	t.Helper()
	for _, p := range n.processes(t) {
		if b, err := os.ReadFile(filepath.Join(p, "cmdline")); err != nil || !contains(b, "\x00worker\x00") {
			continue
		}
		pid, err := strconv.Atoi(filepath.Base(p))
		if err != nil {
			t.Fatal(err)
		}
		pids = append(pids, pid)
	}
	return pids
}

// mounts returns what is mounted below the node's directory.
func (n *node) mounts(t *testing.T) (points []string) {
	t.Helper()
	infos, err := mountinfo.GetMounts(mountinfo.PrefixFilter(n.dir))
	if err != nil {
		t.Fatal(err)
	}
	for _, i := range infos {
		points = append(points, i.Mountpoint)
	}
	return points
}

// TestIdle gives all sessions back to the server when nobody needs them, and
// gets new ones, with a new password, when somebody does.
func TestIdle(t *testing.T) {
	s := uftptest.Start(t, uftptest.Config{})
	data := content(1, 1<<20)
	n := startNode(t)
	v := n.mount(t, s, "idle", "idleTimeout=1s")
	f, err := os.Create(filepath.Join(v.target, "open"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for round := range 2 {
		if _, err := f.WriteAt(data, int64(round*len(data))); err != nil {
			t.Fatal(err)
		}
		if err := f.Sync(); err != nil {
			t.Fatal(err)
		}
		auths := s.AuthStats()
		waitFor(t, "the end of all sessions", func() bool { return s.Stats().Sessions == 0 })
		if err := s.ExpireSecrets(); err != nil {
			t.Fatal(err)
		}
		err := within(t, 20*time.Second, "the first access after that", func() error {
			_, err := os.ReadDir(v.target)
			return err
		})
		if err != nil {
			t.Error(err)
		}
		if auths == s.AuthStats() {
			t.Error("there was no new authentication: this test shows nothing")
		}
	}
	got, err := os.ReadFile(filepath.Join(s.Dir(), "open"))
	if err != nil {
		t.Fatal(err)
	}
	sameBytes(t, "on the server", got, append(slices.Clone(data), data...))
}

// TestAuthServiceAway needs the auth service while it does not work: operations
// wait for it, not for ever, and go on when it is back.
func TestAuthServiceAway(t *testing.T) {
	t.Parallel()
	const ioTimeout = 12 * time.Second // a stalled request takes 6 of them
	for _, fault := range []struct {
		name string
		uftptest.AuthFault
	}{
		{"503", uftptest.AuthFault{Status: http.StatusServiceUnavailable}},
		{"closed", uftptest.AuthFault{Close: true}},
		{"stalled", uftptest.AuthFault{Stall: true}},
	} {
		t.Run(fault.name, func(t *testing.T) {
			t.Parallel()
			s := uftptest.Start(t, uftptest.Config{})
			data := content(1, 1<<20)
			for i := range 3 {
				s.WriteFile(t, fmt.Sprint(i), data)
			}
			n := startNode(t)
			v := n.mount(t, s, "away", "idleTimeout=1s", "ioTimeout="+ioTimeout.String())
			// The kernel asks twice for a name that it knew.
			const limit = 2*ioTimeout + 2*time.Second
			read := func(what, name string) error {
				return within(t, limit, what, func() error {
					got, err := os.ReadFile(filepath.Join(v.target, name))
					if err == nil {
						sameBytes(t, what, got, data)
					}
					return err
				})
			}
			away := func() {
				waitFor(t, "the end of all sessions", func() bool { return s.Stats().Sessions == 0 })
				if err := s.ExpireSecrets(); err != nil {
					t.Fatal(err)
				}
				s.AuthFaults().Inject(-1, fault.AuthFault)
			}

			away()
			time.AfterFunc(ioTimeout/4, s.AuthFaults().Clear)
			quiet := signals(t)
			if err := read("read until it is back", "0"); err != nil {
				t.Error(err)
			}
			quiet()
			away()
			if err := read("read without an auth service", "1"); !errors.Is(err, syscall.EIO) && !errors.Is(err, syscall.ETIMEDOUT) {
				t.Errorf("read without an auth service: %v", err)
			}
			s.AuthFaults().Clear()
			waitFor(t, "a read after that", func() bool { return read("read after that", "2") == nil })
		})
	}
}

// signals sends harmless signals to all threads of this process, as Go's own
// scheduler does now and then, until the returned function is called: calls that
// wait for a mount are interrupted, and made again.
func signals(t *testing.T) (stop func()) {
	t.Helper()
	stopped, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		for {
			threads, err := os.ReadDir("/proc/self/task")
			if err != nil {
				t.Error(err)
				return
			}
			for _, thread := range threads {
				if id, err := strconv.Atoi(thread.Name()); err == nil {
					_ = unix.Tgkill(os.Getpid(), id, unix.SIGURG) // or the thread has ended
				}
			}
			select {
			case <-stopped:
				return
			case <-time.After(100 * time.Millisecond):
			}
		}
	}()
	return func() { close(stopped); <-ended }
}

// TestWorkerKilled kills the process that serves a mount in the middle of what
// programs do.
func TestWorkerKilled(t *testing.T) {
	s := uftptest.Start(t, uftptest.Config{})
	s.Faults().SetLink(uftptest.Link{Bandwidth: 1 << 20}) // so that all of it takes a while
	s.WriteFile(t, "big", content(1, 64<<20))
	closed := content(2, 1<<20)
	n := startNode(t)
	v := n.mount(t, s, "killed")
	workers := n.workers(t)
	if len(workers) != 1 {
		t.Fatalf("%d workers", len(workers))
	}
	other := n.mount(t, s, "other", "sharing=none")
	if err := os.WriteFile(filepath.Join(v.target, "closed"), closed, 0o644); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 3)
	go func() { _, err := os.ReadFile(filepath.Join(v.target, "big")); ended <- err }()
	go func() { ended <- os.WriteFile(filepath.Join(v.target, "written"), content(3, 64<<20), 0o644) }()
	go func() { _, err := command(t, v.target, "sh", "-c", "set -e; while :; do ls -l; done"); ended <- err }()
	before := s.Stats()
	waitFor(t, "bytes both ways", func() bool {
		now := s.Stats()
		return now.BytesSent > before.BytesSent && now.BytesReceived > before.BytesReceived
	})
	if err := syscall.Kill(workers[0], syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	killed := time.Now()
	for range 3 {
		err := within(t, 10*time.Second, "a program", func() error { return <-ended })
		if took := time.Since(killed); err == nil || took > 2*time.Second {
			t.Errorf("a program of the dead mount ended %v after it, with %v", took, err)
		}
	}
	stats := &csi.NodeGetVolumeStatsRequest{VolumeId: v.id, VolumePath: v.target}
	if _, err := n.client.NodeGetVolumeStats(t.Context(), stats); err != nil {
		t.Errorf("stats of a dead mount: %v", err)
	}
	if !strings.Contains(n.node.text(t), "volume is abnormal") {
		t.Error("the node does not say that a volume is abnormal")
	}
	// It gives the device up first.
	waitFor(t, "the node to say that a worker died", func() bool {
		return strings.Contains(n.node.text(t), "mount lost its worker")
	})
	s.Faults().SetLink(uftptest.Link{})
	if _, err := os.ReadDir(other.target); err != nil {
		t.Errorf("another mount: %v", err)
	}
	if _, err := n.client.NodePublishVolume(t.Context(), n.publishRequest(v)); err != nil {
		t.Fatalf("republish: %v", err)
	}
	got, err := os.ReadFile(filepath.Join(v.target, "closed"))
	if err != nil {
		t.Fatal(err)
	}
	sameBytes(t, "what was closed before", got, closed)
	usage, err := n.client.NodeGetVolumeStats(t.Context(), stats)
	if err != nil || len(usage.GetUsage()) == 0 || usage.GetUsage()[0].GetTotal() == 0 {
		t.Errorf("stats of a healed mount: %v, %v", usage, err)
	}
}

// TestNodeKilled kills the node service, and starts it again, while programs
// work on a mount: they see nothing of it, and the next service knows the mount.
func TestNodeKilled(t *testing.T) {
	t.Parallel()
	s := uftptest.Start(t, uftptest.Config{})
	data := content(1, 32<<20)
	s.WriteFile(t, "in", data)
	n := startNode(t)
	v := n.mount(t, s, "kept", "cacheSize=4Mi")
	over := make(chan struct{})
	together(t, map[string]func(t *testing.T){
		"restart": func(t *testing.T) {
			defer close(over)
			for range 3 {
				n.node.kill(t)
				n.startNode(t)
			}
		},
		"read": func(t *testing.T) {
			for more := true; more; {
				more = !isClosed(over)
				got, err := os.ReadFile(filepath.Join(v.target, "in"))
				if err != nil {
					t.Fatal(err)
				}
				sameBytes(t, "read", got, data)
			}
		},
		"cp": func(t *testing.T) {
			for round := 0; round == 0 || !isClosed(over); round++ {
				cpTree(t, makeDir(t, v.target, fmt.Sprint("tree", round)), t.TempDir())
			}
		},
	})
	before := n.mounts(t)
	n.republish(t, v)
	if after := n.mounts(t); !slices.Equal(before, after) {
		t.Errorf("a republish after a restart changed %q to %q", before, after)
	}
	second := v
	second.id, second.target = "second", n.target("second")
	n.publish(t, second)
	if len(n.workers(t)) != 1 {
		t.Error("the mount is not shared after a restart")
	}
}

// republish does what the kubelet does every few minutes.
func (n *node) republish(t *testing.T, v volume) {
	t.Helper()
	var err error
	// A service that was just started may not listen to this client yet.
	waitFor(t, "a republish", func() bool {
		_, err = n.client.NodePublishVolume(t.Context(), n.publishRequest(v))
		return err == nil
	})
}

// TestKeeperStops ends the keeper in good order: what was written is at the
// server, also what was neither synced nor closed.
func TestKeeperStops(t *testing.T) {
	uftptest.Each(t, uftptest.Config{}, func(t *testing.T, s *uftptest.Server) {
		n := startNode(t)
		v := n.mount(t, s, "drained")
		want := map[string][]byte{}
		for i := range 20 {
			name := fmt.Sprint("closed", i)
			want[name] = content(uint64(i), 100_000*i)
			if err := os.WriteFile(filepath.Join(v.target, name), want[name], 0o644); err != nil {
				t.Fatal(err)
			}
		}
		for i := range 4 {
			name := fmt.Sprint("open", i)
			want[name] = content(uint64(100+i), 2<<20)
			f, err := os.Create(filepath.Join(v.target, name))
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			if _, err := f.Write(want[name]); err != nil {
				t.Fatal(err)
			}
		}
		if err := n.keeper.cmd.Process.Signal(syscall.SIGTERM); err != nil {
			t.Fatal(err)
		}
		err := within(t, 30*time.Second, "the keeper's end", func() error { <-n.keeper.done; return n.keeper.err })
		if err != nil {
			t.Error(err)
		}
		for name, data := range want {
			got, err := os.ReadFile(filepath.Join(s.Dir(), name))
			if err != nil {
				t.Error(err)
			}
			sameBytes(t, name, got, data)
		}
		err = within(t, 10*time.Second, "using the mount", func() error { _, err := os.ReadDir(v.target); return err })
		if err == nil {
			t.Error("the mount works without a keeper")
		}
		// The next keeper's pod comes, and the kubelet republishes.
		n.startKeeper(t)
		n.republish(t, v)
		if entries, err := os.ReadDir(v.target); err != nil || len(entries) != len(want) {
			t.Errorf("after the republish: %d entries, %v", len(entries), err)
		}
	})
}

// TestUnpublishWithoutServer takes volumes away while their server is gone, or
// says nothing: that ends, and leaves nothing.
func TestUnpublishWithoutServer(t *testing.T) {
	const ioTimeout = 2 * time.Second
	type served struct {
		s            *uftptest.Server
		n            *node
		clean, dirty volume
	}
	nodes := map[string]served{}
	for _, kind := range []string{"stopped", "stalled"} {
		s := uftptest.Start(t, uftptest.Config{})
		s.WriteFile(t, "big", content(1, 8<<20))
		n, io := startNode(t), "ioTimeout="+ioTimeout.String()
		nodes[kind] = served{s, n, n.mount(t, s, "clean", "sharing=none", io), n.mount(t, s, "dirty", "sharing=none", io)}
	}
	tests := map[string]func(t *testing.T){}
	for kind, m := range nodes {
		tests[kind] = func(t *testing.T) {
			f, err := os.Create(filepath.Join(m.dirty.target, "dirty"))
			if err != nil {
				t.Fatal(err)
			}
			if _, err := f.Write(content(2, 1<<20)); err != nil {
				t.Fatal(err)
			}
			if kind == "stopped" {
				if err := m.s.Close(); err != nil {
					t.Fatal(err)
				}
			} else {
				m.s.Faults().Inject(-1, uftptest.Fault{Stall: true})
				m.s.AuthFaults().Inject(-1, uftptest.AuthFault{Stall: true})
			}
			reading := make(chan error, 1)
			go func() { _, err := os.ReadFile(filepath.Join(m.clean.target, "big")); reading <- err }()
			if err := within(t, 3*ioTimeout, "close", f.Close); err == nil {
				t.Error("what could not be written was closed without an error")
			}
			for _, v := range []volume{m.clean, m.dirty} {
				_ = within(t, 30*time.Second, "unpublish "+v.id, func() error { m.n.unpublish(t, v); return nil })
			}
			if err := within(t, 5*time.Second, "the reader", func() error { return <-reading }); err == nil {
				t.Error("the reader read what nobody sent")
			}
			if left := m.n.mounts(t); len(left) > 0 {
				t.Errorf("left mounted: %q", left)
			}
			waitFor(t, "the workers' end", func() bool { return len(m.n.workers(t)) == 0 })
		}
	}
	together(t, tests)
}

// TestManyVolumes publishes, republishes and unpublishes many volumes at once.
func TestManyVolumes(t *testing.T) {
	t.Parallel()
	const volumes, private = 20, 4
	s := uftptest.Start(t, uftptest.Config{MaxConnections: 16})
	n := startNode(t)
	each := func(what string, f func(v volume, i int) error) {
		t.Helper()
		var wg sync.WaitGroup
		for i := range volumes {
			v := volume{id: fmt.Sprint("many", i), target: n.target(fmt.Sprint(i))}
			v.attributes, v.secrets = access(s)
			v.attributes["maxSessions"] = "2"
			if i < private {
				v.attributes["sharing"] = "none"
			}
			wg.Go(func() {
				if err := f(v, i); err != nil {
					t.Errorf("%s %d: %v", what, i, err)
				}
			})
		}
		wg.Wait()
	}
	publish := func(v volume, _ int) error {
		_, err := n.client.NodePublishVolume(t.Context(), n.publishRequest(v))
		return err
	}
	each("publish", publish)
	if w := len(n.workers(t)); w != private+1 {
		t.Errorf("%d workers", w)
	}
	each("use", func(v volume, i int) error {
		return os.WriteFile(filepath.Join(v.target, fmt.Sprint("file", i)), content(uint64(i), 10_000), 0o644)
	})
	before := n.mounts(t)
	for range 10 {
		each("republish", publish)
	}
	if after := n.mounts(t); !slices.Equal(before, after) {
		t.Errorf("republishing changed %q to %q", before, after)
	}
	each("unpublish", func(v volume, _ int) error {
		_, err := n.client.NodeUnpublishVolume(t.Context(), &csi.NodeUnpublishVolumeRequest{VolumeId: v.id, TargetPath: v.target})
		return err
	})
	each("unpublish again", func(v volume, _ int) error {
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
		defer cancel()
		_, err := n.client.NodeUnpublishVolume(ctx, &csi.NodeUnpublishVolumeRequest{VolumeId: v.id, TargetPath: v.target})
		return err
	})
	if left := n.mounts(t); len(left) > 0 {
		t.Errorf("left mounted: %q", left)
	}
	for i := range volumes {
		got, err := os.ReadFile(filepath.Join(s.Dir(), fmt.Sprint("file", i)))
		if err != nil {
			t.Error(err)
		}
		sameBytes(t, fmt.Sprint("file ", i), got, content(uint64(i), 10_000))
	}
}
