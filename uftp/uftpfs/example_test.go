package uftpfs_test

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/crypto/ssh"

	"github.com/csi-uftp/csi-uftp/uftp"
	"github.com/csi-uftp/csi-uftp/uftp/uftpfs"
	"github.com/csi-uftp/csi-uftp/uftp/uftptest"
)

// exampleServer is a server with a directory "data" and a file in it.
func exampleServer(user uftptest.User) (server *uftptest.Server, cleanup func()) {
	dir, err := os.MkdirTemp("", "example-*")
	if err != nil {
		log.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(dir, "data"), 0o700); err != nil {
		log.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "data", "hello.txt"), []byte("Hello, world!\n"), 0o600); err != nil {
		log.Fatal(err)
	}
	server, err = uftptest.New(uftptest.Config{Dir: dir, Users: []uftptest.User{user}})
	if err != nil {
		log.Fatal(err)
	}
	return server, func() {
		if err := errors.Join(server.Close(), os.RemoveAll(dir)); err != nil {
			log.Fatal(err)
		}
	}
}

// address is the server's part of a URL: localhost:9000/rest/auth/TEST.
func address(server *uftptest.Server) string {
	return strings.TrimPrefix(server.AuthURL(), "https://")
}

// A session with user name and password, as PyUNICORE's UFTP().connect opens it.
func ExampleNew() {
	server, cleanup := exampleServer(uftptest.User{Name: "demouser", Password: "test123"})
	defer cleanup()
	ctx := context.Background()

	client, err := uftp.New(uftp.Config{
		AuthURL: server.AuthURL(), // https://localhost:9000/rest/auth/TEST
		BaseDir: server.Dir() + "/data",
		Access: uftp.Access{
			Credential: uftp.UsernamePassword{Username: "demouser", Password: "test123"},
			CABundle:   server.CABundle(), // for a server whose CA the system does not know
		},
	})
	if err != nil {
		log.Fatal(err)
	}
	defer func() { _ = client.Close() }()
	if err := client.Connect(ctx); err != nil {
		log.Fatal(err)
	}
	files := uftpfs.New(ctx, client)
	data, err := files.ReadFile("hello.txt")
	fmt.Printf("%q %v\n", data, err)
	// Output: "Hello, world!\n" <nil>
}

// PyFilesystem's open_fs("uftp://demouser:test123@localhost:9000/rest/auth/TEST:/data").
func ExampleOpenURL() {
	server, cleanup := exampleServer(uftptest.User{Name: "demouser", Password: "test123"})
	defer cleanup()

	url := "uftp://demouser:test123@" + address(server) + ":" + server.Dir() + "/data"
	files, err := uftpfs.OpenURL(context.Background(), url, uftpfs.Options{CABundle: server.CABundle()})
	if err != nil {
		log.Fatal(err)
	}
	defer func() { _ = files.Close() }()

	if err := files.WriteFile("notes/today.txt", []byte("x"), 0o644); err != nil {
		fmt.Println("no directory yet:", errors.Is(err, fs.ErrNotExist))
	}
	if err := files.MkdirAll("notes", 0o755); err != nil {
		log.Fatal(err)
	}
	if err := files.WriteFile("notes/today.txt", []byte("x"), 0o644); err != nil {
		log.Fatal(err)
	}
	if err := fs.WalkDir(files, ".", func(name string, _ fs.DirEntry, err error) error {
		fmt.Println(name)
		return err
	}); err != nil {
		log.Fatal(err)
	}
	// Output:
	// no directory yet: true
	// .
	// hello.txt
	// notes
	// notes/today.txt
}

// The URL names a private key with "identity"; its passphrase is the password. A
// relative name is one in ~/.uftp.
func ExampleOpenURL_key() {
	keyFile, line := exampleKey("passphrase")
	defer func() { _ = os.Remove(keyFile) }()
	server, cleanup := exampleServer(uftptest.User{Name: "demouser", Keys: []string{line}})
	defer cleanup()

	url := "uftp://demouser:passphrase@" + address(server) + ":data?identity=" + keyFile
	files, err := uftpfs.OpenURL(context.Background(), url, uftpfs.Options{CABundle: server.CABundle()})
	if err != nil {
		log.Fatal(err)
	}
	defer func() { _ = files.Close() }()
	entries, err := files.ReadDir(".")
	fmt.Println(entries, err)
	// Output: [- hello.txt] <nil>
}

// The URL holds a bearer token, or says where it is: @FILE, @@VARIABLE.
func ExampleOpenURL_token() {
	server, cleanup := exampleServer(uftptest.User{Name: "demouser", Tokens: []string{"the-token"}})
	defer cleanup()

	for _, token := range []string{"the-token", "another"} {
		url := "uftp://" + address(server) + ":data?token=" + token
		files, err := uftpfs.OpenURL(context.Background(), url, uftpfs.Options{CABundle: server.CABundle()})
		fmt.Println(errors.Is(err, uftp.ErrAuth))
		if err == nil {
			_ = files.Close()
		}
	}
	// Output:
	// false
	// true
}

// In two steps, as PyUNICORE mounts: authenticate here, and log in with the
// one-time password somewhere else. (To mount with it, run csi-uftp mount with
// --server HOST:PORT and the password in UFTP_PASSWORD.)
func ExampleNew_twoSteps() {
	server, cleanup := exampleServer(uftptest.User{Name: "demouser", Password: "test123"})
	defer cleanup()
	ctx := context.Background()

	login, err := uftp.Authenticate(ctx, uftp.AuthRequest{
		AuthURL: server.AuthURL(), BaseDir: server.Dir() + "/data", Persistent: true,
		Access: uftp.Access{
			Credential: uftp.UsernamePassword{Username: "demouser", Password: "test123"},
			CABundle:   server.CABundle(),
		},
	})
	if err != nil {
		log.Fatal(err)
	}
	client, err := uftp.New(uftp.Config{Login: &login})
	if err != nil {
		log.Fatal(err)
	}
	defer func() { _ = client.Close() }()
	data, err := uftpfs.New(ctx, client).ReadFile("hello.txt")
	fmt.Printf("%q %v\n", data, err)
	// Output: "Hello, world!\n" <nil>
}

// Files can be read and written anywhere, at any time.
func ExampleFS_OpenFile() {
	server, cleanup := exampleServer(uftptest.User{Name: "demouser", Password: "test123"})
	defer cleanup()

	url := "uftp://demouser:test123@" + address(server) + ":data"
	files, err := uftpfs.OpenURL(context.Background(), url, uftpfs.Options{CABundle: server.CABundle()})
	if err != nil {
		log.Fatal(err)
	}
	defer func() { _ = files.Close() }()

	file, err := files.OpenFile("hello.txt", os.O_RDWR, 0)
	if err != nil {
		log.Fatal(err)
	}
	if _, err := file.WriteAt([]byte("UFTP!"), 7); err != nil {
		log.Fatal(err)
	}
	if _, err := file.Seek(0, io.SeekStart); err != nil {
		log.Fatal(err)
	}
	data, err := io.ReadAll(file)
	fmt.Printf("%q %v %v\n", data, err, file.Close())
	// Output: "Hello, UFTP!!\n" <nil> <nil>
}

// exampleKey makes a key file and its line for authorized_keys.
func exampleKey(passphrase string) (file, line string) {
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		log.Fatal(err)
	}
	block, err := ssh.MarshalPrivateKeyWithPassphrase(private, "", []byte(passphrase))
	if err != nil {
		log.Fatal(err)
	}
	authorized, err := ssh.NewPublicKey(public)
	if err != nil {
		log.Fatal(err)
	}
	f, err := os.CreateTemp("", "id_ed25519-*")
	if err != nil {
		log.Fatal(err)
	}
	if _, err := f.Write(pem.EncodeToMemory(block)); err != nil {
		log.Fatal(err)
	}
	if err := f.Close(); err != nil {
		log.Fatal(err)
	}
	return f.Name(), string(ssh.MarshalAuthorizedKey(authorized))
}
