package driver_test

import (
	"context"
	"encoding/json"
	"maps"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"

	"github.com/csi-uftp/csi-uftp/internal/volume"
)

func contains(s string, words ...string) bool {
	for _, w := range words {
		if !strings.Contains(s, w) {
			return false
		}
	}
	return true
}

func TestOneOperationATarget(t *testing.T) {
	r := start(t)
	r.mounter.entered, r.mounter.release = make(chan struct{}), make(chan struct{})
	first := make(chan error, 1)
	go func() {
		_, err := r.node.NodePublishVolume(t.Context(), r.publishRequest())
		first <- err
	}()
	<-r.mounter.entered

	req := r.publishRequest()
	req.TargetPath += "/" // the same, otherwise written
	_, err := r.node.NodePublishVolume(t.Context(), req)
	wantStatus(t, err, codes.Aborted, "InProgress: ", "t1")
	_, err = r.node.NodeUnpublishVolume(t.Context(), &csi.NodeUnpublishVolumeRequest{VolumeId: "vol-1", TargetPath: r.target("t1")})
	wantStatus(t, err, codes.Aborted, "InProgress: ")

	// Another target of the same volume is another matter.
	second := make(chan error, 1)
	go func() {
		req := r.publishRequest()
		req.TargetPath = r.target("t2")
		_, err := r.node.NodePublishVolume(t.Context(), req)
		second <- err
	}()
	<-r.mounter.entered
	close(r.mounter.release)
	for _, c := range []chan error{first, second} {
		if err := <-c; err != nil {
			t.Error(err)
		}
	}
	// The lock is free again.
	if _, err := r.node.NodeUnpublishVolume(t.Context(), &csi.NodeUnpublishVolumeRequest{VolumeId: "vol-1", TargetPath: r.target("t1")}); err != nil {
		t.Error(err)
	}
}

func TestCallerGivesUp(t *testing.T) {
	r := start(t)
	r.mounter.entered, r.mounter.release = make(chan struct{}), make(chan struct{})
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		<-r.mounter.entered
		cancel()
	}()
	_, err := r.node.NodePublishVolume(ctx, r.publishRequest())
	wantStatus(t, err, codes.Canceled)
}

func TestPanic(t *testing.T) {
	r := start(t)
	r.mounter.panics = true
	_, err := r.node.NodePublishVolume(t.Context(), r.publishRequest())
	wantStatus(t, err, codes.Internal, "Internal: ")
	if !contains(r.log.String(), "index out of range", "fake_test.go") {
		t.Errorf("the log has no stack:\n%s", r.log)
	}
	r.mounter.panics = false
	if _, err := r.node.NodePublishVolume(t.Context(), r.publishRequest()); err != nil {
		t.Errorf("after the panic: %v", err)
	}
}

func TestRequestIsLogged(t *testing.T) {
	r := start(t)
	req := r.publishRequest()
	req.VolumeContext["csi.storage.k8s.io/pod.name"] = "my-pod"
	if _, err := r.node.NodePublishVolume(t.Context(), req); err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(r.log.String()) {
		var got map[string]any
		if err := json.Unmarshal([]byte(line), &got); err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		if got["msg"] == "request done" && got["rpc"] == "NodePublishVolume" {
			attributes, _ := got["attributes"].(map[string]any)
			if got["volume_id"] != "vol-1" || got["target_path"] != r.target("t1") || got["pod"] != "my-pod" ||
				got["request_id"] == "" || attributes["authURL"] != authURL {
				t.Errorf("logged %v", got)
			}
			return
		}
	}
	t.Errorf("the request is not in the log:\n%s", r.log)
}

// sprinkle puts secrets wherever a user or Kubernetes could put one.
func sprinkle(r *rig, secret string) []proto.Message {
	context := func(more map[string]string) map[string]string {
		m := map[string]string{"authURL": authURL, "csi.storage.k8s.io/serviceAccount.tokens": `{"a":{"token":"` + secret + `"}}`}
		maps.Copy(m, more)
		return m
	}
	secrets := map[string]string{secretKey: secretValue, "token": secret, "csi.storage.k8s.io/serviceAccount.tokens": secret}
	publish := func(change func(*csi.NodePublishVolumeRequest)) proto.Message {
		req := r.publishRequest()
		req.VolumeContext, req.Secrets, req.PublishContext = context(nil), secrets, map[string]string{"x": secret}
		change(req)
		return req
	}
	create := createRequest()
	create.Secrets, create.Parameters = secrets, context(map[string]string{"password": secret})
	create2 := createRequest()
	create2.Secrets, create2.MutableParameters = secrets, map[string]string{"x": secret}
	return []proto.Message{
		publish(func(*csi.NodePublishVolumeRequest) {}),
		publish(func(r *csi.NodePublishVolumeRequest) { r.Secrets = map[string]string{"passwd": secret} }),
		publish(func(r *csi.NodePublishVolumeRequest) { r.VolumeContext["password"] = secret }),
		publish(func(r *csi.NodePublishVolumeRequest) { r.VolumeContext["nobody-knows-this"] = secret }),
		publish(func(r *csi.NodePublishVolumeRequest) {
			r.VolumeContext["authURL"] = "https://me:" + secret + "@auth.example.org/rest/auth/TEST"
		}),
		publish(func(r *csi.NodePublishVolumeRequest) { r.VolumeContext["authURL"] = authURL + "?token=" + secret }),
		publish(func(r *csi.NodePublishVolumeRequest) { r.VolumeContext["authURL"] = secret }),
		publish(func(r *csi.NodePublishVolumeRequest) {
			r.VolumeCapability.GetMount().MountFlags = []string{"password=" + secret}
		}),
		publish(func(r *csi.NodePublishVolumeRequest) {
			r.VolumeCapability.GetMount().MountFlags = []string{"authURL=https://u:" + secret + "@h/rest/auth/T"}
		}),
		create, create2,
		&csi.DeleteVolumeRequest{VolumeId: "fake:x", Secrets: secrets},
		&csi.ControllerExpandVolumeRequest{VolumeId: "fake:x", Secrets: secrets, CapacityRange: &csi.CapacityRange{RequiredBytes: 1}},
		&csi.ValidateVolumeCapabilitiesRequest{VolumeId: "fake:x", Secrets: secrets, VolumeContext: map[string]string{"x": secret},
			Parameters: map[string]string{"x": secret}, VolumeCapabilities: create.GetVolumeCapabilities()},
	}
}

// call sends a request of any kind and returns what the caller sees of it.
func (r *rig) call(ctx context.Context, req proto.Message) string {
	var err error
	switch req := req.(type) {
	case *csi.NodePublishVolumeRequest:
		_, err = r.node.NodePublishVolume(ctx, req)
	case *csi.CreateVolumeRequest:
		_, err = r.controller.CreateVolume(ctx, req)
	case *csi.DeleteVolumeRequest:
		_, err = r.controller.DeleteVolume(ctx, req)
	case *csi.ControllerExpandVolumeRequest:
		_, err = r.controller.ControllerExpandVolume(ctx, req)
	case *csi.ValidateVolumeCapabilitiesRequest:
		_, err = r.controller.ValidateVolumeCapabilities(ctx, req)
	default:
		panic("unknown request")
	}
	if err != nil {
		return err.Error()
	}
	return ""
}

func TestNoSecretIsLogged(t *testing.T) {
	r := start(t)
	const secret = "xyzzy-do-not-show"
	for _, req := range sprinkle(r, secret) {
		if msg := r.call(t.Context(), req); contains(msg, secret) {
			t.Errorf("%T: the error shows the secret: %s", req, msg)
		}
	}
	if log := r.log.String(); contains(log, secret) || contains(log, secretValue) {
		t.Errorf("the log shows a secret:\n%s", log)
	}
	if !contains(r.log.String(), "NodePublishVolume", "CreateVolume", "DeleteVolume") {
		t.Error("nothing was logged, so nothing was tested")
	}
}

// FuzzNoSecretIsLogged looks for ways around the list of what may be logged: a
// request with an attribute, a mount option and a secret of any names.
func FuzzNoSecretIsLogged(f *testing.F) {
	r := start(f)
	f.Add("password", "password", "privateKey")
	f.Add("authURL", "authURL", "ca.crt")
	f.Add("csi.storage.k8s.io/serviceAccount.tokens", "auth-url", "")
	f.Add("storage.kubernetes.io/x", "", "csi.storage.k8s.io/pod.name")
	const secret = "do-not-show-this"
	f.Fuzz(func(t *testing.T, attribute, option, key string) {
		if public(attribute) || public(option) || !utf8.ValidString(attribute+option+key) {
			t.Skip("values of these are shown, and people know it")
		}
		r.log.reset()
		req := r.publishRequest()
		req.VolumeContext[attribute] = "https://u:" + secret + "@h/rest/auth/T"
		req.Secrets[key] = secret
		req.VolumeCapability.GetMount().MountFlags = []string{option + "=" + secret}
		if msg := r.call(t.Context(), req); contains(msg, secret) {
			t.Fatalf("the error shows the secret: %s", msg)
		}
		if contains(r.log.String(), secret) {
			t.Fatalf("the log shows the secret: %s", r.log)
		}
	})
}

// public reports whether values of this name may be shown: those of the table,
// which are quoted when they are wrong (but not authURL, which has a place for a
// password), and what Kubernetes says about pods.
func public(name string) bool {
	name, _, _ = strings.Cut(name, "=")
	for _, a := range volume.Attributes() {
		if a.Name != "authURL" && (a.Name == name || a.Flag() == name) {
			return true
		}
	}
	return volume.Foreign(name) && !strings.HasSuffix(name, ".tokens")
}
