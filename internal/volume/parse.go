package volume

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Default returns the Spec of a volume of which nothing is known: every
// attribute's default. It is not valid before AuthURL or Server is set.
func Default() Spec {
	var s Spec
	for _, a := range Attributes() {
		if err := a.set(&s, a.Default); err != nil {
			panic("volume: the default of " + a.Name + " " + err.Error()) // the tests see every row
		}
	}
	return s
}

// Parse reads a volume's attributes by the table. What is not given has its
// default; what Kubernetes adds (see [Foreign]) is passed over. Every error
// wraps [ErrInvalid] and names the attribute.
func Parse(attributes map[string]string) (Spec, error) {
	s := Default()
	if err := Apply(&s, attributes); err != nil {
		return Spec{}, err
	}
	if err := s.Validate(); err != nil {
		return Spec{}, err
	}
	return s, nil
}

// Apply sets the given attributes in s and leaves the others alone. It does not
// look at how they go together: that is Validate's job, after the last of them.
func Apply(s *Spec, attributes map[string]string) error {
	for _, name := range slices.Sorted(maps.Keys(attributes)) { // the same error each time
		if Foreign(name) {
			continue
		}
		a, err := Lookup(name)
		if err != nil {
			return err
		}
		if err := a.Set(s, attributes[name]); err != nil {
			return err
		}
	}
	return nil
}

// Lookup returns the attribute of this name. The error for an unknown one names
// the nearest.
func Lookup(name string) (Attribute, error) {
	table := Attributes()
	names := make([]string, len(table))
	for i, a := range table {
		if a.Name == name {
			return a, nil
		}
		names[i] = a.Name
	}
	return Attribute{}, unknown(name, names)
}

// Foreign reports whether a key in a volume's attributes is Kubernetes' own:
// pod information, service account tokens, the provisioner's identity.
func Foreign(name string) bool {
	return strings.HasPrefix(name, "csi.storage.k8s.io/") || strings.HasPrefix(name, "storage.kubernetes.io/")
}

// Validate checks what no attribute can check alone.
func (s Spec) Validate() error {
	switch {
	case s.AuthURL == "" && s.Server == "":
		return fmt.Errorf("%w: authURL is missing: give the auth service's URL, https://HOST/rest/auth/NAME", ErrInvalid)
	case s.AuthURL != "" && s.Server != "":
		return fmt.Errorf("%w: authURL and server exclude each other: give one of them", ErrInvalid)
	case s.BlockSize <= 0 || s.BlockSize&(s.BlockSize-1) != 0:
		return fmt.Errorf("%w: blockSize %q is not a power of two", ErrInvalid, FormatSize(s.BlockSize))
	case s.BlockSize > s.CacheSize:
		return fmt.Errorf("%w: blockSize %q is larger than cacheSize %q", ErrInvalid, FormatSize(s.BlockSize), FormatSize(s.CacheSize))
	case s.Encrypted() && s.Streams > 1:
		return fmt.Errorf("%w: encryption and streams do not go together: servers lose bytes then", ErrInvalid)
	case s.Encrypted() && s.Server != "":
		return fmt.Errorf("%w: encryption needs authURL: its key belongs to the authentication", ErrInvalid)
	case s.CacheDir != "" && s.Server != "":
		return fmt.Errorf("%w: cacheDir needs authURL: without the auth service nobody knows whose data it would be", ErrInvalid)
	case (s.SecretName == "") != (s.SecretNamespace == ""):
		return fmt.Errorf("%w: secretName and secretNamespace go together: give both or none", ErrInvalid)
	}
	return nil
}

// Encrypted reports whether data connections are.
func (s Spec) Encrypted() bool { return s.Encryption != "" && s.Encryption != "none" }

// Differences returns the attributes that s and o do not agree on.
func (s Spec) Differences(o Spec) []Attribute {
	return slices.DeleteFunc(Attributes(), func(a Attribute) bool { return a.Get(s) == a.Get(o) })
}

func invalidValue(a Attribute, value string, err error) error {
	if a.Name == "authURL" { // may hold a password
		return fmt.Errorf("%w: authURL %w", ErrInvalid, err)
	}
	return fmt.Errorf("%w: %s %q %w", ErrInvalid, a.Name, shorten(value), err)
}

// shorten keeps messages readable, and within what gRPC headers carry.
func shorten(v string) string {
	const most = 200
	if len(v) <= most {
		return v
	}
	return v[:most] + "…"
}
