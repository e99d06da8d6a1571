package mounter_test

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/csi-uftp/csi-uftp/mounter"
	"github.com/csi-uftp/csi-uftp/mounter/internal/wire"
	"github.com/csi-uftp/csi-uftp/mounter/keeper"
)

// rogue is a keeper that somebody has taken over. By default it is one without
// mounts that makes workers which do not exist.
type rogue struct {
	list  wire.ListResult
	get   wire.GetResult
	file  func() (int, error) // the device that it hands out
	reply []byte              // to INIT
	hang  string              // method that is never answered
}

func (r *rogue) handle(ctx context.Context, q *wire.Request) (any, []*wire.FD, error) {
	if q.Method == r.hang {
		<-ctx.Done()
		return nil, nil, ctx.Err()
	}
	switch q.Method {
	case wire.KeeperHello:
		return wire.HelloResult{}, nil, nil
	case wire.KeeperList:
		return r.list, nil, nil
	case wire.KeeperServe:
		return wire.ServeResult{Reply: r.reply}, nil, nil
	case wire.KeeperGet:
		n, err := r.file()
		if err != nil {
			return nil, nil, err
		}
		return r.get, []*wire.FD{wire.NewFD(n)}, nil
	case wire.KeeperStats:
		return nil, nil, nil
	}
	return wire.RemoveResult{}, nil, nil
}

// connectTo returns a Config.Connect that reaches a keeper which answers with
// handle, over a socket.
func (e *env) connectTo(handle wire.Handler) func(context.Context) (*keeper.Client, error) {
	e.t.Helper()
	path := filepath.Join(e.dir, "rogue.sock")
	l, err := net.ListenUnix("unixpacket", &net.UnixAddr{Name: path, Net: "unixpacket"})
	if err != nil {
		e.t.Fatal(err)
	}
	var served sync.WaitGroup
	ctx, cancel := context.WithCancel(context.Background())
	served.Go(func() {
		for {
			c, err := l.AcceptUnix()
			if err != nil {
				return
			}
			p := wire.NewPeer(ctx, c, wire.PeerConfig{Handle: handle, Files: 1})
			served.Go(func() { <-p.Done() })
		}
	})
	e.t.Cleanup(func() { _ = l.Close(); cancel(); served.Wait() })
	return func(ctx context.Context) (*keeper.Client, error) { return keeper.Dial(ctx, path) }
}

func (e *env) managerOf(r *rogue) *mounter.Manager {
	e.t.Helper()
	m, err := mounter.New(mounter.Config{
		PluginDir: filepath.Join(e.dir, "plugin-of-rogue"), Connect: e.connectTo(r.handle),
		Logger: e.logger().With("process", "node"), ProbeTimeout: time.Second, DrainTimeout: time.Second,
	})
	if err != nil {
		e.t.Fatal(err)
	}
	e.t.Cleanup(func() { _ = m.Close() })
	return m
}

func fuseInit() (init, reply []byte) {
	init = make([]byte, 104)
	binary.NativeEndian.PutUint32(init, 104)
	binary.NativeEndian.PutUint32(init[4:], 26)
	binary.NativeEndian.PutUint64(init[8:], 2)
	reply = make([]byte, 80)
	binary.NativeEndian.PutUint32(reply, 80)
	binary.NativeEndian.PutUint64(reply[8:], 2)
	return init, reply
}

// What a keeper says about mounts leads the node nowhere but to its own mounts.
func TestRogueKeeperMisleadsNobody(t *testing.T) {
	init, reply := fuseInit()
	for _, tt := range []struct {
		name  string
		mount string
		note  string
		file  string // a regular file, instead of /dev/fuse
	}{
		{name: "a directory to remove, by name", mount: "../../victim"},
		{name: "a directory to remove, by note", mount: "m-1", note: `{"dir":"VICTIM","fingerprint":""}`},
		{name: "a target that is no mount", mount: "m-1", note: `{"fingerprint":"","publications":[{"volume_id":"v","target":"L3RtcA=="}]}`},
		{name: "a file to write to", mount: "m-1", note: `{}`, file: "victim-file"},
		{name: "no note", mount: "m-1", note: `[[[`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			e := newEnv(t)
			victim, file := filepath.Join(e.dir, "victim"), filepath.Join(e.dir, "victim-file")
			if err := os.Mkdir(victim, 0o700); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(file, []byte("precious"), 0o600); err != nil {
				t.Fatal(err)
			}
			r := &rogue{
				list: wire.ListResult{Names: []string{tt.mount}},
				get:  wire.GetResult{Init: init, Reply: reply, Note: json.RawMessage(strings.ReplaceAll(tt.note, "VICTIM", victim))},
				file: func() (int, error) {
					if tt.file != "" {
						return unix.Open(file, unix.O_RDWR|unix.O_CLOEXEC, 0)
					}
					return unix.Open("/dev/fuse", unix.O_RDWR|unix.O_CLOEXEC, 0)
				},
			}
			if tt.note == `[[[` {
				r.get.Note = json.RawMessage(`"[[["`)
			}
			m := e.managerOf(r)
			t.Log(m.Recover(t.Context()))
			if err := m.Unpublish(t.Context(), "v", victim+"/none"); err != nil {
				t.Error(err)
			}
			if err := m.Close(); err != nil { // waits for what is torn down
				t.Error(err)
			}
			if _, err := os.Stat(victim); err != nil {
				t.Errorf("a directory elsewhere: %v", err)
			}
			if b, err := os.ReadFile(file); err != nil || string(b) != "precious" {
				t.Errorf("a file elsewhere: %q, %v", b, err)
			}
		})
	}
}

// Whatever a keeper answers INIT with, only an answer to INIT is written.
func TestRogueKeeperAnswersINIT(t *testing.T) {
	_, good := fuseInit()
	long := append(slices.Clip(good), make([]byte, 8192)...)
	binary.NativeEndian.PutUint32(long, uint32(len(long)))
	notify := append([]byte(nil), good...)
	clear(notify[8:16])
	for name, reply := range map[string][]byte{"nothing": nil, "short": good[:12], "cut": good[:40], "long": long, "a notification": notify} {
		t.Run(name, func(t *testing.T) {
			e := newEnv(t)
			m := e.managerOf(&rogue{reply: reply})
			p := e.publication("v1", "a")
			if err := m.Publish(t.Context(), p, access("demo", goodPassword)); err == nil || !strings.Contains(err.Error(), "no answer to INIT") {
				t.Errorf("publish: %v", err)
			}
			if left := e.mounts(); len(left) > 0 {
				t.Errorf("mounts left: %v", left)
			}
		})
	}
}

// A keeper that hangs, with whatever, costs time and no more.
func TestKeeperHangs(t *testing.T) {
	for _, method := range []string{wire.KeeperHello, wire.KeeperList, wire.KeeperCreate, wire.KeeperServe} {
		t.Run(method, func(t *testing.T) {
			e := newEnv(t)
			m := e.managerOf(&rogue{hang: method})
			p := e.publication("v1", "a")
			ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
			defer cancel()
			if err := m.Publish(ctx, p, access("demo", goodPassword)); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("publish: %v, want DeadlineExceeded", err)
			}
			if left := e.mounts(); len(left) > 0 {
				t.Errorf("mounts left: %v", left)
			}
		})
	}
}

// The keeper stops in the middle of its life: targets can still be unpublished.
func TestUnpublishWithoutAnswerFromTheKeeper(t *testing.T) {
	if testing.Short() {
		t.Skip("waits for the keeper")
	}
	e := newEnv(t)
	p := e.publication("v1", "a")
	e.publish(p)
	pid := e.lastWorker()
	if err := e.manager.Close(); err != nil {
		t.Fatal(err)
	}
	// The next node process finds a keeper that greets it and then says nothing.
	m, err := mounter.New(mounter.Config{
		PluginDir: e.plugin, Connect: e.connectTo((&rogue{hang: wire.KeeperList}).handle), Logger: e.logger(), DrainTimeout: time.Second,
	})
	if err != nil {
		t.Fatal(err)
	}
	start := time.Now()
	if err := m.Unpublish(t.Context(), p.VolumeID, p.Target); err != nil {
		t.Error(err)
	}
	if d := time.Since(start); d > 15*time.Second {
		t.Errorf("took %v", d)
	}
	if _, err := os.Lstat(p.Target); !os.IsNotExist(err) {
		t.Errorf("target: %v", err)
	}
	if err := m.Close(); err != nil {
		t.Error(err)
	}
	e.manager = e.newManager()
	if err := e.manager.Recover(t.Context()); err != nil {
		t.Error(err)
	}
	eventually(t, "the worker ends", func() bool { return !alive(pid) })
	e.wantNothing()
}
