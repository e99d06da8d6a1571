package secrets

import (
	"errors"
	"fmt"
	"net/url"
	"strings"

	"github.com/csi-uftp/csi-uftp/uftp"
)

// The keys of a Secret.
const (
	keyUsername     = "username"
	keyPassword     = "password"
	keyPrivateKey   = "privateKey"
	keyPassphrase   = "passphrase"
	keyToken        = "token"
	keyRefreshToken = "refreshToken"
	keyTokenURL     = "tokenURL"
	keyClientID     = "clientID"
	keyClientSecret = "clientSecret"
	keyAnonymous    = "anonymous"
	keyCA           = "ca.crt"
)

// method is one way to be somebody at the auth service: one row of the table.
type method struct {
	selector string   // the key that only this method has, and always
	required []string // further keys
	optional []string
	help     string
	make     func(values) (uftp.Credential, error)
}

// methods is the table. There is one credential kind of package uftp for each.
func methods() []method {
	return []method{
		{
			selector: keyPassword, required: []string{keyUsername},
			help: "User name and password at the auth service.",
			make: func(v values) (uftp.Credential, error) {
				return uftp.UsernamePassword{Username: v.text(keyUsername), Password: v.secret(keyPassword)}, nil
			},
		},
		{
			selector: keyPrivateKey, required: []string{keyUsername}, optional: []string{keyPassphrase},
			help: "SSH key in OpenSSH or PEM format (RSA, ECDSA, Ed25519), whose public half the server knows for the user; the passphrase if it is encrypted.",
			make: func(v values) (uftp.Credential, error) {
				key, err := uftp.NewSSHKey(v.text(keyUsername), v.secret(keyPrivateKey), v.secret(keyPassphrase))
				if err != nil {
					return nil, fmt.Errorf("key %q: %w", keyPrivateKey, err)
				}
				return key, nil // not key, err: a nil *SSHKey is no nil Credential
			},
		},
		{
			selector: keyToken,
			help:     "Access token of an identity provider, or of the auth service. It is used as it is until the Secret changes.",
			make: func(v values) (uftp.Credential, error) {
				return uftp.BearerToken{Token: v.secret(keyToken)}, nil
			},
		},
		{
			selector: keyRefreshToken, required: []string{keyTokenURL, keyClientID}, optional: []string{keyClientSecret},
			help: "OAuth 2.0 refresh token with the token endpoint (https) and client it belongs to; access tokens are fetched as needed.",
			make: func(v values) (uftp.Credential, error) {
				if u, err := url.Parse(v.text(keyTokenURL)); err != nil || u.Scheme != "https" || u.Hostname() == "" {
					return nil, fmt.Errorf("key %q is not an https URL", keyTokenURL)
				}
				return &uftp.OAuthRefresh{
					TokenURL: v.text(keyTokenURL), ClientID: v.text(keyClientID),
					ClientSecret: v.secret(keyClientSecret), RefreshToken: v.secret(keyRefreshToken),
				}, nil
			},
		},
		{
			selector: keyAnonymous,
			help:     "`true`: no credential at all, for what is shared with everybody (an `authURL` with `/rest/access/NAME`).",
			make: func(v values) (uftp.Credential, error) {
				if v.text(keyAnonymous) != "true" {
					return nil, errors.New(`key "anonymous" must be true, or absent`)
				}
				return uftp.Anonymous{}, nil
			},
		},
	}
}

// values are a Secret's, of known keys only, without line ends.
type values map[string]string

func (v values) text(key string) string        { return v[key] }
func (v values) secret(key string) uftp.Secret { return uftp.Secret(v[key]) }

func (v values) has(key string) bool {
	_, ok := v[key]
	return ok
}

// trim removes the line end that `kubectl create secret --from-file` takes over
// from files and that nobody wants in a password. Blanks may be part of one.
func trim(v string) string { return strings.TrimRight(v, "\r\n") }

// Markdown returns the table of keys as it stands in docs/PARAMETERS.md.
func Markdown() string {
	var b strings.Builder
	b.WriteString("| keys | optional | meaning |\n|---|---|---|\n")
	for _, m := range methods() {
		fmt.Fprintf(&b, "| %s | %s | %s |\n", list("`", append(m.required, m.selector)), list("`", m.optional), m.help)
	}
	fmt.Fprintf(&b, "| | `%s` | Certificates (PEM) of the CA that the auth service's certificate must come from, instead of the system's; with any of the above. |\n", keyCA)
	b.WriteString("\nExactly one of these sets must be there. Line ends at the end of values are cut off, because files have them; " +
		"blanks are not. Keys beyond these do no harm next to a set, but if there is no set, they are named in the error, because one may be a typing error.\n")
	return b.String()
}

// list writes keys between quotes, separated by commas.
func list(quote string, keys []string) string {
	quoted := make([]string, len(keys))
	for i, k := range keys {
		quoted[i] = quote + k + quote
	}
	return strings.Join(quoted, ", ")
}
