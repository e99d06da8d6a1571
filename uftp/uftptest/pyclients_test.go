package uftptest_test

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/pem"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/crypto/ssh"

	"github.com/csi-uftp/csi-uftp/uftp/uftptest"
)

// pythonClients is the virtual environment that test/pyclients.sh made.
func pythonClients(t *testing.T) string {
	t.Helper()
	venv := os.Getenv("UFTP_PYCLIENTS")
	if venv == "" {
		t.Skip("UFTP_PYCLIENTS is not set to an environment made by test/pyclients.sh")
	}
	for _, program := range []string{"python", "pyuftp"} {
		if _, err := os.Stat(filepath.Join(venv, "bin", program)); err != nil {
			t.Fatalf("UFTP_PYCLIENTS: %v", err)
		}
	}
	return venv
}

// pyWorld is a user with files to move.
type pyWorld struct {
	t      *testing.T
	server *uftptest.Server
	venv   string
	home   string // of the clients
	key    string // a private key file
	data   []byte
	upload string // a file with the data
}

func newPyWorld(t *testing.T, venv string, s *uftptest.Server, key sshKey) *pyWorld {
	t.Helper()
	w := &pyWorld{t: t, server: s, venv: venv, home: t.TempDir(), data: make([]byte, 3<<20+17)}
	if _, err := rand.Read(w.data); err != nil {
		t.Fatal(err)
	}
	block, err := ssh.MarshalPrivateKey(key.signer, "")
	if err != nil {
		t.Fatal(err)
	}
	w.key = w.write("id", pem.EncodeToMemory(block))
	w.upload = w.write("upload.bin", w.data)
	s.WriteFile(t, "base/keep", nil)
	return w
}

func (w *pyWorld) write(name string, data []byte) string {
	w.t.Helper()
	path := filepath.Join(w.home, name)
	if err := os.WriteFile(path, data, 0o600); err != nil {
		w.t.Fatal(err)
	}
	return path
}

// run runs a program of the virtual environment and returns what it printed.
func (w *pyWorld) run(program string, args ...string) (string, error) {
	w.t.Helper()
	cmd := exec.CommandContext(w.t.Context(), filepath.Join(w.venv, "bin", program), args...)
	cmd.Dir = w.home
	// Programs of the outside world must not be sent through its proxies.
	cmd.Env = []string{"HOME=" + w.home, "PATH=" + os.Getenv("PATH"), "LC_ALL=C.UTF-8", "PYTHONWARNINGS=ignore", "NO_PROXY=*",
		"TZ=" + os.Getenv("TZ")}
	out, err := cmd.CombinedOutput()
	return string(out), err
}

func (w *pyWorld) mustRun(program string, args ...string) string {
	w.t.Helper()
	out, err := w.run(program, args...)
	if err != nil {
		w.t.Fatalf("%s %q: %v\n%s", program, args, err, out)
	}
	return out
}

// url is a remote path, below the base directory, as pyuftp takes it.
func (w *pyWorld) url(path string) string {
	return w.server.AuthURL() + ":" + w.server.Dir() + "/base/" + path
}

func (w *pyWorld) mustHave(path string, want []byte) {
	w.t.Helper()
	got, err := os.ReadFile(path)
	if err != nil {
		w.t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		w.t.Errorf("%s: %d bytes, which are not the %d uploaded", path, len(got), len(want))
	}
}

// The clients that people use today log in, list, upload and download, at our
// server as at the real one.
func TestPythonClients(t *testing.T) {
	venv := pythonClients(t)
	key := newSSHKey(t, "ed25519")
	user := uftptest.DefaultUser()
	user.Keys = []string{key.line}
	// Each login holds a session for a few seconds after its end.
	cfg := uftptest.Config{Users: []uftptest.User{user}, MaxConnections: 200}
	uftptest.Each(t, cfg, func(t *testing.T, s *uftptest.Server) {
		t.Run("pyuftp", func(t *testing.T) { testPyuftp(newPyWorld(t, venv, s, key)) })
		t.Run("pyunicore", func(t *testing.T) { testPyunicore(newPyWorld(t, venv, s, key)) })
	})
}

func testPyunicore(w *pyWorld) {
	script, err := filepath.Abs(filepath.Join("testdata", "pyunicore_client.py"))
	if err != nil {
		w.t.Fatal(err)
	}
	download := filepath.Join(w.home, "download.bin")
	w.mustRun("python", script, w.server.AuthURL(), uftptest.DefaultUserName, uftptest.DefaultUserPassword,
		w.key, w.server.Dir()+"/base", w.upload, download)
	w.mustHave(download, w.data)
}

func testPyuftp(w *pyWorld) {
	t := w.t
	password := []string{"-u", uftptest.DefaultUserName + ":" + uftptest.DefaultUserPassword}
	command := func(verb string, args ...string) string {
		t.Helper()
		return w.mustRun("pyuftp", slices.Concat([]string{verb}, password, args)...)
	}
	sum := sha256.Sum256(w.data)

	// Every way to move the bytes, there and back.
	for _, mode := range []struct {
		name     string
		options  []string
		download bool
	}{
		{"plain", nil, true},
		{"threads", []string{"-t", "2"}, true},
		{"streams", []string{"-n", "2"}, true},
		{"compressed", []string{"-C"}, true},
		// pyuftp 1.1.1 damages what it decrypts, at the real server too: the
		// cipher's padding stays in the file.
		{"encrypted", []string{"-E"}, false},
		{"all", []string{"-n", "3", "-C", "-E"}, false},
	} {
		name := "up-" + mode.name
		command("cp", slices.Concat(mode.options, []string{w.upload, w.url(name)})...)
		w.mustHave(filepath.Join(w.server.Dir(), "base", name), w.data)
		if !mode.download {
			continue
		}
		download := filepath.Join(w.home, "down-"+mode.name)
		command("cp", slices.Concat(mode.options, []string{w.url(name), download})...)
		w.mustHave(download, w.data)
	}

	listing := command("ls", w.url(""))
	for _, name := range []string{"keep", "up-plain", "up-all"} {
		if !strings.Contains(listing, " "+name) {
			t.Errorf("ls does not show %s:\n%s", name, listing)
		}
	}
	if out := command("checksum", "-a", "SHA-256", w.url("up-plain")); !strings.Contains(out, hex.EncodeToString(sum[:])) {
		t.Errorf("checksum: %s", out)
	}
	part := filepath.Join(w.home, "part")
	command("cp", "-B", "1000-1999", w.url("up-plain"), part)
	w.mustHave(part, w.data[1000:2000])

	// A name that is more than one plain word, and no bytes at all.
	const odd = "zwei Wörter, a=b"
	command("cp", w.write("empty", nil), w.url(odd))
	w.mustHave(filepath.Join(w.server.Dir(), "base", odd), nil)
	command("cp", w.url(odd), filepath.Join(w.home, "odd"))
	w.mustHave(filepath.Join(w.home, "odd"), nil)
	if out := command("find", w.url("")); !strings.Contains(out, odd) {
		t.Errorf("find: %s", out)
	}

	command("mkdir", w.url("made"))
	command("rm", w.url("up-all"))
	if _, err := os.Stat(filepath.Join(w.server.Dir(), "base", "up-all")); !os.IsNotExist(err) {
		t.Errorf("after rm: %v", err)
	}

	// The other credentials.
	out := w.mustRun("pyuftp", "info", "-u", uftptest.DefaultUserName, "-i", w.key, w.server.AuthURL())
	if !strings.Contains(out, "SSHKEY") && !strings.Contains(out, uftptest.DefaultUserName) {
		t.Errorf("info with a key: %s", out)
	}
	token := strings.TrimSpace(command("issue-token", w.server.AuthURL()))
	if out := w.mustRun("pyuftp", "ls", "-A", token, w.url("")); !strings.Contains(out, "up-plain") {
		t.Errorf("ls with a token: %s", out)
	}
	if out, err := w.run("pyuftp", "ls", "-u", "demo:wrong", w.url("")); err == nil || !strings.Contains(out, "403") {
		t.Errorf("wrong password: %v %s", err, out)
	}
}
