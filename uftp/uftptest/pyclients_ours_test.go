package uftptest_test

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/csi-uftp/csi-uftp/uftp"
	"github.com/csi-uftp/csi-uftp/uftp/uftptest"
)

// Our client and those that people use today read each other's uploads, in all
// the ways that data connections can be used.
func TestPythonClientsAndOurs(t *testing.T) {
	venv := pythonClients(t)
	key := newSSHKey(t, "ed25519")
	user := uftptest.DefaultUser()
	user.Keys = []string{key.line}
	cfg := uftptest.Config{Users: []uftptest.User{user}, MaxConnections: 200}
	uftptest.Each(t, cfg, func(t *testing.T, s *uftptest.Server) {
		w := newPyWorld(t, venv, s, key)
		for _, mode := range []struct {
			name    string
			ours    func(*uftp.Config)
			theirs  []string
			damaged bool // by pyuftp, which leaves the padding in what it decrypts
		}{
			{"plain", func(*uftp.Config) {}, nil, false},
			{"streams", func(c *uftp.Config) { c.Streams = 3 }, []string{"-n", "3"}, false},
			{"compressed", func(c *uftp.Config) { c.Compress = true }, []string{"-C"}, false},
			{"compressed streams", func(c *uftp.Config) { c.Streams, c.Compress = 2, true }, []string{"-n", "2", "-C"}, false},
			{"encrypted", func(c *uftp.Config) { c.Encryption = uftp.EncryptionBlowfish }, []string{"-E"}, true},
			{"encrypted and compressed", func(c *uftp.Config) { c.Encryption, c.Compress = uftp.EncryptionBlowfish, true }, []string{"-E", "-C"}, true},
		} {
			t.Run(mode.name, func(t *testing.T) { w.exchange(t, mode.name, mode.ours, mode.theirs, mode.damaged) })
		}
		t.Run("pyunicore", w.pyunicoreReads)
	})
}

// ours is our client, for the directory in which theirs work.
func (w *pyWorld) ours(t *testing.T, set func(*uftp.Config)) *uftp.Client {
	t.Helper()
	cfg := uftp.Config{
		AuthURL: w.server.AuthURL(), BaseDir: w.server.Dir() + "/base",
		Access: uftp.Access{
			Credential: uftp.UsernamePassword{Username: uftptest.DefaultUserName, Password: uftptest.DefaultUserPassword},
			CABundle:   w.server.CABundle(),
		},
	}
	set(&cfg)
	c, err := uftp.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	return c
}

func (w *pyWorld) exchange(t *testing.T, name string, set func(*uftp.Config), options []string, damaged bool) {
	password := []string{"-u", uftptest.DefaultUserName + ":" + uftptest.DefaultUserPassword}
	cp := func(from, to string) {
		t.Helper()
		w.mustRun("pyuftp", slices.Concat([]string{"cp"}, password, options, []string{from, to})...)
	}
	c := w.ours(t, set)

	if _, err := c.Put(t.Context(), "by us, "+name, bytes.NewReader(w.data)); err != nil {
		t.Fatal(err)
	}
	if !damaged {
		down := filepath.Join(w.home, "down "+name)
		cp(w.url("by us, "+name), down)
		w.mustHave(down, w.data)
	}
	cp(w.upload, w.url("by them, "+name))
	for _, file := range []string{"by us, " + name, "by them, " + name} {
		r, _, err := c.Get(t.Context(), file)
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(r)
		if err != nil || !bytes.Equal(got, w.data) {
			t.Errorf("%s: we read %d bytes, %v", file, len(got), err)
		}
		if err := r.Close(); err != nil {
			t.Error(err)
		}
		w.mustHave(filepath.Join(w.server.Dir(), "base", file), w.data)
	}
}

// pyunicoreReads has PyUNICORE read what we wrote.
func (w *pyWorld) pyunicoreReads(t *testing.T) {
	c := w.ours(t, func(c *uftp.Config) { c.Encryption = uftp.EncryptionAES })
	if _, err := c.WriteAt(t.Context(), "ours", w.data, 0); err != nil {
		t.Fatal(err)
	}
	down := filepath.Join(w.home, "pyunicore")
	script := w.write("read.py", []byte(`
import sys
from pyunicore.credentials import UsernamePassword
from pyunicore.uftp.uftp import UFTP
url, user, password, base, name, to = sys.argv[1:]
uftp = UFTP()
uftp.connect(UsernamePassword(user, password), url, base)
with open(to, "wb") as f, uftp.get_read_socket(name, 0) as s:
    while chunk := s.recv(65536):
        f.write(chunk)
`))
	w.mustRun("python", script, w.server.AuthURL(), uftptest.DefaultUserName, uftptest.DefaultUserPassword,
		w.server.Dir()+"/base", "ours", down)
	got, err := os.ReadFile(down)
	if err != nil || !bytes.Equal(got, w.data) {
		t.Errorf("PyUNICORE reads %d bytes of ours, %v", len(got), err)
	}
}
