package uftp_test

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/pem"
	"errors"
	"fmt"
	"log"
	"os"

	"golang.org/x/crypto/ssh"

	"github.com/csi-uftp/csi-uftp/uftp"
	"github.com/csi-uftp/csi-uftp/uftp/uftptest"
)

// exampleServer is a server for the examples, with the user "demo".
func exampleServer(user uftptest.User) (*uftptest.Server, func()) {
	dir, err := os.MkdirTemp("", "uftp-example-")
	if err != nil {
		log.Fatal(err)
	}
	server, err := uftptest.New(uftptest.Config{Dir: dir, Users: []uftptest.User{user}})
	if err != nil {
		log.Fatal(err)
	}
	return server, func() {
		_ = server.Close()
		_ = os.RemoveAll(dir)
	}
}

// A password, or whatever the credential is, becomes the address of a file
// server and a one-time password.
func ExampleAuthenticate() {
	server, cleanup := exampleServer(uftptest.DefaultUser())
	defer cleanup()

	login, err := uftp.Authenticate(context.Background(), uftp.AuthRequest{
		AuthURL: server.AuthURL(), // https://HOST:PORT/rest/auth/NAME
		Access: uftp.Access{
			Credential: uftp.UsernamePassword{Username: "demo", Password: "demo-password"},
			CABundle:   server.CABundle(),
		},
		BaseDir:    "/data",
		Persistent: true, // for more than one session
	})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(login.Host, len(login.Password.Reveal()), login.Password)
	// Output: 127.0.0.1 20 [redacted]
}

// Errors are told apart with errors.Is; their text is fit to be shown.
func ExampleAuthenticate_errors() {
	server, cleanup := exampleServer(uftptest.DefaultUser())
	defer cleanup()

	request := uftp.AuthRequest{
		AuthURL: server.AuthURL(),
		Access: uftp.Access{
			Credential: uftp.UsernamePassword{Username: "demo", Password: "guess"},
			CABundle:   server.CABundle(),
		},
	}
	_, err := uftp.Authenticate(context.Background(), request)
	fmt.Println(errors.Is(err, uftp.ErrAuth), errors.Unwrap(err))

	request.Access.CABundle = nil
	_, err = uftp.Authenticate(context.Background(), request)
	fmt.Println(errors.Is(err, uftp.ErrUntrusted), errors.Unwrap(err))
	// Output:
	// true not authenticated: wrong, expired or not allowed to use this server: password of "demo"
	// true unavailable: certificate not trusted: give the CA that signed it as ca.crt / --ca-file
}

// Anybody may ask an auth service about its servers; who authenticates learns
// more.
func ExampleServerInfo() {
	server, cleanup := exampleServer(uftptest.DefaultUser())
	defer cleanup()

	info, err := uftp.ServerInfo(context.Background(), uftp.AuthRequest{
		AuthURL: server.AuthURL(),
		Access: uftp.Access{
			Credential: uftp.UsernamePassword{Username: "demo", Password: "demo-password"},
			CABundle:   server.CABundle(),
		},
	})
	if err != nil {
		log.Fatal(err)
	}
	for name, s := range info.Servers {
		fmt.Println(name, s.Available(), s.UID, s.SessionLimit)
	}
	fmt.Println(info.Client.Role)
	// Output:
	// TEST true demo 16
	// user
}

// An SSH key works where the server has the public half in the user's
// authorized_keys.
func ExampleNewSSHKey() {
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		log.Fatal(err)
	}
	line, err := ssh.NewPublicKey(public)
	if err != nil {
		log.Fatal(err)
	}
	block, err := ssh.MarshalPrivateKey(private, "")
	if err != nil {
		log.Fatal(err)
	}
	server, cleanup := exampleServer(uftptest.User{Name: "demo", Keys: []string{string(ssh.MarshalAuthorizedKey(line))}})
	defer cleanup()

	key, err := uftp.NewSSHKey("demo", uftp.Secret(pem.EncodeToMemory(block)), "")
	if err != nil {
		log.Fatal(err)
	}
	_, err = uftp.Authenticate(context.Background(), uftp.AuthRequest{
		AuthURL: server.AuthURL(),
		Access:  uftp.Access{Credential: key, CABundle: server.CABundle()},
	})
	fmt.Println(err)
	// Output: <nil>
}

// A refresh token gets access tokens as they are needed.
func ExampleOAuthRefresh() {
	server, cleanup := exampleServer(uftptest.User{Name: "demo", Refresh: []string{"refresh-token"}})
	defer cleanup()

	_, err := uftp.Authenticate(context.Background(), uftp.AuthRequest{
		AuthURL: server.AuthURL(),
		Access: uftp.Access{
			Credential: &uftp.OAuthRefresh{
				TokenURL: server.TokenURL(), ClientID: "uftptest", ClientSecret: "uftptest-secret", RefreshToken: "refresh-token",
			},
			CABundle: server.CABundle(),
		},
	})
	fmt.Println(err)
	// Output: <nil>
}

// What a program needs to act for somebody can be handed to another process,
// and compared without being seen.
func ExampleMarshalAccess() {
	access := uftp.Access{Credential: uftp.BearerToken{Token: "secret"}}
	sealed, err := uftp.MarshalAccess(access) // in plain text: for sealed memory only
	if err != nil {
		log.Fatal(err)
	}
	copied, err := uftp.UnmarshalAccess(sealed)
	if err != nil {
		log.Fatal(err)
	}
	key := []byte("random, kept for the process's life")
	fmt.Println(copied, copied.Fingerprint(key) == access.Fingerprint(key))
	// Output: bearer token true
}
