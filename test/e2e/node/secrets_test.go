package node_test

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"encoding/pem"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"
	"google.golang.org/grpc/status"

	"github.com/csi-uftp/csi-uftp/uftp/uftptest"
)

// TestNoSecretIsSeen mounts with each kind of credential, does some work, makes
// mistakes, and then looks for every secret wherever somebody else could see
// it: logs, argv and environment of all processes, files, mountinfo and errors.
func TestNoSecretIsSeen(t *testing.T) {
	user := uftptest.DefaultUser()
	user.Password = marked(t, "password")
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	sshPublic, err := ssh.NewPublicKey(public)
	if err != nil {
		t.Fatal(err)
	}
	user.Keys = []string{string(ssh.MarshalAuthorizedKey(sshPublic))}
	passphrase := marked(t, "passphrase")
	block, err := ssh.MarshalPrivateKeyWithPassphrase(private, "", []byte(passphrase))
	if err != nil {
		t.Fatal(err)
	}
	key := string(pem.EncodeToMemory(block))
	token, wrong := marked(t, "token"), marked(t, "wrong")

	s := uftptest.Start(t, uftptest.Config{Users: []uftptest.User{user}, MaxConnections: 50})
	s.AddToken(user.Name, token, time.Now().Add(time.Hour))
	n := startNode(t)

	// What must not be seen, and under which name to report it.
	secrets := map[string]string{
		"password": user.Password, "passphrase": passphrase, "token": token, "wrong password": wrong,
		"private key": strings.Split(key, "\n")[1],
	}
	ca := string(s.CABundle())
	kinds := map[string]map[string]string{
		"password": {"username": user.Name, "password": user.Password, "ca.crt": ca},
		"key":      {"username": user.Name, "privateKey": key, "passphrase": passphrase, "ca.crt": ca},
		"token":    {"token": token, "ca.crt": ca},
		"wrong":    {"username": user.Name, "password": wrong, "ca.crt": ca},
	}
	seen := map[string][]byte{}
	for kind, secret := range kinds {
		attributes, _ := access(s)
		v := volume{id: "secrets-" + kind, attributes: attributes, secrets: secret,
			target: n.target(kind)}
		if kind == "wrong" {
			_, err := n.client.NodePublishVolume(t.Context(), n.publishRequest(v))
			if err == nil {
				t.Error("the wrong password was accepted")
			}
			seen["error message"] = []byte(fmt.Sprint(err, status.Convert(err).Details()))
			continue
		}
		n.publish(t, v)
		sum := randomFile(t, filepath.Join(v.target, kind), 1<<20)
		if got, err := os.ReadFile(filepath.Join(v.target, kind)); err != nil || sha256.Sum256(got) != sum {
			t.Errorf("%s: %d bytes, %v", kind, len(got), err)
		}
		// A rotated credential, first a bad one.
		v.secrets = kinds["wrong"]
		if _, err := n.client.NodePublishVolume(t.Context(), n.publishRequest(v)); err != nil {
			t.Errorf("%s: a republish failed: %v", kind, err)
		}
		v.secrets = secret
		if _, err := n.client.NodePublishVolume(t.Context(), n.publishRequest(v)); err != nil {
			t.Errorf("%s: a republish failed: %v", kind, err)
		}
	}
	for i, r := range s.AuthRequests() {
		if r.Password != "" {
			secrets[fmt.Sprintf("one-time password no. %d", i)] = r.Password
		}
	}

	workers := 0
	for _, p := range n.processes(t) {
		for _, name := range []string{"cmdline", "environ", "mountinfo", "comm"} {
			b, err := os.ReadFile(filepath.Join(p, name))
			if err != nil {
				t.Fatal(err)
			}
			seen[p+"/"+name] = b
			if name == "cmdline" && contains(b, "\x00worker\x00") {
				workers++
			}
		}
	}
	if workers == 0 {
		t.Error("found no worker process: this test looks in the wrong place")
	}
	err = filepath.WalkDir(n.dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() || path == n.bin {
			return err
		}
		seen[path], err = os.ReadFile(path)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if !contains(seen[n.node.log], "NodePublishVolume") {
		t.Error("the node's log does not show the requests: this test looks in the wrong place")
	}
	for where, text := range seen {
		for name, secret := range secrets {
			if contains(text, secret) {
				t.Errorf("the %s is in %s", name, where)
			}
		}
	}
	t.Logf("looked for %d secrets in %d places", len(secrets), len(seen))
}
