package uftp

import (
	"fmt"
	"io"
	"log/slog"
)

const redacted = "[redacted]"

// Secret is a string that must not be seen: a password, a token, a private key.
// However it is printed, logged or marshalled, it says "[redacted]"; only
// [Secret.Reveal] gives the text.
type Secret string

// Reveal returns the secret's text. Callers hand it to the peer it is meant for
// and to nothing else.
func (s Secret) Reveal() string { return string(s) }

// Format implements [fmt.Formatter]: some verbs, like %d, pass String by.
func (s Secret) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, redacted) }

// String implements [fmt.Stringer].
func (s Secret) String() string { return redacted }

// GoString implements [fmt.GoStringer].
func (s Secret) GoString() string { return redacted }

// LogValue implements [slog.LogValuer].
func (s Secret) LogValue() slog.Value { return slog.StringValue(redacted) }

// MarshalText implements [encoding.TextMarshaler], so that JSON and YAML
// encoders do not leak the secret either.
func (s Secret) MarshalText() ([]byte, error) { return []byte(redacted), nil }
