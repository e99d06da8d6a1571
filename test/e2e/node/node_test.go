package node_test

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"github.com/moby/sys/mountinfo"
	"golang.org/x/sys/unix"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/csi-uftp/csi-uftp/mounter/fusefs/fsxtest"
	"github.com/csi-uftp/csi-uftp/uftp/uftptest"
)

// program builds the program once, as the tests are built, and is removed by
// TestMain.
var program = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "csi-uftp-e2e-")
	if err != nil {
		return "", err
	}
	if err := os.Chmod(dir, 0o755); err != nil { // a worker is another user
		return dir, err
	}
	args := []string{"build", "-o", dir}
	if raceDetector {
		args = append(args, "-race")
	}
	out, err := exec.Command("go", append(args, "github.com/csi-uftp/csi-uftp/cmd/csi-uftp")...).CombinedOutput()
	if err != nil {
		return dir, fmt.Errorf("go build: %w\n%s", err, out)
	}
	return dir, nil
})

func TestMain(m *testing.M) {
	fsxtest.Child()
	code := m.Run()
	if built {
		dir, _ := program()
		if err := os.RemoveAll(dir); err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = 1
		}
	}
	os.Exit(code)
}

// built is set when somebody asked for the program.
var built bool

// node is a machine with the services running.
type node struct {
	dir    string
	client csi.NodeClient
	keeper *service
	node   *service
}

// service is a process of ours.
type service struct {
	name string
	cmd  *exec.Cmd
	log  string // path of what it wrote to standard error
	done chan struct{}
	err  error // valid when done is closed
}

func startNode(t *testing.T) *node {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("mounting needs root")
	}
	if _, err := os.Stat("/dev/fuse"); err != nil {
		t.Skipf("no FUSE here: %v", err)
	}
	built = true
	bin, err := program()
	if err != nil {
		t.Fatal(err)
	}
	n := &node{dir: t.TempDir()}
	socket, endpoint := filepath.Join(n.dir, "keeper.sock"), filepath.Join(n.dir, "csi.sock")
	// Registered first, and so run last: by then all must have ended.
	t.Cleanup(func() { n.nothingLeft(t) })
	n.keeper = startService(t, bin, n.dir, "keeper", "--socket", socket, "--log-level", "debug")
	waitFor(t, "the keeper's socket", func() bool { return exists(socket) })
	n.node = startService(t, bin, n.dir, "node", "--endpoint", "unix://"+endpoint, "--node-id", "e2e",
		"--kubelet-dir", filepath.Join(n.dir, "kubelet"), "--keeper-socket", socket, "--log-level", "debug")
	waitFor(t, "the CSI socket", func() bool { return exists(endpoint) })
	conn, err := grpc.NewClient("unix://"+endpoint, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	n.client = csi.NewNodeClient(conn)
	return n
}

func startService(t *testing.T, bin, dir, name string, args ...string) *service {
	t.Helper()
	s := &service{name: name, log: filepath.Join(dir, name+".log"), done: make(chan struct{})}
	out, err := os.Create(s.log)
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	s.cmd = exec.Command(filepath.Join(bin, "csi-uftp"), append([]string{name}, args...)...)
	s.cmd.Stdout, s.cmd.Stderr, s.cmd.Dir = out, out, dir
	if err := s.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(s.done)
		s.err = s.cmd.Wait()
	}()
	t.Cleanup(func() {
		_ = s.cmd.Process.Signal(syscall.SIGTERM)
		select {
		case <-s.done:
		case <-time.After(30 * time.Second):
			t.Errorf("%s did not end 30 s after SIGTERM", name)
			_ = s.cmd.Process.Kill()
			<-s.done
		}
		if s.err != nil {
			t.Errorf("%s ended: %v", name, s.err)
		}
		text := s.text(t)
		if strings.Contains(text, "DATA RACE") {
			t.Errorf("data race in %s or below it", name)
		}
		if t.Failed() {
			t.Logf("log of %s, its end:\n%s", name, text[max(0, len(text)-20000):])
		}
	})
	return s
}

func (s *service) text(t *testing.T) string {
	t.Helper()
	b, err := os.ReadFile(s.log)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// nothingLeft checks that no mount and no process is left behind.
func (n *node) nothingLeft(t *testing.T) {
	infos, err := mountinfo.GetMounts(mountinfo.PrefixFilter(n.dir))
	if err != nil {
		t.Fatal(err)
	}
	for _, i := range slices.Backward(infos) {
		t.Errorf("left mounted: %s", i.Mountpoint)
		_ = unix.Unmount(i.Mountpoint, unix.MNT_DETACH)
	}
	waitFor(t, "the workers' end", func() bool { return len(processes(t)) == 0 })
}

// processes returns the /proc directories of all that run our program: the
// services and the workers that they started.
func processes(t *testing.T) []string {
	t.Helper()
	bin, err := program()
	if err != nil {
		t.Fatal(err)
	}
	procs, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		t.Fatal(err)
	}
	return slices.DeleteFunc(procs, func(p string) bool {
		exe, err := os.Readlink(filepath.Join(p, "exe"))
		return err != nil || exe != filepath.Join(bin, "csi-uftp")
	})
}

// volume is a published volume.
type volume struct {
	id, target string
	attributes map[string]string
	secrets    map[string]string
}

// access returns what it takes to publish the directory that s serves, for
// everybody to write to.
func access(s *uftptest.Server) (attributes, secrets map[string]string) {
	user := uftptest.DefaultUser()
	return map[string]string{"authURL": s.AuthURL(), "path": s.Dir(), "ioTimeout": "60s"},
		map[string]string{"username": user.Name, "password": user.Password, "ca.crt": string(s.CABundle())}
}

func (n *node) publishRequest(v volume) *csi.NodePublishVolumeRequest {
	return &csi.NodePublishVolumeRequest{
		VolumeId:   v.id,
		TargetPath: v.target,
		VolumeCapability: &csi.VolumeCapability{
			AccessType: &csi.VolumeCapability_Mount{Mount: &csi.VolumeCapability_MountVolume{}},
			AccessMode: &csi.VolumeCapability_AccessMode{Mode: csi.VolumeCapability_AccessMode_MULTI_NODE_MULTI_WRITER},
		},
		VolumeContext: v.attributes,
		Secrets:       v.secrets,
	}
}

// target returns where a pod of that name would have its volume.
func (n *node) target(pod string) string {
	return filepath.Join(n.dir, "kubelet", "pods", pod, "mount")
}

// publish publishes v, and unpublishes it with the test.
func (n *node) publish(t *testing.T, v volume) {
	t.Helper()
	if _, err := n.client.NodePublishVolume(t.Context(), n.publishRequest(v)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { n.unpublish(t, v) })
}

func (n *node) unpublish(t *testing.T, v volume) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	_, err := n.client.NodeUnpublishVolume(ctx, &csi.NodeUnpublishVolumeRequest{VolumeId: v.id, TargetPath: v.target})
	if err != nil {
		t.Errorf("unpublish: %v", err)
	}
	if exists(v.target) {
		t.Errorf("%s is still there", v.target)
	}
}

// eachMount runs f on a live mount of each kind of server.
func eachMount(t *testing.T, f func(t *testing.T, mnt string)) {
	t.Helper()
	uftptest.Each(t, uftptest.Config{}, func(t *testing.T, s *uftptest.Server) {
		n := startNode(t)
		v := volume{id: "e2e", target: n.target("pod")}
		v.attributes, v.secrets = access(s)
		n.publish(t, v)
		f(t, v.target)
	})
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

func waitFor(t *testing.T, what string, done func() bool) {
	t.Helper()
	deadline := time.NewTimer(20 * time.Second)
	defer deadline.Stop()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for !done() {
		select {
		case <-tick.C:
		case <-deadline.C:
			t.Fatalf("waited 20 s for %s", what)
		}
	}
}

func sorted(lines []string) []string {
	slices.Sort(lines)
	return lines
}

// contains reports where text is found, for messages without the text.
func contains(haystack []byte, needle string) bool { return bytes.Contains(haystack, []byte(needle)) }
