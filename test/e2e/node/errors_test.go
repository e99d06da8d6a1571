package node_test

import (
	"maps"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/csi-uftp/csi-uftp/uftp/uftptest"
)

// TestErrors shows what a person reads in "kubectl describe pod" when a volume
// cannot be mounted: the code the kubelet acts on, the reason, and what to do.
func TestErrors(t *testing.T) {
	s := uftptest.Start(t, uftptest.Config{MaxConnections: 1})
	other := uftptest.Start(t, uftptest.Config{})
	s.AddToken("demo", "expired-token", time.Now().Add(-time.Hour))
	n := startNode(t)

	cases := []struct {
		name   string
		change func(attributes, secrets map[string]string)
		code   codes.Code
		reason string // how the message begins
		says   string // what else it says
	}{
		{"wrong password", func(_, s map[string]string) { s["password"] = "not-the-password" },
			codes.Unauthenticated, "AuthRejected", ""},
		{"expired token", func(_, s map[string]string) {
			delete(s, "username")
			delete(s, "password")
			s["token"] = "expired-token"
		}, codes.Unauthenticated, "AuthRejected", ""},
		{"unknown server", func(a, _ map[string]string) { a["authURL"] = strings.Replace(a["authURL"], "/TEST", "/NOSUCH", 1) },
			codes.NotFound, "", "NOSUCH"},
		{"missing base directory", func(a, _ map[string]string) { a["path"] = s.Dir() + "/no/such" },
			codes.NotFound, "PathNotFound", "/no/such"},
		{"unreachable host", func(a, _ map[string]string) { a["authURL"] = "https://" + closedPort(t) + "/rest/auth/TEST" },
			codes.Unavailable, "", "connection refused"},
		{"bad TLS", func(_, s map[string]string) { s["ca.crt"] = string(other.CABundle()) },
			codes.Unavailable, "TlsUntrusted", "ca.crt"},
		{"unknown attribute", func(a, _ map[string]string) { a["cacheSise"] = "1Gi" },
			codes.InvalidArgument, "InvalidAttribute", "cacheSize"},
		{"missing key", func(_, s map[string]string) { delete(s, "password") },
			codes.InvalidArgument, "SecretInvalid", "password"},
		{"full session table", func(_, _ map[string]string) { fillSessions(t, n, s) },
			codes.ResourceExhausted, "TooManySessions", ""},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			attributes, secrets := access(s)
			c.change(attributes, secrets)
			v := volume{id: "errors", attributes: attributes, secrets: secrets,
				target: n.target("errors")}
			_, err := n.client.NodePublishVolume(t.Context(), n.publishRequest(v))
			message := status.Convert(err).Message()
			if status.Code(err) != c.code || !strings.HasPrefix(message, c.reason) || !strings.Contains(message, c.says) {
				t.Errorf("got %v %q\nwant %v, beginning with %q, with %q", status.Code(err), message, c.code, c.reason, c.says)
			}
			t.Logf("%v: %s", status.Code(err), message)
			for key, value := range secrets {
				if key != "username" && len(value) > 3 && strings.Contains(message, value) {
					t.Errorf("the message contains the secret %q", key)
				}
			}
			if exists(v.target) {
				if mode := mustStat(t, v.target).Mode().Perm(); mode != 0 {
					t.Errorf("the bare target has mode %o", mode)
				}
			}
		})
	}
}

// fillSessions takes the only session that the server has.
func fillSessions(t *testing.T, n *node, s *uftptest.Server) {
	t.Helper()
	attributes, secrets := access(s)
	maps.Copy(attributes, map[string]string{"sharing": "none"})
	v := volume{id: "first", attributes: attributes, secrets: secrets,
		target: n.target("first")}
	// The failures before this one freed their slots, but late.
	waitFor(t, "a free session", func() bool {
		_, err := n.client.NodePublishVolume(t.Context(), n.publishRequest(v))
		if err != nil && status.Code(err) != codes.ResourceExhausted {
			t.Fatal(err)
		}
		return err == nil
	})
	t.Cleanup(func() { n.unpublish(t, v) })
}

func closedPort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

func mustStat(t *testing.T, path string) os.FileInfo {
	t.Helper()
	info, err := os.Lstat(path)
	if err != nil {
		t.Fatal(err)
	}
	return info
}
