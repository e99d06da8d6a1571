package uftp_test

import (
	"context"
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"io/fs"
	"net"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/crypto/ssh/agent"

	"github.com/csi-uftp/csi-uftp/uftp"
	"github.com/csi-uftp/csi-uftp/uftp/uftptest"
)

// serveUnix serves connections to a UNIX socket, and returns its name.
func serveUnix(t *testing.T, serve func(net.Conn)) string {
	t.Helper()
	socket := filepath.Join(t.TempDir(), "agent.sock")
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "unix", socket)
	check(t, err)
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			wg.Go(func() {
				defer func() { _ = conn.Close() }()
				serve(conn)
			})
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		wg.Wait()
	})
	return socket
}

func TestSSHAgent(t *testing.T) {
	ring := agent.NewKeyring()
	socket := serveUnix(t, func(c net.Conn) { _ = agent.ServeAgent(ring, c) })
	keys := testKeys(t)
	var lines []string
	for _, key := range keys {
		check(t, ring.Add(agent.AddedKey{PrivateKey: key}))
		lines = append(lines, authorizedKey(t, key))
	}
	s := uftptest.Start(t, uftptest.Config{MaxConnections: 100, Users: []uftptest.User{{Name: "demo", Keys: lines}}})
	authenticate := func(c uftp.Credential) error {
		_, err := uftp.Authenticate(t.Context(), uftp.AuthRequest{
			AuthURL: s.AuthURL(), Access: uftp.Access{Credential: c, CABundle: s.CABundle()},
		})
		return err
	}
	for name, key := range keys {
		t.Run(name, func(t *testing.T) {
			for range 5 { // numbers in ECDSA signatures differ in length
				check(t, authenticate(uftp.SSHAgent{Username: "demo", Socket: socket, PublicKey: authorizedKey(t, key)}))
			}
		})
	}
	check(t, authenticate(uftp.SSHAgent{Username: "demo", Socket: socket}))

	_, other, err := ed25519.GenerateKey(nil)
	check(t, err)
	for name, tt := range map[string]struct {
		c    uftp.SSHAgent
		want string
	}{
		"other key":    {uftp.SSHAgent{Username: "demo", Socket: socket, PublicKey: authorizedKey(t, other)}, "does not hold the key SHA256:"},
		"no agent":     {uftp.SSHAgent{Username: "demo"}, "there is no SSH agent"},
		"dead agent":   {uftp.SSHAgent{Username: "demo", Socket: socket + "x"}, "no such file"},
		"unknown user": {uftp.SSHAgent{Username: "nobody", Socket: socket}, ""},
	} {
		err := authenticate(tt.c)
		if !errors.Is(err, uftp.ErrAuth) || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := authenticate(uftp.SSHAgent{Username: "demo", Socket: socket, PublicKey: "hello"}); !errors.Is(err, fs.ErrInvalid) {
		t.Errorf("not a key: %v", err)
	}
	check(t, ring.RemoveAll())
	if err := authenticate(uftp.SSHAgent{Username: "demo", Socket: socket}); err == nil || !strings.Contains(err.Error(), "no usable key") {
		t.Errorf("empty agent: %v", err)
	}
}

func TestOIDCAgent(t *testing.T) {
	socket := serveUnix(t, func(c net.Conn) {
		var request map[string]string
		if json.NewDecoder(c).Decode(&request) != nil {
			return
		}
		reply := map[string]string{"status": "failure", "error": "No account configured with that short name"}
		if request["request"] == "access_token" && request["account"] == "demo" {
			reply = map[string]string{"status": "success", "access_token": "demo-token"}
		}
		if request["account"] == "garbage" {
			_, _ = c.Write([]byte("hush hush"))
			return
		}
		_ = json.NewEncoder(c).Encode(reply)
	})
	s := uftptest.Start(t, uftptest.Config{Users: []uftptest.User{{Name: "demo", Tokens: []string{"demo-token"}}}})
	for account, want := range map[string]string{
		"demo": "", "other": "No account configured", "garbage": "makes no sense", "": "account is empty",
	} {
		_, err := uftp.Authenticate(t.Context(), uftp.AuthRequest{
			AuthURL: s.AuthURL(), Access: uftp.Access{Credential: uftp.OIDCAgent{Account: account, Socket: socket}, CABundle: s.CABundle()},
		})
		switch {
		case want == "":
			check(t, err)
		case err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "hush"):
			t.Errorf("%s: %v", account, err)
		}
	}
}

// TestSilentAgent has agents that accept and say nothing.
func TestSilentAgent(t *testing.T) {
	socket := serveUnix(t, func(c net.Conn) {
		var b [1]byte
		for {
			if _, err := c.Read(b[:]); err != nil {
				return
			}
		}
	})
	for _, c := range []uftp.Credential{
		uftp.SSHAgent{Username: "demo", Socket: socket}, uftp.OIDCAgent{Account: "demo", Socket: socket},
	} {
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		defer cancel()
		_, err := uftp.Authenticate(ctx, uftp.AuthRequest{AuthURL: "https://localhost/rest/auth/TEST", Access: uftp.Access{Credential: c}})
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%v: %v", c, err)
		}
	}
}
