package secrets

import (
	"context"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"

	"github.com/csi-uftp/csi-uftp/internal/volume"
	"github.com/csi-uftp/csi-uftp/uftp"
)

// FromMap reads the keys and values of a Secret. Its errors wrap
// [volume.ErrSecret] and name keys, never values.
func FromMap(secret map[string]string) (uftp.Access, error) {
	v, unknown := known(secret)
	access := uftp.Access{}
	m, err := choose(v, unknown)
	if err == nil {
		access.Credential, err = m.make(v)
	}
	if err == nil {
		err = usable(access.Credential)
	}
	if err == nil && v.has(keyCA) {
		access.CABundle, err = parseCA(v.text(keyCA))
	}
	if err != nil {
		return uftp.Access{}, fmt.Errorf("%w: %w", volume.ErrSecret, err)
	}
	return access, nil
}

// known separates the keys of the table from others. Kubernetes' own keys are
// neither.
func known(secret map[string]string) (values, []string) {
	v, unknown := values{}, []string{}
	names := []string{keyCA}
	for _, m := range methods() {
		names = append(names, m.selector)
		names = append(append(names, m.required...), m.optional...)
	}
	for _, key := range slices.Sorted(maps.Keys(secret)) {
		switch {
		case slices.Contains(names, key):
			v[key] = trim(secret[key])
		case !volume.Foreign(key):
			unknown = append(unknown, key)
		}
	}
	return v, unknown
}

// choose finds the one method whose keys are there.
func choose(v values, unknown []string) (method, error) {
	var chosen []method
	var selectors []string
	for _, m := range methods() {
		if v.has(m.selector) {
			chosen, selectors = append(chosen, m), append(selectors, m.selector)
		}
	}
	switch len(chosen) {
	case 0:
		return method{}, none(v, unknown)
	case 1:
	default:
		return method{}, fmt.Errorf("keys %s exclude each other: keep one of them", list(`"`, selectors))
	}
	m := chosen[0]
	for _, key := range append([]string{m.selector}, m.required...) {
		if !v.has(key) {
			return method{}, fmt.Errorf("key %q is missing: it goes with %q", key, m.selector)
		}
		if v.text(key) == "" {
			return method{}, fmt.Errorf("key %q is empty", key)
		}
	}
	for _, key := range slices.Sorted(maps.Keys(v)) {
		if key != m.selector && key != keyCA && !slices.Contains(m.required, key) && !slices.Contains(m.optional, key) {
			return method{}, fmt.Errorf("key %q does not go with %q: remove one of them", key, m.selector)
		}
	}
	return m, nil
}

// none is the error for a Secret that selects no method.
func none(v values, unknown []string) error {
	var sets []string
	for _, m := range methods() {
		sets = append(sets, strings.Join(append(m.required, m.selector), "+"))
	}
	msg := "no credential: give the keys " + strings.Join(sets, " or ")
	if len(v) > 0 {
		msg += "; there is " + list(`"`, slices.Sorted(maps.Keys(v)))
	}
	if len(unknown) > 0 {
		const most = 10
		msg += "; not known are the keys " + list(`"`, unknown[:min(len(unknown), most)])
	}
	return errors.New(msg)
}

// usable finds out now, and not at the first mount, what the credential's own
// checks say about user names and tokens. Those that would need the network for
// it are not asked.
func usable(c uftp.Credential) error {
	switch c.(type) {
	case uftp.UsernamePassword, uftp.BearerToken:
		return c.Authorize(context.Background(), &http.Request{Header: http.Header{}}) // uses no context: no network
	}
	return nil
}

// parseCA checks that data is certificates and nothing else.
func parseCA(data string) ([]byte, error) {
	rest, n := []byte(data), 0
	for {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			break
		}
		if block.Type != "CERTIFICATE" {
			return nil, fmt.Errorf("key %q holds something else than certificates", keyCA)
		}
		if _, err := x509.ParseCertificate(block.Bytes); err != nil {
			return nil, fmt.Errorf("key %q: certificate %d is damaged", keyCA, n+1)
		}
		n++
	}
	if n == 0 {
		return nil, fmt.Errorf("key %q holds no certificate in PEM format", keyCA)
	}
	return []byte(data), nil
}
