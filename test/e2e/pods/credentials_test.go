package pods_test

import (
	"testing"

	corev1 "k8s.io/api/core/v1"
)

func TestCredentials(t *testing.T) {
	s := run(t)
	for kind, secret := range map[string]map[string]string{
		"password": s.server.password(alice, alicePassword),
		"sshkey":   {"username": alice, "privateKey": s.server.sshKey, "ca.crt": s.server.ca},
		"token":    {"token": aliceToken, "ca.crt": s.server.ca},
	} {
		t.Run(kind, func(t *testing.T) {
			n := newSpace(t)
			n.secret(kind, secret)
			n.static("data", n.dir(), func(pv *corev1.PersistentVolume) { pv.Spec.CSI.NodePublishSecretRef.Name = kind })
			n.start(n.pod("a", "data"))
			n.do("a", "write", "/data/x", kind)
			n.want(kind, "a", "cat", "/data/x")
		})
	}
}

// What is wrong shows at the pod, by a word that stays the same, with the remedy.
func TestEvents(t *testing.T) {
	s := run(t)
	without := func(key string) map[string]string {
		m := s.server.password(alice, alicePassword)
		delete(m, key)
		return m
	}
	for name, tt := range map[string]struct {
		secret map[string]string
		change func(n *space, pv *corev1.PersistentVolume)
		want   []string
	}{
		"missing-key": {secret: without("username"), want: []string{"SecretInvalid: ", `key "username" is missing`, "correct the Secret"}},
		"missing-ca":  {secret: without("ca.crt"), want: []string{"TlsUntrusted: ", "ca.crt"}},
		"wrong-password": {secret: s.server.password(alice, "guessed"),
			want: []string{"AuthRejected: ", "check the credentials in the Secret"}},
		"unknown-path": {change: func(n *space, pv *corev1.PersistentVolume) {
			pv.Spec.CSI.VolumeAttributes["path"] = n.dir("nowhere")
		}, want: []string{"PathNotFound: ", "nowhere", "the directory must exist on the server"}},
		"unreachable-server": {change: func(_ *space, pv *corev1.PersistentVolume) {
			pv.Spec.CSI.VolumeAttributes["authURL"] = "https://127.0.0.1:1/rest/auth/TEST"
		}, want: []string{"AuthUnreachable: ", "check authURL"}},
		"misspelt-attribute": {change: func(_ *space, pv *corev1.PersistentVolume) {
			pv.Spec.CSI.VolumeAttributes["cachSize"] = "1Gi"
		}, want: []string{"InvalidAttribute: ", `did you mean "cacheSize"`}},
	} {
		t.Run(name, func(t *testing.T) {
			n := newSpace(t)
			secret := tt.secret
			if secret == nil {
				secret = s.server.password(alice, alicePassword)
			}
			n.secret("tried", secret)
			n.static("data", n.dir(), func(pv *corev1.PersistentVolume) {
				pv.Spec.CSI.NodePublishSecretRef.Name = "tried"
				if tt.change != nil {
					tt.change(n, pv)
				}
			})
			n.make(n.pod("a", "data"))
			n.described("pod/a", append(tt.want, "FailedMount")...)
			n.end("a") // which does not hang
		})
	}
}
