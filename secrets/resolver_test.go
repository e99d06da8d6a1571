package secrets_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/kubernetes/fake"
	ktesting "k8s.io/client-go/testing"

	"github.com/csi-uftp/csi-uftp/internal/volume"
	"github.com/csi-uftp/csi-uftp/secrets"
)

func named(namespace, name string) volume.Spec {
	s := volume.Default()
	s.SecretName, s.SecretNamespace = name, namespace
	return s
}

func TestResolve(t *testing.T) {
	kube := fake.NewClientset(
		&corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: "team", Name: "good"},
			Data: map[string][]byte{"username": []byte("ann\n"), "password": []byte("pw\n")}},
		&corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: "team", Name: "bad"},
			Data: map[string][]byte{"passwd": []byte("hunter2")}},
	)
	r := secrets.Resolver{Kube: kube}
	request := map[string]string{"token": "abc"}
	for _, tt := range []struct {
		name     string
		resolver secrets.Resolver
		spec     volume.Spec
		secrets  map[string]string
		want     string   // credential
		words    []string // of the error
	}{
		{"from the request", r, named("", ""), request, "bearer token", nil},
		{"the request wins", r, named("team", "good"), request, "bearer token", nil},
		{"a bad request is not replaced", r, named("team", "good"), map[string]string{"tokn": "x"}, "", []string{`"tokn"`}},
		{"from the Secret", r, named("team", "good"), nil, `password of "ann"`, nil},
		{"the request has tokens of Kubernetes only", r, named("team", "good"), map[string]string{"csi.storage.k8s.io/serviceAccount.tokens": "{}"}, `password of "ann"`, nil},
		{"bad Secret", r, named("team", "bad"), nil, "", []string{"team/bad", `"passwd"`}},
		{"no such Secret", r, named("team", "gone"), nil, "", []string{"team/gone", "does not exist"}},
		{"in another namespace", r, named("other", "good"), nil, "", []string{"other/good", "does not exist"}},
		{"nothing at all", r, named("", ""), nil, "", []string{"nodePublishSecretRef", "secretName"}},
		{"no API", secrets.Resolver{}, named("team", "good"), nil, "", []string{"team/good", "without access"}},
		{"no API needed", secrets.Resolver{}, named("", ""), request, "bearer token", nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			access, err := tt.resolver.Resolve(t.Context(), tt.spec, tt.secrets)
			if tt.words == nil {
				if err != nil || access.Credential.String() != tt.want {
					t.Fatalf("got %v, %v; want %s", access, err, tt.want)
				}
				return
			}
			if !errors.Is(err, volume.ErrSecret) {
				t.Fatalf("error is %v, want an ErrSecret", err)
			}
			for _, w := range tt.words {
				if !strings.Contains(err.Error(), w) {
					t.Errorf("%q does not contain %q", err, w)
				}
			}
			if strings.Contains(err.Error(), "hunter2") {
				t.Errorf("%q shows a value", err)
			}
		})
	}
	for _, a := range kube.Actions() {
		if a.GetVerb() != "get" {
			t.Errorf("verb %s: the driver's rights allow get only", a.GetVerb())
		}
	}
}

func TestResolveAPIErrors(t *testing.T) {
	resource := schema.GroupResource{Resource: "secrets"}
	for _, tt := range []struct {
		name  string
		err   error
		cause error
		words []string
	}{
		{"forbidden", apierrors.NewForbidden(resource, "s", errors.New("RBAC")), volume.ErrSecret, []string{"team/s", "may not read"}},
		{"unauthorized", apierrors.NewUnauthorized("token expired"), volume.ErrSecret, []string{"team/s", "may not read"}},
		{"API down", errors.New("connection refused"), volume.ErrKubernetes, []string{"team/s", "connection refused"}},
		{"API busy", apierrors.NewTooManyRequests("later", 1), volume.ErrKubernetes, []string{"team/s"}},
		{"API slow", context.DeadlineExceeded, volume.ErrKubernetes, []string{"team/s", "no answer within"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			kube := fake.NewClientset()
			kube.PrependReactor("get", "secrets", func(ktesting.Action) (bool, runtime.Object, error) { return true, nil, tt.err })
			_, err := secrets.Resolver{Kube: kube, Timeout: time.Minute}.Resolve(t.Context(), named("team", "s"), nil)
			if !errors.Is(err, tt.cause) {
				t.Fatalf("error is %v, want %v", err, tt.cause)
			}
			for _, w := range tt.words {
				if !strings.Contains(err.Error(), w) {
					t.Errorf("%q does not contain %q", err, w)
				}
			}
		})
	}
	t.Run("caller gave up", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		kube := fake.NewClientset()
		kube.PrependReactor("get", "secrets", func(ktesting.Action) (bool, runtime.Object, error) { return true, nil, context.Canceled })
		_, err := secrets.Resolver{Kube: kube}.Resolve(ctx, named("team", "s"), nil)
		if !errors.Is(err, context.Canceled) || errors.Is(err, volume.ErrSecret) {
			t.Errorf("error is %v, want the context's", err)
		}
	})
}
