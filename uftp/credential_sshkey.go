package uftp

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/x509"
	"fmt"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"golang.org/x/crypto/ssh"
)

// jwtLifetime is what all clients ask for; the server sets no bound.
const jwtLifetime = 300 * time.Second

// SSHKey is an SSH key pair whose public half the auth service knows for the
// user, usually from ~/.ssh/authorized_keys on the UFTPD server. (The service
// remembers these files for 10 minutes.) It proves itself with a JWT that lives
// 5 minutes, which is signed anew after half of that. Make one with [NewSSHKey].
type SSHKey struct {
	username    string
	key         crypto.Signer
	der         []byte // the key as PKCS#8, not encrypted
	method      jwt.SigningMethod
	fingerprint string // of the public key, as ssh-keygen -l shows it

	mu     sync.Mutex // guards what follows
	token  Secret
	issued time.Time // wall clock; zero if there is no token
}

// NewSSHKey reads a private key in OpenSSH or PEM (PKCS#1, PKCS#8, SEC 1)
// format: RSA, Ed25519, or ECDSA on P-256, P-384 or P-521. passphrase is empty
// or decrypts it. Errors are fs.ErrInvalid and say what to do.
func NewSSHKey(username string, privateKey, passphrase Secret) (*SSHKey, error) {
	if err := checkUsername(username); err != nil {
		return nil, err
	}
	key, err := parsePrivateKey([]byte(privateKey), []byte(passphrase))
	if err != nil {
		return nil, err
	}
	return newSSHKey(username, key)
}

func newSSHKey(username string, key crypto.Signer) (*SSHKey, error) {
	method, err := signingMethod(key)
	if err != nil {
		return nil, err
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, invalidAuthf("the private key is damaged")
	}
	public, err := ssh.NewPublicKey(key.Public())
	if err != nil {
		return nil, invalidAuthf("the private key is damaged")
	}
	c := &SSHKey{username: username, key: key, der: der, method: method, fingerprint: ssh.FingerprintSHA256(public)}
	// Keys that are read but cannot sign, like RSA ones that are too short,
	// are found here and not when the first volume is mounted.
	if _, err := c.sign(time.Now()); err != nil {
		return nil, err
	}
	return c, nil
}

// signingMethod chooses the algorithm as the server's verifier does: by the
// kind of key and, for ECDSA, by its curve.
func signingMethod(key crypto.Signer) (jwt.SigningMethod, error) {
	switch key := key.(type) {
	case *rsa.PrivateKey:
		return jwt.SigningMethodRS256, nil
	case ed25519.PrivateKey:
		return jwt.SigningMethodEdDSA, nil
	case *ecdsa.PrivateKey:
		switch key.Curve.Params().BitSize {
		case 256:
			return jwt.SigningMethodES256, nil
		case 384:
			return jwt.SigningMethodES384, nil
		case 521:
			return jwt.SigningMethodES512, nil
		}
		return nil, invalidAuthf("ECDSA keys on curve %s cannot be used, P-256, P-384 and P-521 can", key.Curve.Params().Name)
	}
	return nil, invalidAuthf("this type of private key cannot be used; %s", makeNewKey)
}

// Authorize implements [Credential].
func (c *SSHKey) Authorize(_ context.Context, req *http.Request) error {
	token, err := c.current()
	if err != nil {
		return err
	}
	return setBearer(req, token, "the signed token")
}

// current returns a token with at least half its life before it. The lock is
// held while signing: that is some milliseconds of work, not waiting.
func (c *SSHKey) current() (Secret, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	// The server judges by wall clocks, which a suspended machine or a
	// corrected clock moves and Go's monotonic clock does not.
	now := time.Now().Round(0)
	if age := now.Sub(c.issued); c.token != "" && age >= 0 && age < jwtLifetime/2 {
		return c.token, nil
	}
	token, err := c.sign(now)
	if err != nil {
		return "", err
	}
	c.token, c.issued = token, now
	return token, nil
}

func (c *SSHKey) sign(now time.Time) (Secret, error) {
	token := jwt.NewWithClaims(c.method, jwt.RegisteredClaims{
		Issuer:    c.username,
		Subject:   c.username,
		IssuedAt:  jwt.NewNumericDate(now),
		ExpiresAt: jwt.NewNumericDate(now.Add(jwtLifetime)),
	})
	text, err := token.SignedString(c.key)
	if err != nil {
		return "", invalidAuthf("the private key cannot sign; %s", makeNewKey)
	}
	return Secret(text), nil
}

// String implements [Credential]. It shows the public key's fingerprint, to be
// compared with the output of ssh-keygen -l.
func (c *SSHKey) String() string {
	return fmt.Sprintf("SSH key %s of %q", c.fingerprint, c.username)
}

// Format implements [fmt.Formatter].
func (c *SSHKey) Format(f fmt.State, _ rune) { printSafely(f, c) }

// LogValue implements [slog.LogValuer].
func (c *SSHKey) LogValue() slog.Value { return slog.StringValue(c.String()) }

func (c *SSHKey) seal() (string, map[string][]byte) {
	return "ssh-key", map[string][]byte{"username": []byte(c.username), "key": c.der}
}

func unsealSSHKey(f *sealedFields) (Credential, error) {
	username, der := f.text("username"), f.secret("key")
	if err := f.check(); err != nil {
		return nil, err
	}
	key, err := x509.ParsePKCS8PrivateKey([]byte(der))
	if err != nil {
		return nil, invalidAuthf("the private key is damaged")
	}
	signer, ok := key.(crypto.Signer)
	if !ok {
		return nil, invalidAuthf("this type of private key cannot be used")
	}
	c, err := newSSHKey(username, signer)
	if err != nil {
		return nil, err
	}
	return c, nil
}
