package driver_test

import (
	"context"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"google.golang.org/grpc"

	"github.com/csi-uftp/csi-uftp/driver"
)

func TestNewChecksConfig(t *testing.T) {
	good := func() driver.Config {
		return driver.Config{Endpoint: "unix:///tmp/s", NodeID: "n", Mounter: &fakeMounter{}, Credentials: fakeCredentials{}}
	}
	if _, err := driver.New(good()); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name   string
		change func(*driver.Config)
		want   string
	}{
		{"name", func(c *driver.Config) { c.Name = "-x" }, "name"},
		{"nothing to serve", func(c *driver.Config) { c.Mounter = nil }, "nothing to serve"},
		{"credentials", func(c *driver.Config) { c.Credentials = nil }, "credentials"},
		{"node id", func(c *driver.Config) { c.NodeID = "" }, "node id"},
		{"long node id", func(c *driver.Config) { c.NodeID = strings.Repeat("n", 257) }, "256"},
		{"volumes", func(c *driver.Config) { c.MaxVolumes = -1 }, "negative"},
		{"no endpoint", func(c *driver.Config) { c.Endpoint = "" }, "unix:///"},
		{"TCP", func(c *driver.Config) { c.Endpoint = "tcp://127.0.0.1:1" }, "unix:///"},
		{"relative endpoint", func(c *driver.Config) { c.Endpoint = "unix://a/b" }, "unix:///"},
		{"long endpoint", func(c *driver.Config) { c.Endpoint = "unix:///" + strings.Repeat("a", 110) }, "bytes"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			cfg := good()
			tt.change(&cfg)
			if _, err := driver.New(cfg); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want an error with %q", err, tt.want)
			}
		})
	}
}

func TestIdentity(t *testing.T) {
	r := start(t)
	info, err := r.identity.GetPluginInfo(t.Context(), &csi.GetPluginInfoRequest{})
	if err != nil || info.GetName() != driver.DefaultName || info.GetVendorVersion() != "1.2.3" {
		t.Errorf("got %v, %v", info, err)
	}
	caps, err := r.identity.GetPluginCapabilities(t.Context(), &csi.GetPluginCapabilitiesRequest{})
	if err != nil || len(caps.GetCapabilities()) != 2 {
		t.Errorf("got %v, %v", caps, err)
	}
}

func TestProbe(t *testing.T) {
	var broken error
	r := start(t, func(c *driver.Config) { c.Ready = func(context.Context) error { return broken } })
	for _, err := range []error{nil, errBroken, nil} {
		broken = err
		resp, probeErr := r.identity.Probe(t.Context(), &csi.ProbeRequest{})
		if probeErr != nil || resp.GetReady().GetValue() != (err == nil) {
			t.Errorf("with %v: %v, %v", err, resp, probeErr)
		}
	}
	if !contains(r.log.String(), "not ready", "broken") {
		t.Error("the log does not say why")
	}
}

func TestServicesFollowConfig(t *testing.T) {
	node := start(t, func(c *driver.Config) { c.Provisioner = nil })
	if caps, err := node.identity.GetPluginCapabilities(t.Context(), &csi.GetPluginCapabilitiesRequest{}); err != nil || len(caps.GetCapabilities()) != 0 {
		t.Errorf("node: %v, %v", caps, err)
	}
	if _, err := node.controller.ControllerGetCapabilities(t.Context(), &csi.ControllerGetCapabilitiesRequest{}); err == nil {
		t.Error("the node serves the controller service")
	}
	controller := start(t, func(c *driver.Config) { c.Mounter, c.NodeID = nil, "" })
	if _, err := controller.node.NodeGetInfo(t.Context(), &csi.NodeGetInfoRequest{}); err == nil {
		t.Error("the controller serves the node service")
	}
}

func TestSocket(t *testing.T) {
	t.Run("permissions and removal", func(t *testing.T) {
		r := start(t, func(c *driver.Config) { c.SocketMode = 0o600 })
		path := filepath.Join(r.dir, "csi.sock")
		info, err := os.Lstat(path)
		if err != nil {
			t.Fatal(err)
		}
		if info.Mode() != fs.ModeSocket|0o600 {
			t.Errorf("mode %v", info.Mode())
		}
		if err := r.stop(); err != nil {
			t.Fatal(err)
		}
		if _, err := os.Lstat(path); err == nil {
			t.Error("the socket is still there")
		}
	})
	t.Run("a stale one is replaced", func(t *testing.T) {
		start(t, func(c *driver.Config) {
			path := strings.TrimPrefix(c.Endpoint, "unix://")
			for _, p := range []string{path, path + ".new"} {
				l, err := net.ListenUnix("unix", &net.UnixAddr{Name: p, Net: "unix"})
				if err != nil {
					t.Fatal(err)
				}
				l.SetUnlinkOnClose(false)
				_ = l.Close()
			}
		})
	})
	t.Run("a file is not", func(t *testing.T) {
		path := filepath.Join(shortDir(t), "precious")
		if err := os.WriteFile(path, []byte("data"), 0o600); err != nil {
			t.Fatal(err)
		}
		d, err := driver.New(driver.Config{Endpoint: "unix://" + path, NodeID: "n", Mounter: &fakeMounter{}, Credentials: fakeCredentials{}})
		if err != nil {
			t.Fatal(err)
		}
		if err := d.Run(t.Context()); err == nil || !strings.Contains(err.Error(), "something else") {
			t.Errorf("Run: %v", err)
		}
		if data, err := os.ReadFile(path); err != nil || string(data) != "data" {
			t.Errorf("the file is now %q, %v", data, err)
		}
	})
	t.Run("a successor's is left alone", func(t *testing.T) {
		old := start(t)
		path := filepath.Join(old.dir, "csi.sock")
		before, err := os.Lstat(path)
		if err != nil {
			t.Fatal(err)
		}
		next := start(t, func(c *driver.Config) { c.Endpoint = old.endpoint })
		waitFor(t, "the successor's socket", func() bool {
			now, err := os.Lstat(path)
			return err == nil && !os.SameFile(before, now)
		})
		if err := old.stop(); err != nil {
			t.Fatal(err)
		}
		if _, err := next.identity.Probe(t.Context(), &csi.ProbeRequest{}, grpc.WaitForReady(true)); err != nil {
			t.Errorf("the successor is not reached: %v", err)
		}
		if _, err := os.Lstat(path); err != nil {
			t.Error(err)
		}
	})
}

func TestStopWaitsForRequests(t *testing.T) {
	r := start(t)
	r.mounter.entered, r.mounter.release = make(chan struct{}), make(chan struct{})
	published := make(chan error, 1)
	go func() {
		_, err := r.node.NodePublishVolume(t.Context(), r.publishRequest())
		published <- err
	}()
	<-r.mounter.entered
	stopped := make(chan error, 1)
	go func() { stopped <- r.stop() }()
	select {
	case err := <-stopped:
		t.Fatalf("Run ended before the request: %v", err)
	case <-time.After(50 * time.Millisecond): // not a wait for something: nothing must happen
	}
	close(r.mounter.release)
	if err := <-published; err != nil {
		t.Error(err)
	}
	if err := <-stopped; err != nil {
		t.Error(err)
	}
}

func TestStopDoesNotWaitForEver(t *testing.T) {
	r := start(t, func(c *driver.Config) { c.StopTimeout = 10 * time.Millisecond })
	r.mounter.entered, r.mounter.release = make(chan struct{}), make(chan struct{})
	published := make(chan error, 1)
	go func() {
		_, err := r.node.NodePublishVolume(t.Context(), r.publishRequest())
		published <- err
	}()
	<-r.mounter.entered
	if err := r.stop(); err != nil {
		t.Error(err)
	}
	if err := <-published; err == nil {
		t.Error("a request that was cut off succeeded")
	}
}
