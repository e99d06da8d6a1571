package mounter_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/csi-uftp/csi-uftp/internal/volume"
	"github.com/csi-uftp/csi-uftp/mounter"
)

// notWaited is less than any of the manager's waits for a worker, and much more than
// a publish takes.
const notWaited = 4500 * time.Millisecond

// A worker that dies or hangs, at whatever moment, is an error in time, leaves
// nothing, and the next publish works.
func TestWorkerFailsWhilePublishing(t *testing.T) {
	for _, what := range []string{"kill", "hang"} {
		for _, stage := range []string{"start", "connected", "probe", "answered"} {
			if what == "hang" && stage == "answered" {
				continue // it serves
			}
			t.Run(what+" "+stage, func(t *testing.T) {
				e := newEnv(t)
				file := filepath.Join(e.served, faultFile)
				if err := os.WriteFile(file, []byte(what+" "+stage), 0o644); err != nil {
					t.Fatal(err)
				}
				p := e.publication("v1", "a")
				// A worker that hangs has 5 s to end when it is told to.
				patience, limit := 2*time.Second, 15*time.Second
				if what == "kill" {
					// And one that died is not waited for, neither until the caller gives
					// up nor for the 5 s that a round trip may take.
					patience, limit = time.Minute, notWaited
				}
				ctx, cancel := context.WithTimeout(t.Context(), patience)
				defer cancel()
				start := time.Now()
				err := e.manager.Publish(ctx, p, access("demo", goodPassword))
				if d := time.Since(start); d > limit {
					t.Errorf("took %v", d)
				}
				if err == nil && stage != "answered" {
					t.Error("published")
				}
				t.Log(err)
				if err != nil {
					e.wantNothing()
					if _, err := os.Lstat(p.Target); !os.IsNotExist(err) {
						t.Errorf("the target is left: %v", err)
					}
				}
				if err := os.Remove(file); err != nil {
					t.Fatal(err)
				}
				// If it was published, the manager may learn of the death only now.
				eventually(t, "the next publish works", func() bool {
					if err := e.manager.Publish(t.Context(), p, access("demo", goodPassword)); err != nil {
						return false
					}
					_, err := os.ReadDir(p.Target)
					return err == nil
				})
				e.unpublish(p)
				e.wantNothing()
			})
		}
	}
}

// The same at random moments, for the steps that no worker knows of.
func TestWorkerKilledAtAnyTime(t *testing.T) {
	e := newEnv(t)
	p := e.publication("v1", "a")
	start := time.Now()
	e.publish(p)
	usual := time.Since(start)
	e.unpublish(p)
	published := 0
	for range 40 {
		before := len(e.keeperLogPIDs())
		ended := make(chan struct{})
		var killer sync.WaitGroup
		killer.Go(func() {
			timer := time.NewTimer(rand.N(usual * 3 / 2))
			defer timer.Stop()
			select {
			case <-timer.C:
			case <-ended:
			}
			for _, pid := range e.keeperLogPIDs()[before:] {
				_ = unix.Kill(pid, unix.SIGKILL)
			}
		})
		start := time.Now()
		err := e.manager.Publish(t.Context(), p, access("demo", goodPassword))
		if d := time.Since(start); d > notWaited {
			t.Errorf("took %v", d)
		}
		if err == nil {
			published++
		}
		close(ended)
		killer.Wait()
		eventually(t, "the next publish works", func() bool {
			if err := e.manager.Publish(t.Context(), p, access("demo", goodPassword)); err != nil {
				return false
			}
			_, err := os.ReadDir(p.Target)
			return err == nil
		})
		e.unpublish(p)
	}
	t.Logf("%d of 40 were published before the kill", published)
	e.wantNothing()
}

// Whenever the caller gives up, nothing is left, or the volume is published.
func TestPublishCanceledAtAnyTime(t *testing.T) {
	e := newEnv(t)
	p := e.publication("v1", "a")
	start := time.Now()
	e.publish(p)
	usual := time.Since(start)
	e.unpublish(p)
	published := 0
	for range 50 {
		ctx, cancel := context.WithTimeout(t.Context(), rand.N(usual*3/2))
		err := e.manager.Publish(ctx, p, access("demo", goodPassword))
		cancel()
		if err != nil {
			if !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("publish: %v", err)
			}
			continue // and not waiting for what goes on in the background
		}
		published++
		if _, err := os.ReadDir(p.Target); err != nil {
			t.Error(err)
		}
		e.unpublish(p)
	}
	t.Logf("%d of 50 were published", published)
	e.wantNothing()
	e.publish(p)
	e.unpublish(p)
}

// Publish and unpublish of one target at the same time: one is refused, and the
// target is one or the other.
func TestPublishAgainstUnpublish(t *testing.T) {
	e := newEnv(t)
	p := e.publication("v1", "a")
	for range 20 {
		var both sync.WaitGroup
		both.Go(func() {
			err := e.manager.Publish(t.Context(), p, access("demo", goodPassword))
			if err != nil && !errors.Is(err, mounter.ErrInProgress) {
				t.Errorf("publish: %v", err)
			}
		})
		both.Go(func() {
			err := e.manager.Unpublish(t.Context(), p.VolumeID, p.Target)
			if err != nil && !errors.Is(err, mounter.ErrInProgress) {
				t.Errorf("unpublish: %v", err)
			}
		})
		both.Wait()
		if _, err := e.manager.Stats(t.Context(), p.VolumeID, p.Target); err == nil {
			if _, err := os.ReadDir(p.Target); err != nil {
				t.Errorf("published, and %v", err)
			}
		} else if len(e.mounts()) > 0 {
			t.Errorf("not published, and there is %v", e.mounts())
		}
	}
	e.unpublish(p)
	e.wantNothing()
}

func TestTwentyAtOnce(t *testing.T) {
	e := newEnv(t)
	var all []volume.Publication
	for i := range 20 {
		p := e.publication("v"+string(rune('a'+i)), string(rune('a'+i)))
		p.Spec.Sharing = "none"
		all = append(all, p)
	}
	start := time.Now()
	each := func(f func(volume.Publication) error) {
		t.Helper()
		var group sync.WaitGroup
		for _, p := range all {
			group.Go(func() {
				if err := f(p); err != nil {
					t.Errorf("%s: %v", p.VolumeID, err)
				}
			})
		}
		group.Wait()
	}
	each(func(p volume.Publication) error {
		return e.manager.Publish(t.Context(), p, access("demo", goodPassword))
	})
	t.Logf("20 volumes published in %v", time.Since(start))
	each(func(p volume.Publication) error {
		return os.WriteFile(filepath.Join(p.Target, p.VolumeID), []byte(p.VolumeID), 0o644)
	})
	if n := len(e.sources()); n != 20 {
		t.Errorf("%d mounts, want 20", n)
	}
	each(func(p volume.Publication) error { return e.manager.Unpublish(t.Context(), p.VolumeID, p.Target) })
	e.wantNothing()
}

// Two hundred pods on one mount: what the keeper has to remember still fits a
// message, and the next pod gets another mount.
func TestManyPublicationsOfOneMount(t *testing.T) {
	if testing.Short() {
		t.Skip("makes 201 mounts")
	}
	e := newEnv(t)
	var all []volume.Publication
	for i := range 201 {
		// As long as the kubelet's.
		p := e.publication("pvc-0e6d2c3a-8a3f-4c6f-9a53-1f7f9d3f7d11", filepath.Join("0e6d2c3a-8a3f-4c6f-9a53-1f7f9d3f7d11",
			"volumes", "kubernetes.io~csi", "pvc-0e6d2c3a-8a3f-4c6f-9a53-1f7f9d3f7d11", "mount"+string(rune(0x4e00+i))))
		e.publish(p)
		all = append(all, p)
	}
	if n := len(e.sources()); n != 2 {
		t.Errorf("%d mounts for 201 publications, want 2", n)
	}
	e.restartNode()
	e.publish(all[200])
	if n := len(e.mounts()); n != 203 {
		t.Errorf("%d mounts, want 203", n)
	}
	for _, p := range all {
		e.unpublish(p)
	}
	e.wantNothing()
}
