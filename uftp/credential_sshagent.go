package uftp

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/agent"
)

// SSHAgent is an SSH key pair whose private half an SSH agent holds: the agent
// signs what an [SSHKey] signs itself. It cannot be handed to another process.
type SSHAgent struct {
	// Username is the user's name on the server.
	Username string
	// Socket is the agent's UNIX socket, as $SSH_AUTH_SOCK has it.
	Socket string
	// PublicKey chooses among the agent's keys: a line as in authorized_keys or a
	// .pub file. If it is empty, it is the first key that the auth service
	// understands.
	PublicKey string
}

// Authorize implements [Credential].
func (c SSHAgent) Authorize(ctx context.Context, req *http.Request) error {
	if err := checkUsername(c.Username); err != nil {
		return err
	}
	conn, err := dialAgent(ctx, c.Socket, "SSH agent")
	if err != nil {
		return err
	}
	defer conn.close()
	token, err := c.sign(agent.NewClient(conn), time.Now())
	if err != nil {
		return errors.Join(err, ctx.Err())
	}
	return setBearer(req, token, "the signed token")
}

// sign has the agent sign a token.
func (c SSHAgent) sign(a agent.ExtendedAgent, now time.Time) (Secret, error) {
	key, method, err := c.choose(a)
	if err != nil {
		return "", err
	}
	token := jwt.NewWithClaims(method, jwt.RegisteredClaims{
		Issuer:    c.Username,
		Subject:   c.Username,
		IssuedAt:  jwt.NewNumericDate(now),
		ExpiresAt: jwt.NewNumericDate(now.Add(jwtLifetime)),
	})
	text, err := token.SigningString()
	if err != nil {
		return "", fmt.Errorf("%w: %v", ErrAuth, err) //nolint:errorlint // the cause is ours
	}
	var flags agent.SignatureFlags
	if key.Type() == ssh.KeyAlgoRSA {
		flags = agent.SignatureFlagRsaSha256
	}
	signature, err := a.SignWithFlags(key, []byte(text), flags)
	if err != nil {
		return "", fmt.Errorf("%w: the SSH agent does not sign: %v", ErrAuth, err) //nolint:errorlint // see above
	}
	raw, err := rawSignature(signature)
	if err != nil {
		return "", err
	}
	return Secret(text + "." + token.EncodeSegment(raw)), nil
}

// choose finds the key to sign with, and its algorithm.
func (c SSHAgent) choose(a agent.Agent) (ssh.PublicKey, jwt.SigningMethod, error) {
	var wanted ssh.PublicKey
	if c.PublicKey != "" {
		var err error
		if wanted, _, _, _, err = ssh.ParseAuthorizedKey([]byte(c.PublicKey)); err != nil {
			return nil, nil, invalidAuthf("this is not a public SSH key")
		}
	}
	keys, err := a.List()
	if err != nil {
		return nil, nil, fmt.Errorf("%w: the SSH agent does not list its keys: %v", ErrAuth, err) //nolint:errorlint // not for callers
	}
	for _, key := range keys {
		method := agentMethod(key.Type())
		if wanted != nil && string(wanted.Marshal()) != string(key.Marshal()) || method == nil {
			continue
		}
		public, err := ssh.ParsePublicKey(key.Marshal())
		if err == nil {
			return public, method, nil
		}
	}
	if wanted != nil {
		return nil, nil, fmt.Errorf("%w: the SSH agent does not hold the key %s", ErrAuth, ssh.FingerprintSHA256(wanted))
	}
	return nil, nil, fmt.Errorf("%w: the SSH agent holds no usable key; try ssh-add", ErrAuth)
}

// agentMethod returns the algorithm for a type of key, nil if there is none.
func agentMethod(keyType string) jwt.SigningMethod {
	switch keyType {
	case ssh.KeyAlgoRSA:
		return jwt.SigningMethodRS256
	case ssh.KeyAlgoED25519:
		return jwt.SigningMethodEdDSA
	case ssh.KeyAlgoECDSA256:
		return jwt.SigningMethodES256
	case ssh.KeyAlgoECDSA384:
		return jwt.SigningMethodES384
	case ssh.KeyAlgoECDSA521:
		return jwt.SigningMethodES512
	}
	return nil
}

// rawSignature is a signature as JWTs have it: that of SSH, but for ECDSA the
// two numbers in fixed length.
func rawSignature(s *ssh.Signature) ([]byte, error) {
	var size int
	switch s.Format {
	case ssh.KeyAlgoRSASHA256, ssh.KeyAlgoED25519:
		return s.Blob, nil
	case ssh.KeyAlgoECDSA256:
		size = 32
	case ssh.KeyAlgoECDSA384:
		size = 48
	case ssh.KeyAlgoECDSA521:
		size = 66
	default:
		return nil, fmt.Errorf("%w: the SSH agent signs with %q, which the auth service does not take", ErrAuth, s.Format)
	}
	raw := make([]byte, 2*size)
	blob := s.Blob
	for _, half := range [][]byte{raw[:size], raw[size:]} {
		n, rest, ok := mpint(blob)
		if !ok || n.Sign() < 0 || n.BitLen() > 8*size {
			return nil, fmt.Errorf("%w: the SSH agent's signature is damaged", ErrAuth)
		}
		n.FillBytes(half)
		blob = rest
	}
	return raw, nil
}

// mpint reads a number as RFC 4251 has it.
func mpint(b []byte) (n *big.Int, rest []byte, ok bool) {
	if len(b) < 4 {
		return nil, nil, false
	}
	length := uint64(binary.BigEndian.Uint32(b))
	b = b[4:]
	if length > uint64(len(b)) {
		return nil, nil, false
	}
	return new(big.Int).SetBytes(b[:length]), b[length:], true
}

// agentConn is a connection to an agent that ends with a context.
type agentConn struct {
	net.Conn
	stop func() bool
}

func (c agentConn) close() {
	c.stop()
	_ = c.Close()
}

// dialAgent connects to the UNIX socket of an agent.
func dialAgent(ctx context.Context, socket, what string) (agentConn, error) {
	if socket == "" {
		return agentConn{}, fmt.Errorf("%w: there is no %s", ErrAuth, what)
	}
	var d net.Dialer
	conn, err := d.DialContext(ctx, "unix", socket)
	if err != nil {
		if opErr, ok := errors.AsType[*net.OpError](err); ok {
			err = opErr.Err
		}
		return agentConn{}, fmt.Errorf("%w: %s at %s: %v", ErrAuth, what, socket, err) //nolint:errorlint // its kind would read as the server's
	}
	return agentConn{conn, context.AfterFunc(ctx, func() { _ = conn.Close() })}, nil
}

// String implements [Credential].
func (c SSHAgent) String() string {
	which := "a key"
	if key, _, _, _, err := ssh.ParseAuthorizedKey([]byte(c.PublicKey)); err == nil {
		which = "key " + ssh.FingerprintSHA256(key)
	}
	return fmt.Sprintf("%s in the SSH agent of %q", which, strings.ToValidUTF8(c.Username, "?"))
}

// LogValue implements [slog.LogValuer].
func (c SSHAgent) LogValue() slog.Value { return slog.StringValue(c.String()) }
