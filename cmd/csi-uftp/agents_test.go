package main

import (
	"context"
	"crypto/ed25519"
	"encoding/json"
	"net"
	"os"
	"path/filepath"
	"sync"

	"github.com/rogpeppe/go-internal/testscript"
	"golang.org/x/crypto/ssh/agent"
)

// setupAgents starts an SSH agent and an oidc-agent for a script.
func setupAgents(env *testscript.Env, key ed25519.PrivateKey) error {
	ring := agent.NewKeyring()
	if err := ring.Add(agent.AddedKey{PrivateKey: key}); err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "agents") // socket names are short
	if err != nil {
		return err
	}
	env.Defer(func() { _ = os.RemoveAll(dir) })
	for name, serve := range map[string]func(net.Conn){
		envSSHAgent: func(c net.Conn) { _ = agent.ServeAgent(ring, c) }, envOIDCAgent: serveOIDC,
	} {
		socket := filepath.Join(dir, name)
		l, err := (&net.ListenConfig{}).Listen(context.Background(), "unix", socket)
		if err != nil {
			return err
		}
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
		env.Defer(func() {
			_ = l.Close()
			wg.Wait()
		})
		env.Setenv(name, socket)
	}
	return nil
}

func serveOIDC(conn net.Conn) {
	var request struct{ Request, Account string }
	if err := json.NewDecoder(conn).Decode(&request); err != nil {
		return
	}
	reply := map[string]string{"status": "failure", "error": "No account configured with that short name"}
	if request.Request == "access_token" && request.Account == "demo" {
		reply = map[string]string{"status": "success", "access_token": "demo-token"}
	}
	_ = json.NewEncoder(conn).Encode(reply)
}
