package mounter

import (
	"context"
	"log/slog"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/csi-uftp/csi-uftp/mounter/internal/wire"
	"github.com/csi-uftp/csi-uftp/mounter/keeper"
)

// newMount enters a mount that is being made, with some descriptor for a device.
func newMount(t *testing.T, m *Manager) *mount {
	t.Helper()
	n, err := unix.MemfdCreate("device", unix.MFD_CLOEXEC)
	if err != nil {
		t.Fatal(err)
	}
	mt := &mount{name: "m", ready: make(chan struct{}), over: make(chan struct{}), device: wire.NewFD(n)}
	t.Cleanup(func() { _ = mt.device.Close() })
	m.mu.Lock()
	defer m.mu.Unlock()
	m.mounts[mt.name] = mt
	return mt
}

func newTestManager(t *testing.T) *Manager {
	t.Helper()
	m, err := New(Config{
		Direct:  true,
		Connect: func(context.Context) (*keeper.Client, error) { return nil, unix.ECONNREFUSED },
		Logger:  slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = m.Close() })
	return m
}

// The keeper goes, or the worker dies, while a mount is being made: nobody will
// say so again, so its device is not kept beyond that.
func TestLostWhileMounting(t *testing.T) {
	for what, happens := range map[string]func(*Manager, *mount){
		"the keeper goes": func(m *Manager, _ *mount) { m.lost(m.client) },
		"the worker dies": func(m *Manager, mt *mount) { m.died(keeper.Death{Name: mt.name, Reason: "killed"}) },
	} {
		t.Run(what, func(t *testing.T) {
			m := newTestManager(t)
			m.client = new(keeper.Client)
			mt := newMount(t, m)
			happens(m, mt)
			if mt.device.Int() < 0 {
				t.Error("the device is closed while it is needed")
			}
			m.client = nil
			m.made(mt, nil)
			if mt.device.Int() >= 0 {
				t.Error("the device is kept")
			}
		})
	}
}

// Whoever hears late of the end of a connection leaves alone what was taken over
// from the next one.
func TestLostBeforeTheNextConnection(t *testing.T) {
	m := newTestManager(t)
	mt := newMount(t, m)
	m.made(mt, nil)
	m.client = new(keeper.Client)
	m.lost(new(keeper.Client))
	if mt.orphan || mt.device.Int() < 0 || m.client == nil {
		t.Error("the mount of the next connection is given up")
	}
	m.client = nil
}

// The next connection knows a mount that is being made: who makes it goes on with the
// descriptor that he has, and one that is made gets the new one.
func TestTakenOverWhileMounting(t *testing.T) {
	for what, made := range map[string]bool{"being made": false, "made": true} {
		t.Run(what, func(t *testing.T) {
			m := newTestManager(t)
			mt := newMount(t, m)
			mt.orphan = true
			if made {
				close(mt.ready)
			}
			mine := mt.device
			theirs, err := openDevice()
			if err != nil {
				t.Skipf("no FUSE here: %v", err)
			}
			t.Cleanup(func() { _ = theirs.Close() })
			if err := m.adopt(nil, mt.name, &keeper.Mount{Device: theirs, Note: []byte("{}")}, nil); err != nil {
				t.Fatal(err)
			}
			if mine.Int() < 0 != made || theirs.Int() >= 0 != made || mt.device.Int() < 0 || mt.orphan {
				t.Errorf("own descriptor %d, the keeper's %d, orphan: %v", mine.Int(), theirs.Int(), mt.orphan)
			}
		})
	}
}
