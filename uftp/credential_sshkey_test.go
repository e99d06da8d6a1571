package uftp_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/asn1"
	"encoding/pem"
	"errors"
	"io/fs"
	"math/big"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"golang.org/x/crypto/ssh"

	"github.com/csi-uftp/csi-uftp/uftp"
)

const testPassphrase = "correct horse battery staple"

func must[T any](t testing.TB) func(T, error) T {
	t.Helper()
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

// rsaTestKey is made once: with the race detector it takes a second.
var rsaTestKey = sync.OnceValues(func() (*rsa.PrivateKey, error) { return rsa.GenerateKey(rand.Reader, 2048) })

// testKeys makes a key of each supported type.
func testKeys(t testing.TB) map[string]crypto.Signer {
	t.Helper()
	_, ed, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	newEC := func(c elliptic.Curve) crypto.Signer {
		return must[*ecdsa.PrivateKey](t)(ecdsa.GenerateKey(c, rand.Reader))
	}
	return map[string]crypto.Signer{
		"RS256": must[*rsa.PrivateKey](t)(rsaTestKey()),
		"EdDSA": ed,
		"ES256": newEC(elliptic.P256()),
		"ES384": newEC(elliptic.P384()),
		"ES512": newEC(elliptic.P521()),
	}
}

func openSSH(t testing.TB, key crypto.PrivateKey) uftp.Secret {
	t.Helper()
	return uftp.Secret(pem.EncodeToMemory(must[*pem.Block](t)(ssh.MarshalPrivateKey(key, "comment"))))
}

func pemText(kind string, der []byte) uftp.Secret {
	return uftp.Secret(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}))
}

// bearer returns the token that c puts into a request.
func bearer(t testing.TB, c uftp.Credential) string {
	t.Helper()
	token, err := tryBearer(t, c)
	if err != nil {
		t.Fatal(err)
	}
	return token
}

func tryBearer(t testing.TB, c uftp.Credential) (string, error) {
	t.Helper()
	req := must[*http.Request](t)(http.NewRequestWithContext(t.Context(), http.MethodPost, "https://auth.invalid", nil))
	if err := c.Authorize(t.Context(), req); err != nil {
		return "", err
	}
	token, ok := strings.CutPrefix(req.Header.Get("Authorization"), "Bearer ")
	if !ok {
		t.Fatal("no bearer token in the Authorization header")
	}
	return token, nil
}

// checkJWT verifies token as the auth service does.
func checkJWT(t testing.TB, token string, public crypto.PublicKey, alg, user string) *jwt.RegisteredClaims {
	t.Helper()
	claims := &jwt.RegisteredClaims{}
	parsed, err := jwt.ParseWithClaims(token, claims, func(*jwt.Token) (any, error) { return public, nil },
		jwt.WithValidMethods([]string{alg}), jwt.WithExpirationRequired(), jwt.WithSubject(user), jwt.WithIssuer(user),
		jwt.WithLeeway(time.Minute))
	if err != nil {
		t.Fatalf("%s token: %v", alg, err)
	}
	if got := parsed.Header["typ"]; got != "JWT" {
		t.Errorf("typ = %v, want JWT", got)
	}
	if life := claims.ExpiresAt.Sub(claims.IssuedAt.Time); life != 300*time.Second {
		t.Errorf("token lives %v, want 300s", life)
	}
	if len(claims.Audience) != 0 {
		t.Errorf("token has an audience: %v", claims.Audience)
	}
	return claims
}

func TestSSHKeyFormats(t *testing.T) {
	keys := testKeys(t)
	for alg, key := range keys {
		forms := map[string]struct{ text, passphrase uftp.Secret }{}
		add := func(name string, text, passphrase uftp.Secret) {
			forms[name] = struct{ text, passphrase uftp.Secret }{text, passphrase}
		}
		add("OpenSSH", openSSH(t, key), "")
		add("OpenSSH, needless passphrase", openSSH(t, key), testPassphrase)
		add("indented with CRLF", uftp.Secret("  "+strings.ReplaceAll(openSSH(t, key).Reveal(), "\n", "\r\n    ")), "")
		add("no newline at the end", uftp.Secret(strings.TrimSpace(openSSH(t, key).Reveal())), "")
		add("PKCS8", pemText("PRIVATE KEY", must[[]byte](t)(x509.MarshalPKCS8PrivateKey(key))), "")
		old := func(name, kind string, der []byte) {
			add(name, pemText(kind, der), "")
			//nolint:staticcheck // insecure, but people have such keys
			block := must[*pem.Block](t)(x509.EncryptPEMBlock(rand.Reader, kind, der, []byte(testPassphrase), x509.PEMCipherAES128))
			add(name+" encrypted", uftp.Secret(pem.EncodeToMemory(block)), testPassphrase)
		}
		switch key := key.(type) {
		case *rsa.PrivateKey:
			old("PKCS1", "RSA PRIVATE KEY", x509.MarshalPKCS1PrivateKey(key))
		case *ecdsa.PrivateKey:
			old("SEC1", "EC PRIVATE KEY", must[[]byte](t)(x509.MarshalECPrivateKey(key)))
		}
		for name, form := range forms {
			t.Run(alg+"/"+name, func(t *testing.T) {
				c, err := uftp.NewSSHKey("demo", form.text, form.passphrase)
				if err != nil {
					t.Fatal(err)
				}
				checkJWT(t, bearer(t, c), key.Public(), alg, "demo")
				public := must[ssh.PublicKey](t)(ssh.NewPublicKey(key.Public()))
				if want := `SSH key ` + ssh.FingerprintSHA256(public) + ` of "demo"`; c.String() != want {
					t.Errorf("String() = %s, want %s", c, want)
				}
				if strings.HasSuffix(name, "encrypted") {
					checkEncrypted(t, form.text)
				}
			})
		}
	}
}

// checkEncrypted has no passphrase for a key, and a wrong one.
func checkEncrypted(t testing.TB, key uftp.Secret) {
	t.Helper()
	_, err := uftp.NewSSHKey("demo", key, "")
	checkInvalid(t, err, "the key is encrypted: give its passphrase")
	_, err = uftp.NewSSHKey("demo", key, "wrong")
	checkInvalid(t, err, "the passphrase of the private key is wrong")
}

// TestSSHKeyOpenSSHEncrypted has a key of one KDF round ("ssh-keygen -a 1"): the
// usual 16 take seconds under the race detector.
func TestSSHKeyOpenSSHEncrypted(t *testing.T) {
	private := uftp.Secret(must[[]byte](t)(os.ReadFile("testdata/encrypted_ed25519")))
	public, _, _, _, err := ssh.ParseAuthorizedKey(must[[]byte](t)(os.ReadFile("testdata/encrypted_ed25519.pub")))
	if err != nil {
		t.Fatal(err)
	}
	c, err := uftp.NewSSHKey("demo", private, testPassphrase)
	if err != nil {
		t.Fatal(err)
	}
	checkJWT(t, bearer(t, c), public.(ssh.CryptoPublicKey).CryptoPublicKey(), "EdDSA", "demo")
	checkEncrypted(t, private)
}

func checkInvalid(t testing.TB, err error, want string) {
	t.Helper()
	if !errors.Is(err, fs.ErrInvalid) || !strings.Contains(err.Error(), want) {
		t.Errorf("error is %v, want fs.ErrInvalid with %q", err, want)
	}
}

// TestSSHKeyFromTools reads what ssh-keygen and openssl write.
func TestSSHKeyFromTools(t *testing.T) {
	tests := []struct {
		name, alg string
		argv      []string // FILE and PASS are replaced; -a 1 makes the KDF fast
	}{
		{"ssh-keygen OpenSSH", "EdDSA", []string{"ssh-keygen", "-q", "-a", "1", "-t", "ed25519", "-N", "PASS", "-f", "FILE"}},
		{"ssh-keygen aes256-cbc", "ES384", []string{"ssh-keygen", "-q", "-a", "1", "-t", "ecdsa", "-b", "384", "-Z", "aes256-cbc", "-N", "PASS", "-f", "FILE"}},
		{"ssh-keygen RSA", "RS256", []string{"ssh-keygen", "-q", "-a", "1", "-t", "rsa", "-b", "2048", "-N", "PASS", "-f", "FILE"}},
		{"ssh-keygen PEM", "RS256", []string{"ssh-keygen", "-q", "-t", "rsa", "-b", "2048", "-m", "PEM", "-N", "PASS", "-f", "FILE"}},
		{"ssh-keygen PKCS8", "ES512", []string{"ssh-keygen", "-q", "-t", "ecdsa", "-b", "521", "-m", "PKCS8", "-N", "PASS", "-f", "FILE"}},
		{"openssl aes256", "RS256", []string{"openssl", "genpkey", "-quiet", "-algorithm", "RSA", "-aes256", "-pass", "pass:PASS", "-out", "FILE"}},
		{"openssl des3", "ES256", []string{"openssl", "genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-des3", "-pass", "pass:PASS", "-out", "FILE"}},
		{"openssl ed25519", "EdDSA", []string{"openssl", "genpkey", "-algorithm", "ED25519", "-aes-192-cbc", "-pass", "pass:PASS", "-out", "FILE"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if _, err := exec.LookPath(tt.argv[0]); err != nil {
				t.Skipf("%s is not installed", tt.argv[0])
			}
			file := filepath.Join(t.TempDir(), "key")
			argv := strings.NewReplacer("FILE", file, "PASS", testPassphrase)
			args := make([]string, 0, len(tt.argv))
			for _, a := range tt.argv[1:] {
				args = append(args, argv.Replace(a))
			}
			if out, err := exec.CommandContext(t.Context(), tt.argv[0], args...).CombinedOutput(); err != nil {
				t.Skipf("%s: %v: %s", tt.argv[0], err, out)
			}
			text := uftp.Secret(must[[]byte](t)(os.ReadFile(file)))
			c, err := uftp.NewSSHKey("demo", text, testPassphrase)
			if err != nil {
				t.Fatalf("%v in a file of type %q", err, strings.SplitN(text.Reveal(), "\n", 2)[0])
			}
			token, _, err := jwt.NewParser().ParseUnverified(bearer(t, c), jwt.MapClaims{})
			if err != nil || token.Method.Alg() != tt.alg {
				t.Errorf("token signed with %v, %v, want %s", token.Method, err, tt.alg)
			}
			_, err = uftp.NewSSHKey("demo", text, "")
			checkInvalid(t, err, "the key is encrypted: give its passphrase")
			_, err = uftp.NewSSHKey("demo", text, "wrong")
			checkInvalid(t, err, "wrong")
		})
	}
}

// openSSHFile is a key file of any type, as far as it must be right to be told
// from others.
func openSSHFile(keyType string) uftp.Secret {
	public := ssh.Marshal(struct{ Type, Data string }{keyType, "public"})
	private := append(ssh.Marshal(struct {
		Check1, Check2 uint32
		Type, Data     string
	}{1, 1, keyType, "MARK"}), 1, 2, 3, 4)
	file := ssh.Marshal(struct {
		Cipher, KDF, Options string
		Keys                 uint32
		Public, Private      []byte
	}{"none", "none", "", 1, public, private})
	return pemText("OPENSSH PRIVATE KEY", append([]byte("openssh-key-v1\x00"), file...))
}

func TestSSHKeyRefused(t *testing.T) {
	ed := openSSH(t, testKeys(t)["EdDSA"]).Reveal()
	p224 := must[*ecdsa.PrivateKey](t)(ecdsa.GenerateKey(elliptic.P224(), rand.Reader))
	five := big.NewInt(5)
	dsaDER := must[[]byte](t)(asn1.Marshal(struct {
		Version         int
		P, Q, G, Y, Key *big.Int
	}{0, five, five, five, five, five}))
	tests := []struct{ name, key, want string }{
		{"empty", " \n", "is empty"},
		{"not a key", "secret MARK", "must start with -----BEGIN"},
		{"PuTTY", "PuTTY-User-Key-File-3: ssh-ed25519\nEncryption: none\n", "puttygen"},
		{"ssh.com", "---- BEGIN SSH2 ENCRYPTED PRIVATE KEY ----\nMARK\n", "ssh-keygen -i"},
		{"public key", "ssh-ed25519 AAAAC3 MARK", "this is a public key"},
		{"public PEM", pemText("PUBLIC KEY", []byte("MARK")).Reveal(), "this is a public key"},
		{"certificate", pemText("CERTIFICATE", []byte("MARK")).Reveal(), "this is a certificate"},
		{"DSA in PEM", pemText("DSA PRIVATE KEY", dsaDER).Reveal(), "DSA keys cannot be used"},
		{"DSA in PEM, damaged", pemText("DSA PRIVATE KEY", []byte("MARK")).Reveal(), "DSA keys cannot be used"},
		{"DSA in OpenSSH", openSSHFile("ssh-dss").Reveal(), "DSA keys cannot be used"},
		{"security token", openSSHFile("sk-ssh-ed25519@openssh.com").Reveal(), "security token"},
		{"unknown type", openSSHFile("ssh-MARK").Reveal(), "damaged or of a type"},
		{"P-224", pemText("PRIVATE KEY", must[[]byte](t)(x509.MarshalPKCS8PrivateKey(p224))).Reveal(), "P-224"},
		{"other PEM", pemText("MARK", []byte("MARK")).Reveal(), "not a private key"},
		{"cut", ed[:len(ed)/2], "with all its lines"},
		{"damaged", pemText("RSA PRIVATE KEY", []byte("MARK")).Reveal(), "damaged"},
		{"damaged PKCS8", pemText("ENCRYPTED PRIVATE KEY", []byte("MARK")).Reveal(), "damaged"},
		{"huge", strings.Repeat("MARK", 1<<15), "larger than"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := uftp.NewSSHKey("demo", uftp.Secret(tt.key), testPassphrase)
			checkInvalid(t, err, tt.want)
			if strings.Contains(err.Error(), "MARK") {
				t.Errorf("error quotes the key: %v", err)
			}
		})
	}
	for _, user := range []string{"", "a\nb", "\xff"} {
		_, err := uftp.NewSSHKey(user, uftp.Secret(ed), "")
		checkInvalid(t, err, "user name")
	}
}

func TestSSHKeyTokenIsKeptForHalfItsLife(t *testing.T) {
	key := testKeys(t)["ES256"] // its signatures differ each time
	synctest.Test(t, func(t *testing.T) {
		c := must[*uftp.SSHKey](t)(uftp.NewSSHKey("demo", openSSH(t, key), ""))
		first := bearer(t, c)
		time.Sleep(149 * time.Second)
		if bearer(t, c) != first {
			t.Error("a new token after 149 s, want the old one")
		}
		time.Sleep(time.Second)
		second := bearer(t, c)
		if second == first {
			t.Error("the old token after 150 s, want a new one")
		}
		if claims := checkJWT(t, second, key.Public(), "ES256", "demo"); !claims.IssuedAt.Equal(time.Now()) {
			t.Errorf("token issued at %v, now is %v", claims.IssuedAt, time.Now())
		}
	})
}

func TestSSHKeyConcurrently(t *testing.T) {
	key := testKeys(t)["ES256"]
	c := must[*uftp.SSHKey](t)(uftp.NewSSHKey("demo", openSSH(t, key), ""))
	tokens := make([]string, 16)
	var wg sync.WaitGroup
	for i := range tokens {
		wg.Go(func() { tokens[i] = bearer(t, c) })
	}
	wg.Wait()
	for _, token := range tokens {
		if token != tokens[0] {
			t.Fatal("different tokens at the same time")
		}
	}
}
