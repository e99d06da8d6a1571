package node_test

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
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
	const name = "github.com/csi-uftp/csi-uftp/cmd/csi-uftp"
	if out, err := exec.Command("go", append(args, name)...).CombinedOutput(); err != nil {
		return dir, fmt.Errorf("go build: %w\n%s", err, out)
	}
	// What a test has looked at go test compares before it takes an old result for
	// that of now; what a build has read it does not know.
	files, err := exec.Command("go", "list", "-deps", "-f", `{{$d := .Dir}}{{range .GoFiles}}{{$d}}/{{.}}{{"\n"}}{{end}}`, name).Output()
	for file := range strings.FieldsSeq(string(files)) {
		_, _ = os.Stat(file)
	}
	return dir, err
})

func TestMain(m *testing.M) {
	fsxtest.Child()
	flag.Parse()
	if f := flag.Lookup("test.parallel"); f.Value.String() == f.DefValue {
		// Tests of faults wait, most of the time, also on a small machine.
		_ = f.Value.Set(fmt.Sprint(2 * runtime.GOMAXPROCS(0)))
	}
	code := m.Run()
	if built.Load() {
		dir, _ := program()
		if err := os.RemoveAll(dir); err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = 1
		}
	}
	os.Exit(code)
}

// built is set when somebody asked for the program.
var built atomic.Bool

// node is a machine with the services running.
type node struct {
	dir    string
	bin    string // the program, under a name of this node alone
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
	built.Store(true)
	bin, err := program()
	if err != nil {
		t.Fatal(err)
	}
	n := &node{dir: t.TempDir()}
	n.bin = filepath.Join(n.dir, "csi-uftp")
	if err := os.Link(filepath.Join(bin, "csi-uftp"), n.bin); err != nil {
		t.Fatal(err)
	}
	// Programs of other users use the mounts, and what is above them.
	for _, dir := range []string{filepath.Dir(n.dir), n.dir} {
		if err := os.Chmod(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	// Registered first, and so run last: by then all must have ended. The
	// services are those of then; a test may have started others.
	t.Cleanup(func() { n.nothingLeft(t) })
	t.Cleanup(func() { n.keeper.end(t) })
	n.startKeeper(t)
	t.Cleanup(func() { n.node.end(t) })
	n.startNode(t)
	conn, err := grpc.NewClient("unix://"+n.endpoint(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	n.client = csi.NewNodeClient(conn)
	return n
}

func (n *node) socket() string   { return filepath.Join(n.dir, "keeper.sock") }
func (n *node) cacheDir() string { return filepath.Join(n.dir, "cache") }
func (n *node) endpoint() string { return filepath.Join(n.dir, "csi.sock") }

func (n *node) startKeeper(t *testing.T) {
	t.Helper()
	if err := os.MkdirAll(n.cacheDir(), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Chown(n.cacheDir(), 65534, 65534); err != nil { // the workers'
		t.Fatal(err)
	}
	n.keeper = n.startService(t, "keeper", "--socket", n.socket(), "--cache-dir", n.cacheDir(), "--log-level", "debug")
	waitFor(t, "the keeper's socket", func() bool { return answers(n.socket()) })
}

func (n *node) startNode(t *testing.T) {
	t.Helper()
	n.node = n.startService(t, "node", "--endpoint", "unix://"+n.endpoint(), "--node-id", "e2e",
		"--kubelet-dir", filepath.Join(n.dir, "kubelet"), "--keeper-socket", n.socket(), "--log-level", "debug")
	waitFor(t, "the CSI socket", func() bool { return answers(n.endpoint()) })
}

// answers reports whether somebody listens on a socket.
func answers(socket string) bool {
	for _, network := range []string{"unix", "unixpacket"} {
		if c, err := net.Dial(network, socket); err == nil {
			_ = c.Close()
			return true
		}
	}
	return false
}

func (n *node) startService(t *testing.T, name string, args ...string) *service {
	t.Helper()
	s := &service{name: name, log: filepath.Join(n.dir, name+".log"), done: make(chan struct{})}
	out, err := os.OpenFile(s.log, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	s.cmd = exec.Command(n.bin, append([]string{name}, args...)...)
	s.cmd.Stdout, s.cmd.Stderr, s.cmd.Dir = out, out, n.dir
	// The race detector would have it wait for a second at its end.
	s.cmd.Env = append(os.Environ(), "GORACE=atexit_sleep_ms=0")
	if err := s.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(s.done)
		s.err = s.cmd.Wait()
	}()
	return s
}

// end stops a service and looks at how that went.
func (s *service) end(t *testing.T) {
	if s == nil {
		return // it did not even start
	}
	_ = s.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-s.done:
	case <-time.After(30 * time.Second):
		t.Errorf("%s did not end 30 s after SIGTERM", s.name)
		_ = s.cmd.Process.Kill()
		<-s.done
	}
	if s.err != nil {
		t.Errorf("%s ended: %v", s.name, s.err)
	}
	text := s.text(t)
	if strings.Contains(text, "DATA RACE") {
		t.Errorf("data race in %s or below it", s.name)
	}
	if t.Failed() {
		t.Logf("log of %s, its end:\n%s", s.name, text[max(0, len(text)-20000):])
	}
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
	waitFor(t, "the workers' end", func() bool { return len(n.processes(t)) == 0 })
}

// kill ends a service as a crash would.
func (s *service) kill(t *testing.T) {
	t.Helper()
	if err := s.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	<-s.done
}

// processes returns the /proc directories of all that run the node's program:
// the services and the workers that they started.
func (n *node) processes(t *testing.T) []string {
	t.Helper()
	procs, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		t.Fatal(err)
	}
	return slices.DeleteFunc(procs, func(p string) bool {
		exe, err := os.Readlink(filepath.Join(p, "exe"))
		return err != nil || exe != n.bin
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
	deadline := time.NewTimer(time.Minute) // what should take no time, on a busy machine
	defer deadline.Stop()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for !done() {
		select {
		case <-tick.C:
		case <-deadline.C:
			t.Fatalf("waited a minute for %s", what)
		}
	}
}

func sorted(lines []string) []string {
	slices.Sort(lines)
	return lines
}

// contains reports where text is found, for messages without the text.
func contains(haystack []byte, needle string) bool { return bytes.Contains(haystack, []byte(needle)) }
