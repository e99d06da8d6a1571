package uftptest

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"golang.org/x/crypto/ssh"
)

// jwtLeeway is the clock skew that the UNICORE server's JWT library tolerates.
const jwtLeeway = time.Minute

// claims are the claims of a JWT that a user or this service signed. The
// strings "true" and "false" are what UNICORE uses for booleans here.
type claims struct {
	jwt.RegisteredClaims
	Delegation  string `json:"etd,omitempty"`
	Renewable   string `json:"renewable,omitempty"`
	UID         string `json:"uid,omitempty"`
	Preferences string `json:"preferences,omitempty"`
}

// parseClaims reads a token without believing it. It fails for opaque tokens.
func parseClaims(token string) (*claims, error) {
	var c claims
	_, _, err := jwt.NewParser().ParseUnverified(token, &c)
	return &c, err
}

// verifyJWT checks the signature of token with key, and its times and audience.
func verifyJWT(token string, key any, audience string) error {
	methods, err := signingMethods(key)
	if err != nil {
		return err
	}
	var c claims
	_, err = jwt.ParseWithClaims(token, &c, func(*jwt.Token) (any, error) { return key, nil },
		jwt.WithValidMethods(methods), jwt.WithExpirationRequired(), jwt.WithLeeway(jwtLeeway))
	if err != nil {
		return err
	}
	// The audience is optional, but must be this service if there is one.
	if len(c.Audience) > 0 && !slices.Contains(c.Audience, audience) {
		return jwt.ErrTokenInvalidAudience
	}
	return nil
}

// signingMethods are the JWS algorithms that a key verifies. For ECDSA it is the
// one of the curve, whatever the token's header would like.
func signingMethods(key any) ([]string, error) {
	switch k := key.(type) {
	case *rsa.PublicKey:
		return []string{"RS256", "RS384", "RS512"}, nil
	case ed25519.PublicKey:
		return []string{"EdDSA"}, nil
	case *ecdsa.PublicKey:
		switch k.Curve.Params().BitSize {
		case 256:
			return []string{"ES256"}, nil
		case 384:
			return []string{"ES384"}, nil
		case 521:
			return []string{"ES512"}, nil
		}
	}
	return nil, fmt.Errorf("no signing method for %T", key)
}

// verifyWithSSHKeys tries the keys of some authorized_keys lines in turn. Lines
// that are no key are skipped.
func verifyWithSSHKeys(token string, lines []string, audience string) error {
	err := errors.New("no key")
	for _, line := range lines {
		key, _, _, _, parseErr := ssh.ParseAuthorizedKey([]byte(line))
		if parseErr != nil {
			continue
		}
		ck, ok := key.(ssh.CryptoPublicKey)
		if !ok {
			continue
		}
		if err = verifyJWT(token, ck.CryptoPublicKey(), audience); err == nil {
			return nil
		}
	}
	return err
}

// tokenRequest says what token to issue.
type tokenRequest struct {
	lifetime    time.Duration
	renewable   bool
	limited     bool // valid at this service only
	preferences string
}

// issueToken signs a token that stands for u.
func (c *certificates) issueToken(u User, r tokenRequest) (string, error) {
	now := time.Now()
	claims := claims{
		RegisteredClaims: jwt.RegisteredClaims{
			Subject:   u.dn(),
			Issuer:    c.dn(),
			IssuedAt:  jwt.NewNumericDate(now),
			ExpiresAt: jwt.NewNumericDate(now.Add(r.lifetime)),
		},
		Delegation:  "true",
		UID:         u.UnixUser,
		Preferences: r.preferences,
	}
	if r.renewable {
		claims.Renewable = "true"
	}
	if r.limited {
		claims.Audience = jwt.ClaimStrings{c.dn()}
	}
	return jwt.NewWithClaims(jwt.SigningMethodES256, claims).SignedString(c.key)
}

// IssueToken signs a token for a user as the auth service's token endpoint does.
// A negative lifetime makes one that has expired; clocks that differ by up to a
// minute are tolerated.
func (s *Server) IssueToken(user string, lifetime time.Duration) (string, error) {
	u, ok := s.auth.users.user(user)
	if !ok {
		return "", fmt.Errorf("uftptest: no user %q", user)
	}
	return s.auth.certs.issueToken(u, tokenRequest{lifetime: lifetime})
}
