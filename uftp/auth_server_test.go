package uftp_test

import (
	"crypto"
	"errors"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/csi-uftp/csi-uftp/uftp"
	"github.com/csi-uftp/csi-uftp/uftp/uftptest"
)

// authorizedKey is key's line for authorized_keys.
func authorizedKey(t testing.TB, key crypto.Signer) string {
	t.Helper()
	return string(ssh.MarshalAuthorizedKey(must[ssh.PublicKey](t)(ssh.NewPublicKey(key.Public()))))
}

// TestServerCredentials has the test server judge every kind of credential.
func TestServerCredentials(t *testing.T) {
	keys := testKeys(t)
	user := uftptest.User{
		Name: "demo", Password: "pä:ss wörd", Tokens: []string{"good-token"}, Refresh: []string{"good-refresh"}, UnixUser: "unix",
	}
	for _, key := range keys {
		user.Keys = append(user.Keys, authorizedKey(t, key))
	}
	s := uftptest.Start(t, uftptest.Config{
		Users: []uftptest.User{user, {Name: "norole", Password: "p", NoRole: true}, {Name: "unmapped", Password: "p", Unmapped: true}},
		OAuth: uftptest.OAuthClient{Secret: "a secret+&=", RotateRefresh: true},
	})
	tokenFile := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(tokenFile, []byte("good-token\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("UFTP_TEST_GOOD_TOKEN", "good-token")

	type row struct {
		credential uftp.Credential
		code       int // 0 is success
		method     string
	}
	tests := map[string]row{
		"password":        {uftp.UsernamePassword{Username: "demo", Password: "pä:ss wörd"}, 0, "PASSWORD"},
		"wrong password":  {uftp.UsernamePassword{Username: "demo", Password: "wrong"}, 403, ""},
		"unknown user":    {uftp.UsernamePassword{Username: "nobody", Password: "wrong"}, 403, ""},
		"no role":         {uftp.UsernamePassword{Username: "norole", Password: "p"}, 403, "PASSWORD"},
		"not mapped":      {uftp.UsernamePassword{Username: "unmapped", Password: "p"}, 401, "PASSWORD"},
		"anonymous":       {uftp.Anonymous{}, 403, ""},
		"none":            {nil, 403, ""},
		"token":           {uftp.BearerToken{Token: " good-token\n"}, 0, "OAUTH"},
		"wrong token":     {uftp.BearerToken{Token: "wrong"}, 403, ""},
		"token file":      {uftp.TokenFile{Path: tokenFile}, 0, "OAUTH"},
		"token variable":  {uftp.TokenEnv{Name: "UFTP_TEST_GOOD_TOKEN"}, 0, "OAUTH"},
		"key not known":   {must[*uftp.SSHKey](t)(uftp.NewSSHKey("demo", openSSH(t, testKeys(t)["EdDSA"]), "")), 403, ""},
		"key of somebody": {must[*uftp.SSHKey](t)(uftp.NewSSHKey("norole", openSSH(t, keys["EdDSA"]), "")), 403, ""},
		"refresh token": {&uftp.OAuthRefresh{
			TokenURL: s.TokenURL(), ClientID: "uftptest", ClientSecret: "a secret+&=", RefreshToken: "good-refresh"}, 0, "OAUTH"},
	}
	for alg, key := range keys {
		tests["key "+alg] = row{must[*uftp.SSHKey](t)(uftp.NewSSHKey("demo", openSSH(t, key), "")), 0, "SSHKEY"}
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			r := uftp.AuthRequest{AuthURL: s.AuthURL(), Access: uftp.Access{Credential: tt.credential, CABundle: s.CABundle()}}
			login, err := uftp.Authenticate(t.Context(), r)
			if tt.code != 0 {
				wantError(t, err, uftp.ErrAuth, tt.code, "")
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if len(login.Addresses()) != 1 || login.Password == "" {
				t.Errorf("login at %q, password %d bytes long", login.Addresses(), len(login.Password))
			}
			info, err := uftp.ServerInfo(t.Context(), r)
			if err != nil {
				t.Fatal(err)
			}
			server := info.Servers["TEST"]
			if info.Client.Role != "user" || info.Client.Method != tt.method || server.UID != "unix" || !server.Available() || server.SessionLimit != 16 {
				t.Errorf("client is %+v, server %+v", info.Client, server)
			}
		})
	}
}

// TestServerOAuthRevoked renews twice: for the first use, and after the access
// token was revoked, with the refresh token that came with the first one.
func TestServerOAuthRevoked(t *testing.T) {
	s := uftptest.Start(t, uftptest.Config{
		Users: []uftptest.User{{Name: "demo", Refresh: []string{"r0"}}},
		OAuth: uftptest.OAuthClient{RotateRefresh: true},
	})
	c := &uftp.OAuthRefresh{TokenURL: s.TokenURL(), ClientID: "uftptest", ClientSecret: "uftptest-secret", RefreshToken: "r0"}
	r := uftp.AuthRequest{AuthURL: s.AuthURL(), Access: uftp.Access{Credential: c, CABundle: s.CABundle()}}
	for range 2 {
		for range 2 {
			if _, err := uftp.Authenticate(t.Context(), r); err != nil {
				t.Fatal(err)
			}
		}
		s.RevokeTokens()
	}
	if got := s.AuthStats().Tokens; got != 2 {
		t.Errorf("%d access tokens were asked for, want 2", got)
	}
	c2 := &uftp.OAuthRefresh{TokenURL: s.TokenURL(), ClientID: "uftptest", ClientSecret: "uftptest-secret", RefreshToken: "r0"}
	r.Access.Credential = c2
	_, err := uftp.Authenticate(t.Context(), r)
	wantError(t, err, uftp.ErrAuth, http.StatusBadRequest, "invalid_grant:")
	c2.ClientSecret = "wrong"
	_, err = uftp.Authenticate(t.Context(), r)
	wantError(t, err, uftp.ErrAuth, http.StatusUnauthorized, "invalid_client:")
}

func TestServerRequestFields(t *testing.T) {
	s := uftptest.Start(t, uftptest.Config{Users: []uftptest.User{{Name: "demo", Password: "p", Groups: []string{"users", "project1"}}}})
	r := uftp.AuthRequest{
		AuthURL: s.AuthURL(),
		Access:  uftp.Access{Credential: uftp.UsernamePassword{Username: "demo", Password: "p"}, CABundle: s.CABundle()},
		BaseDir: "/srv/a b", Persistent: true, StreamCount: 2, Compress: true,
		EncryptionKey: slices.Repeat([]byte{7}, 48), EncryptionAlgorithm: "AES",
		Group: "project1", ClientAddress: "10.1.2.3 10.1.2.4", UserPreferences: "uid:demo",
	}
	if _, err := uftp.Authenticate(t.Context(), r); err != nil {
		t.Fatal(err)
	}
	got := s.AuthRequests()[0]
	if got.ServerPath != r.BaseDir || !got.Persistent || got.StreamCount != 2 || !got.Compress ||
		!slices.Equal(got.Key, r.EncryptionKey) || got.Algorithm != "AES" || got.Group != "project1" ||
		!slices.Equal(got.ClientIPs, []string{"10.1.2.3", "10.1.2.4"}) || got.Preferences != r.UserPreferences {
		t.Errorf("the server saw %+v", got)
	}
	r.Group = "wheel"
	_, err := uftp.Authenticate(t.Context(), r)
	if e, ok := errors.AsType[*uftp.Error](err); !ok || e.Code != 400 || !errors.Is(err, fs.ErrInvalid) || e.Msg == "" {
		t.Errorf("error is %v, want fs.ErrInvalid with the server's words", err)
	}
}

// TestServerFailures is how the failures a user meets look, end to end.
func TestServerFailures(t *testing.T) {
	tests := []struct {
		name   string
		change func(*testing.T, *uftptest.Server, *uftp.AuthRequest)
		cause  error
		want   string
	}{
		{"wrong password", func(_ *testing.T, _ *uftptest.Server, r *uftp.AuthRequest) {
			r.Access.Credential = uftp.UsernamePassword{Username: "demo", Password: "wrong"}
		}, uftp.ErrAuth, `wrong, expired or not allowed to use this server: password of "demo"`},
		{"expired token", func(_ *testing.T, s *uftptest.Server, r *uftp.AuthRequest) {
			s.AddToken("demo", "old", time.Now().Add(-time.Hour))
			r.Access.Credential = uftp.BearerToken{Token: "old"}
		}, uftp.ErrAuth, "expired"},
		{"unknown server", func(_ *testing.T, _ *uftptest.Server, r *uftp.AuthRequest) {
			r.AuthURL = strings.Replace(r.AuthURL, "/TEST", "/OTHER", 1)
		}, fs.ErrNotExist, "No such server: 'OTHER'"},
		{"untrusted", func(_ *testing.T, _ *uftptest.Server, r *uftp.AuthRequest) {
			r.Access.CABundle = nil
		}, uftp.ErrUntrusted, "ca.crt / --ca-file"},
		{"session limit", func(t *testing.T, _ *uftptest.Server, r *uftp.AuthRequest) {
			for range 2 {
				if _, err := uftp.Authenticate(t.Context(), *r); err != nil {
					t.Fatal(err)
				}
			}
		}, uftp.ErrBusy, "Too many active sessions"},
		{"server down", func(_ *testing.T, s *uftptest.Server, _ *uftp.AuthRequest) {
			s.AuthFaults().Inject(1, uftptest.AuthFault{Status: http.StatusServiceUnavailable})
		}, uftp.ErrUnavailable, "503"},
		{"unreachable", func(_ *testing.T, s *uftptest.Server, _ *uftp.AuthRequest) {
			_ = s.Close()
		}, uftp.ErrUnavailable, "connection refused"},
		{"connection lost", func(_ *testing.T, s *uftptest.Server, _ *uftp.AuthRequest) {
			s.AuthFaults().Inject(-1, uftptest.AuthFault{Close: true})
		}, uftp.ErrUnavailable, "unavailable"},
		{"stalled", func(_ *testing.T, s *uftptest.Server, r *uftp.AuthRequest) {
			s.AuthFaults().Inject(-1, uftptest.AuthFault{Stall: true})
			r.HTTPTimeout = 50 * time.Millisecond
		}, uftp.ErrUnavailable, "no answer within 50ms"},
		{"old server", func(_ *testing.T, s *uftptest.Server, _ *uftp.AuthRequest) {
			s.AuthFaults().Inject(1, uftptest.AuthFault{Failure: "sorry"})
		}, uftp.ErrUnavailable, "sorry"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := uftptest.Start(t, uftptest.Config{MaxConnections: 2})
			r := uftp.AuthRequest{
				AuthURL: s.AuthURL(),
				Access: uftp.Access{
					Credential: uftp.UsernamePassword{Username: uftptest.DefaultUserName, Password: uftptest.DefaultUserPassword},
					CABundle:   s.CABundle(),
				},
			}
			tt.change(t, s, &r)
			_, err := uftp.Authenticate(t.Context(), r)
			if !errors.Is(err, tt.cause) || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error is %v, want %v with %q", err, tt.cause, tt.want)
			}
		})
	}
}

// TestServerRealLogin asks a real UFTPD for a login, through the test server's
// auth service, and takes its word that one can log in.
func TestServerRealLogin(t *testing.T) {
	uftptest.Each(t, uftptest.Config{}, func(t *testing.T, s *uftptest.Server) {
		login, err := uftp.Authenticate(t.Context(), uftp.AuthRequest{
			AuthURL: s.AuthURL(),
			Access: uftp.Access{
				Credential: uftp.UsernamePassword{Username: uftptest.DefaultUserName, Password: uftptest.DefaultUserPassword},
				CABundle:   s.CABundle(),
			},
		})
		if err != nil {
			t.Fatal(err)
		}
		conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", login.Addresses()[0])
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = conn.Close() }()
		line := make([]byte, 512)
		read := func(want string) {
			t.Helper()
			if n, err := conn.Read(line); err != nil || !strings.HasPrefix(string(line[:n]), want) {
				t.Fatalf("read %q, %v, want %s", line[:n], err, want)
			}
		}
		_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
		read("220")
		_, _ = conn.Write([]byte("USER anonymous\r\n"))
		read("331")
		_, _ = conn.Write([]byte("PASS " + login.Password.Reveal() + "\r\n"))
		read("230")
	})
}
