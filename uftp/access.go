package uftp

import (
	"bytes"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
)

// Access is what a Secret gives: who to be and whom to trust.
//
// It prints without its secrets, but package fmt calls no methods on unexported
// fields: a type that keeps an Access in one needs a Format method of its own.
type Access struct {
	// Credential is who to be; nil is [Anonymous].
	Credential Credential
	// CABundle holds PEM certificates. If it is not empty, the auth service's
	// certificate must come from one of them, and the system's roots do not
	// count; if it is, the system's roots do.
	CABundle []byte
}

func (a Access) credential() Credential {
	if a.Credential == nil {
		return Anonymous{}
	}
	return a.Credential
}

// String says whose access it is, without secrets.
func (a Access) String() string {
	if len(a.CABundle) == 0 {
		return a.credential().String()
	}
	return a.credential().String() + " with a CA bundle"
}

// Format implements [fmt.Formatter].
func (a Access) Format(f fmt.State, _ rune) { printSafely(f, a) }

// LogValue implements [slog.LogValuer].
func (a Access) LogValue() slog.Value { return slog.StringValue(a.String()) }

// accessVersion is the version of the format of MarshalAccess. A format that an
// older program would misread gets a new one.
const accessVersion = 1

// sealedAccess is the format of MarshalAccess. Its byte fields travel as
// Base64, so that a secret comes back byte for byte whatever is in it.
type sealedAccess struct {
	Version  int               `json:"version"`
	Kind     string            `json:"kind"`
	Identity map[string][]byte `json:"identity,omitempty"`
	Learned  map[string][]byte `json:"learned,omitempty"`
	CABundle []byte            `json:"caBundle,omitempty"`
}

// credentialKinds leads from a sealer's kind back to the credential.
var credentialKinds = map[string]func(*sealedFields) (Credential, error){ //nolint:gochecknoglobals // a table
	"anonymous":     unsealAnonymous,
	"oauth-refresh": unsealOAuthRefresh,
	"password":      unsealUsernamePassword,
	"ssh-key":       unsealSSHKey,
	"token":         unsealBearerToken,
	"token-env":     unsealTokenEnv,
	"token-file":    unsealTokenFile,
}

// MarshalAccess writes a down, the secrets in plain text, for a process of our
// own that must act for the same person. The bytes belong into sealed memory or
// a socket to that process and nowhere else. A Credential from outside this
// package is errors.ErrUnsupported.
func MarshalAccess(a Access) ([]byte, error) {
	c, ok := a.credential().(sealer)
	if !ok {
		return nil, fmt.Errorf("marshal access: credential of type %T: %w", a.Credential, errors.ErrUnsupported)
	}
	s := sealedAccess{Version: accessVersion, CABundle: a.CABundle}
	s.Kind, s.Identity = c.seal()
	if l, ok := c.(learner); ok {
		s.Learned = l.sealLearned()
	}
	return json.Marshal(s)
}

// UnmarshalAccess reads what [MarshalAccess] of the same version wrote, and
// refuses everything else with an error that quotes nothing of it.
func UnmarshalAccess(data []byte) (Access, error) {
	var s sealedAccess
	if err := json.Unmarshal(data, &s); err != nil {
		return Access{}, errors.New("unmarshal access: not what MarshalAccess writes")
	}
	if s.Version != accessVersion {
		return Access{}, fmt.Errorf("unmarshal access: version %d, this program knows version %d only", s.Version, accessVersion)
	}
	unseal, ok := credentialKinds[s.Kind]
	if !ok {
		return Access{}, errors.New("unmarshal access: unknown kind of credential")
	}
	c, err := unseal(&sealedFields{identity: s.Identity, learned: s.Learned})
	if err != nil {
		return Access{}, fmt.Errorf("unmarshal access: %w", err)
	}
	a := Access{Credential: c, CABundle: s.CABundle}
	if len(a.CABundle) == 0 {
		a.CABundle = nil
	}
	// There is one way to write each access. This refuses, in one stroke,
	// unknown and doubled names, other spellings, white space and surplus data.
	if again, err := MarshalAccess(a); err != nil || !bytes.Equal(again, data) {
		return Access{}, errors.New("unmarshal access: not what MarshalAccess writes")
	}
	return a, nil
}

// Fingerprint is a keyed hash (HMAC-SHA256, in hex) of a, equal for equal
// credentials and CA bundles and only for these. What a credential learned in
// use, like a renewed refresh token, does not count; a TokenFile or TokenEnv is
// its name, not the token there. A Credential from outside this package is
// equal to nothing, not even to itself.
func (a Access) Fingerprint(key []byte) string {
	mac := hmac.New(sha256.New, key)
	c, ok := a.credential().(sealer)
	if !ok {
		mac.Write([]byte(rand.Text()))
		return hex.EncodeToString(mac.Sum(nil))
	}
	s := sealedAccess{Version: accessVersion, CABundle: a.CABundle}
	s.Kind, s.Identity = c.seal()
	// Encoding cannot fail: the struct holds nothing but numbers, text and bytes.
	_ = json.NewEncoder(mac).Encode(s)
	return hex.EncodeToString(mac.Sum(nil))
}

// sealedFields hands the fields of a sealedAccess to an unseal function.
type sealedFields struct {
	identity, learned map[string][]byte
	missing           bool
}

func (f *sealedFields) secret(name string) Secret {
	v, ok := f.identity[name]
	f.missing = f.missing || !ok
	return Secret(v)
}

func (f *sealedFields) text(name string) string { return f.secret(name).Reveal() }

// check reports whether a field was missing; surplus fields are found by
// UnmarshalAccess.
func (f *sealedFields) check() error {
	if f.missing {
		return errors.New("a field is missing")
	}
	return nil
}
