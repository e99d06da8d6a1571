package sanity_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/csi-uftp/csi-uftp/uftp/uftptest"
)

// A dynamic volume, from its making to its end, read and written by an ordinary
// program.
func TestDynamicVolume(t *testing.T) {
	n := start(t, uftptest.Config{})
	made, err := n.controller.CreateVolume(t.Context(), n.createRequest())
	if err != nil {
		t.Fatal(err)
	}
	req := n.publishRequest()
	req.VolumeId, req.VolumeContext = made.GetVolume().GetVolumeId(), made.GetVolume().GetVolumeContext()
	n.publish(t, req)
	if err := os.WriteFile(filepath.Join(req.GetTargetPath(), "hello world"), []byte("data"), 0o644); err != nil {
		t.Fatal(err)
	}
	onServer := filepath.Join(n.base, "pvc-1", "hello world")
	if got, err := os.ReadFile(onServer); err != nil || string(got) != "data" {
		t.Errorf("on the server: %q, %v", got, err)
	}

	// A second pod, read-only, sees the same and changes nothing.
	second := n.publishRequest()
	second.VolumeId, second.VolumeContext = req.GetVolumeId(), req.GetVolumeContext()
	second.TargetPath, second.Readonly = n.target("t2"), true
	n.publish(t, second)
	if got, err := os.ReadFile(filepath.Join(second.GetTargetPath(), "hello world")); err != nil || string(got) != "data" {
		t.Errorf("the second pod reads %q, %v", got, err)
	}
	if err := os.WriteFile(filepath.Join(second.GetTargetPath(), "x"), nil, 0o644); !errors.Is(err, syscall.EROFS) {
		t.Errorf("the second pod writes: %v, want EROFS", err)
	}

	stats, err := n.node.NodeGetVolumeStats(t.Context(), &csi.NodeGetVolumeStatsRequest{VolumeId: req.GetVolumeId(), VolumePath: req.GetTargetPath()})
	if err != nil || len(stats.GetUsage()) == 0 || stats.GetUsage()[0].GetTotal() == 0 {
		t.Errorf("stats %v, %v", stats, err)
	}

	n.unpublish(t, req.GetVolumeId(), req.GetTargetPath())
	n.unpublish(t, req.GetVolumeId(), second.GetTargetPath())
	if _, err := n.controller.DeleteVolume(t.Context(), &csi.DeleteVolumeRequest{VolumeId: req.GetVolumeId(), Secrets: n.secret()}); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(filepath.Dir(onServer)); err == nil {
		t.Error("the directory is still on the server")
	}
}

// A running pod keeps its mount whatever a republish brings.
func TestRepublish(t *testing.T) {
	n := start(t, uftptest.Config{})
	if err := os.WriteFile(filepath.Join(n.base, "f"), []byte("data"), 0o644); err != nil {
		t.Fatal(err)
	}
	n.publish(t, n.publishRequest())
	for _, tt := range []struct {
		name   string
		change func(*csi.NodePublishVolumeRequest)
	}{
		{"the same", func(*csi.NodePublishVolumeRequest) {}},
		{"another password, wrong", func(r *csi.NodePublishVolumeRequest) { r.Secrets["password"] = "wrong" }},
		{"no secret", func(r *csi.NodePublishVolumeRequest) { r.Secrets = nil }},
		{"an attribute that is refused", func(r *csi.NodePublishVolumeRequest) { r.VolumeContext["old"] = "x" }},
		{"another attribute", func(r *csi.NodePublishVolumeRequest) { r.VolumeContext["cacheSize"] = "64Mi" }},
		{"another mount option", func(r *csi.NodePublishVolumeRequest) {
			r.VolumeCapability.GetMount().MountFlags = []string{"attr-timeout=1m"}
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			req := n.publishRequest()
			tt.change(req)
			if _, err := n.node.NodePublishVolume(t.Context(), req); err != nil {
				t.Error(err)
			}
			if got, err := os.ReadFile(filepath.Join(n.target("t1"), "f")); err != nil || string(got) != "data" {
				t.Errorf("the pod reads %q, %v", got, err)
			}
		})
	}
}

// What an orchestrator chooses for a target cannot change on it.
func TestRepublishConflict(t *testing.T) {
	n := start(t, uftptest.Config{})
	n.publish(t, n.publishRequest())
	for _, tt := range []struct {
		name   string
		change func(*csi.NodePublishVolumeRequest)
	}{
		{"another volume", func(r *csi.NodePublishVolumeRequest) { r.VolumeId = "vol-2" }},
		{"read-only", func(r *csi.NodePublishVolumeRequest) { r.Readonly = true }},
		{"a read-only access mode", func(r *csi.NodePublishVolumeRequest) {
			r.VolumeCapability = mountCapability(csi.VolumeCapability_AccessMode_MULTI_NODE_READER_ONLY)
		}},
		{"an exclusive access mode", func(r *csi.NodePublishVolumeRequest) {
			r.VolumeCapability = mountCapability(csi.VolumeCapability_AccessMode_SINGLE_NODE_SINGLE_WRITER)
		}},
		{"another mount group", func(r *csi.NodePublishVolumeRequest) { r.VolumeCapability.GetMount().VolumeMountGroup = "7" }},
		{"another path", func(r *csi.NodePublishVolumeRequest) { r.VolumeContext["path"] = "/" }},
	} {
		req := n.publishRequest()
		tt.change(req)
		_, err := n.node.NodePublishVolume(t.Context(), req)
		wantStatus(t, tt.name, err, codes.AlreadyExists, "Conflict: ")
		if _, err := os.ReadDir(req.GetTargetPath()); err != nil {
			t.Errorf("%s: the pod's mount: %v", tt.name, err)
		}
	}
}

// What goes wrong, and what the user is told: code, reason, and something to act on.
func TestFailures(t *testing.T) {
	n := start(t, uftptest.Config{})
	other := uftptest.Start(t, uftptest.Config{}) // with a CA of its own
	full := uftptest.Start(t, uftptest.Config{MaxConnections: 1, Dir: n.server.Dir()})
	if err := os.WriteFile(filepath.Join(n.base, "file"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	type request struct{ attributes, secrets map[string]string }
	set := func(m func(request) map[string]string, key, value string) func(*testing.T, request) {
		return func(_ *testing.T, r request) { m(r)[key] = value }
	}
	attribute := func(key, value string) func(*testing.T, request) {
		return set(func(r request) map[string]string { return r.attributes }, key, value)
	}
	secret := func(key, value string) func(*testing.T, request) {
		return set(func(r request) map[string]string { return r.secrets }, key, value)
	}
	for _, tt := range []struct {
		name   string
		change func(*testing.T, request)
		code   codes.Code
		words  []string
	}{
		{"wrong password", secret("password", "wrong-password"), codes.Unauthenticated, []string{"AuthRejected: ", "credentials in the Secret"}},
		{"expired token", func(_ *testing.T, r request) {
			delete(r.secrets, "username")
			delete(r.secrets, "password")
			r.secrets["token"] = "an-expired-token"
		}, codes.Unauthenticated, []string{"AuthRejected: "}},
		{"unknown server", attribute("authURL", strings.TrimSuffix(n.server.AuthURL(), "TEST")+"NOPE"), codes.NotFound, []string{"ServerUnknown: ", "NOPE", "authURL"}},
		{"missing base directory", attribute("path", n.base+"/nope"), codes.NotFound, []string{"PathNotFound: ", "nope", "path"}},
		{"a file as base directory", attribute("path", n.base+"/file"), codes.NotFound, []string{"PathNotFound: "}},
		{"unreachable host", attribute("authURL", "https://127.0.0.1:1/rest/auth/TEST"), codes.Unavailable, []string{"AuthUnreachable: ", "authURL"}},
		{"certificate of another CA", secret("ca.crt", string(other.CABundle())), codes.Unavailable, []string{"TlsUntrusted: ", "ca.crt"}},
		{"unknown group", attribute("group", "no-such-group"), codes.InvalidArgument, []string{"GroupUnknown: ", "group"}},
		{"session table full", func(t *testing.T, r request) {
			r.attributes["authURL"], r.secrets["ca.crt"] = full.AuthURL(), string(full.CABundle())
			occupy(t, full)
		}, codes.ResourceExhausted, []string{"TooManySessions: ", "maxSessions"}},
		{"no user name", func(_ *testing.T, r request) { delete(r.secrets, "username") }, codes.InvalidArgument, []string{"SecretInvalid: ", `"username"`}},
		{"unknown attribute", attribute("chacheSize", "1Gi"), codes.InvalidArgument, []string{"InvalidAttribute: ", `"cacheSize"`}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			publish, create := n.publishRequest(), n.createRequest()
			tt.change(t, request{publish.GetVolumeContext(), publish.GetSecrets()})
			create.Secrets = publish.GetSecrets()
			create.Parameters = publish.GetVolumeContext()

			_, err := n.node.NodePublishVolume(t.Context(), publish)
			wantStatus(t, "publish", err, tt.code, tt.words...)
			if _, err := os.Lstat(publish.GetTargetPath()); err == nil {
				t.Error("the target is there after a publish that failed")
			}
			if tt.code == codes.ResourceExhausted {
				return // it waits for a session; once is enough
			}
			_, err = n.controller.CreateVolume(t.Context(), create)
			wantStatus(t, "create", err, tt.code, tt.words...)
		})
	}
	n.leftMounts(t)
}

func wantStatus(tb testing.TB, what string, err error, code codes.Code, words ...string) {
	tb.Helper()
	st := status.Convert(err)
	if st.Code() != code || !contains(st.Message(), words...) {
		tb.Errorf("%s: %v %q, want %v with %q", what, st.Code(), st.Message(), code, words)
	}
	for _, s := range []string{"wrong-password", "an-expired-token", uftptest.DefaultUserPassword} {
		if contains(st.Message(), s) {
			tb.Errorf("%s: the message shows the secret: %s", what, st.Message())
		}
	}
}

// Nothing that was in a Secret may be seen anywhere afterwards, nor in the
// workers' command lines and environments meanwhile.
func TestSecretsStaySecret(t *testing.T) {
	const password, token = "XYZZY-password-XYZZY", "XYZZY-token-XYZZY"
	n := start(t, uftptest.Config{Users: []uftptest.User{{Name: "demo", Password: password, Tokens: []string{token}}}})
	req := n.publishRequest()
	req.Secrets["password"] = password
	n.publish(t, req)
	rotated := n.publishRequest()
	rotated.Secrets = map[string]string{"token": token, "ca.crt": string(n.server.CABundle())}
	if _, err := n.node.NodePublishVolume(t.Context(), rotated); err != nil {
		t.Error(err)
	}
	if _, err := os.ReadDir(req.GetTargetPath()); err != nil {
		t.Error(err)
	}
	bad := n.publishRequest()
	bad.TargetPath, bad.Secrets["password"] = n.target("t2"), password+"-wrong"
	if _, err := n.node.NodePublishVolume(t.Context(), bad); err == nil || contains(err.Error(), password) {
		t.Errorf("publish with a wrong password: %v", err)
	}
	create := n.createRequest()
	create.Secrets["password"] = password
	made, err := n.controller.CreateVolume(t.Context(), create)
	if err != nil {
		t.Fatal(err)
	}
	workers := 0
	for _, what := range []string{"cmdline", "environ"} {
		procs, _ := filepath.Glob("/proc/[0-9]*/" + what)
		for _, p := range procs {
			data, err := os.ReadFile(p)
			if err != nil {
				continue // it ended
			}
			if what == "cmdline" && strings.HasSuffix(string(data), "\x00worker\x00") {
				workers++
			}
			if contains(string(data), password) || contains(string(data), token) {
				t.Errorf("%s holds a secret", p)
			}
		}
	}
	if workers == 0 {
		t.Error("no worker was seen, so nothing was tested")
	}
	if _, err := n.controller.DeleteVolume(t.Context(), &csi.DeleteVolumeRequest{VolumeId: made.GetVolume().GetVolumeId(), Secrets: create.GetSecrets()}); err != nil {
		t.Error(err)
	}
	n.unpublish(t, req.GetVolumeId(), req.GetTargetPath())
	log, err := os.ReadFile(n.workers)
	if err != nil {
		t.Fatal(err)
	}
	if len(log) == 0 {
		t.Error("the workers logged nothing, so nothing was tested")
	}
	for name, text := range map[string]string{"log": n.log.String(), "workers' log": string(log), "volume id": made.String()} {
		if contains(text, password) || contains(text, token) {
			t.Errorf("the %s holds a secret:\n%s", name, text)
		}
	}
	err = filepath.WalkDir(n.dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		data, err := os.ReadFile(path)
		if contains(string(data), password) || contains(string(data), token) {
			t.Errorf("%s holds a secret", path)
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
}
