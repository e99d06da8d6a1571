package main

import (
	"crypto/ed25519"
	"encoding/pem"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	"golang.org/x/crypto/ssh"

	"github.com/csi-uftp/csi-uftp/uftp/uftptest"
)

func TestMain(m *testing.M) {
	if filepath.Base(os.Args[0]) == "exe" {
		main() // a keeper started /proc/self/exe as its worker
	}
	if os.Args[0] == asOther {
		os.Exit(m.Run()) // scripts want to copy this program, which others cannot
	}
	testscript.Main(m, map[string]func(){"csi-uftp": main})
}

// TestScripts runs the scripts in testdata/script. Each has a server that serves
// its directory "served" to the user demo, with a password, a token and an SSH
// key, and these variables:
//
//	$URL     uftp://127.0.0.1:PORT/rest/auth/TEST
//	$CA      its CA certificate, a file
//	$KEY     the private key, a file; its public half is beside it
//
// an SSH agent with that key, an oidc-agent with the account "demo"
// and, beside testscript's own, the commands
//
//	exits CODE PROGRAM ARG...   PROGRAM ends with this exit code
//	waitfor FILE TEXT           FILE comes to contain TEXT within a minute
//	given served                what is in "served" belongs to the server's user
//	given full                  the server's disk has no more room for what is written
//
// and the condition [fuse].
func TestScripts(t *testing.T) {
	params := scriptParams(t, uftptest.New)
	params.Dir = "testdata/script"
	testscript.Run(t, params)
}

// TestScriptsReal runs the scripts about files against the real UFTPD.
func TestScriptsReal(t *testing.T) {
	uftptest.StartReal(t, uftptest.Config{}) // skips, and says why
	params := scriptParams(t, func(cfg uftptest.Config) (*uftptest.Server, error) {
		return uftptest.StartReal(t, cfg), nil
	})
	for _, name := range []string{"cat", "config", "cp", "files", "ls", "sync"} {
		params.Files = append(params.Files, "testdata/script/"+name+".txtar")
	}
	testscript.Run(t, params)
}

func scriptParams(t *testing.T, start func(uftptest.Config) (*uftptest.Server, error)) testscript.Params {
	return testscript.Params{
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Setup:               func(env *testscript.Env) error { return setupScript(t, env, start) },
		Condition: func(cond string) (bool, error) {
			_, err := os.Stat("/dev/fuse")
			fuse := err == nil && os.Geteuid() == 0
			switch cond {
			case "fuse":
				return fuse, nil
			case "passthrough":
				return fuse && kernelPasses(), nil
			}
			return false, errors.New("unknown condition")
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"exits":   scriptExits,
			"waitfor": scriptWaitFor,
			"given":   scriptGiven,
		},
	}
}

// kernelPasses reports whether the kernel can read files itself for FUSE.
func kernelPasses() bool {
	release, err := os.ReadFile("/proc/sys/kernel/osrelease")
	var major, minor int
	n, _ := fmt.Sscanf(string(release), "%d.%d", &major, &minor)
	return err == nil && n == 2 && (major > 6 || major == 6 && minor >= 9)
}

// scriptServer is the key of what can be given on a script's server, by name.
type scriptServer struct{}

// given STATE: the script's server is in this state from now on.
func scriptGiven(ts *testscript.TestScript, neg bool, args []string) {
	states := ts.Value(scriptServer{}).(map[string]func())
	if neg || len(args) != 1 || states[args[0]] == nil {
		ts.Fatalf("usage: given served|full")
	}
	states[args[0]]()
}

func setupScript(t *testing.T, env *testscript.Env, start func(uftptest.Config) (*uftptest.Server, error)) error {
	served := filepath.Join(env.WorkDir, "served")
	if err := os.MkdirAll(served, 0o755); err != nil {
		return err
	}
	public, private, err := ed25519.GenerateKey(nil)
	if err != nil {
		return err
	}
	sshPublic, err := ssh.NewPublicKey(public)
	if err != nil {
		return err
	}
	block, err := ssh.MarshalPrivateKeyWithPassphrase(private, "", []byte("key-passphrase"))
	if err != nil {
		return err
	}
	s, err := start(uftptest.Config{
		Dir: served, Logger: slog.New(slog.DiscardHandler),
		Sharing: true, MaxConnections: 100, // the slot of a session that ended is free some seconds later
		Users: []uftptest.User{{
			Name: "demo", Password: "demo-password", Tokens: []string{"demo-token"},
			Keys: []string{string(ssh.MarshalAuthorizedKey(sshPublic))},
		}},
	})
	if err != nil {
		return err
	}
	env.Defer(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	ca, key := filepath.Join(env.WorkDir, "ca.pem"), filepath.Join(env.WorkDir, "id_ed25519")
	if err := os.WriteFile(ca, s.CABundle(), 0o600); err != nil {
		return err
	}
	if err := os.WriteFile(key, pem.EncodeToMemory(block), 0o600); err != nil {
		return err
	}
	if err := os.WriteFile(key+".pub", ssh.MarshalAuthorizedKey(sshPublic), 0o600); err != nil {
		return err
	}
	s.Chown(t)
	env.Values[scriptServer{}] = map[string]func(){
		"served": func() { s.Chown(t) },
		"full": func() {
			s.Faults().Inject(-1, uftptest.Fault{Verb: "STOR", Transfer: true, After: 1, Errno: syscall.ENOSPC})
		},
	}
	env.Setenv("URL", strings.Replace(s.AuthURL(), "https://", "uftp://", 1))
	env.Setenv("CA", ca)
	env.Setenv("KEY", key)
	if err := setupAgents(env, private); err != nil {
		return err
	}
	env.Setenv("HOME", env.WorkDir)
	env.Setenv("TZ", "UTC")
	return nil
}

func scriptExits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits CODE PROGRAM ARG...")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	err = ts.Exec(args[1], args[2:]...)
	got := 0
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		got = exit.ExitCode()
	} else {
		ts.Check(err)
	}
	if got != want {
		ts.Fatalf("exit code %d, want %d", got, want)
	}
}

func scriptWaitFor(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: waitfor FILE TEXT")
	}
	file := ts.MkAbs(args[0])
	deadline := time.Now().Add(time.Minute)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		data, err := os.ReadFile(file)
		if err == nil && strings.Contains(string(data), args[1]) {
			return
		}
		if time.Now().After(deadline) {
			ts.Fatalf("%s does not contain %q after a minute: %q (%v)", args[0], args[1], data, err)
		}
		<-tick.C
	}
}
