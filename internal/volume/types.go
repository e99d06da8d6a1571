package volume

import (
	"errors"
	"fmt"
	"math/bits"
	"slices"
	"strconv"
	"strings"
	"time"
)

const (
	typeBool = "yes or no"
	maxID    = 1<<32 - 2 // (uid_t)-1 means "no change" to chown(2) and is no user
)

// text is a string that check accepts; the empty string is always accepted and
// means unset.
func text(name, allowed string, check func(string) error, field func(*Spec) *string, help string) Attribute {
	return Attribute{
		Name: name, Type: "text", Allowed: allowed, Help: help,
		set: func(s *Spec, v string) error {
			if v != "" {
				if err := check(v); err != nil {
					return err
				}
			}
			*field(s) = v
			return nil
		},
		get: func(s Spec) string { return *field(&s) },
	}
}

func choice(name, def string, choices []string, field func(*Spec) *string, help string) Attribute {
	allowed := strings.Join(choices, ", ")
	return Attribute{
		Name: name, Type: "choice", Default: def, Allowed: allowed, Help: help,
		set: func(s *Spec, v string) error {
			if !slices.Contains(choices, v) {
				return errors.New("must be one of " + allowed)
			}
			*field(s) = v
			return nil
		},
		get: func(s Spec) string { return *field(&s) },
	}
}

func boolean(name string, field func(*Spec) *bool, help string) Attribute {
	return Attribute{
		Name: name, Type: typeBool, Default: "false", Allowed: "true, false", Help: help,
		set: func(s *Spec, v string) error {
			b, err := strconv.ParseBool(v)
			if err != nil {
				return errors.New("must be true or false")
			}
			*field(s) = b
			return nil
		},
		get: func(s Spec) string { return strconv.FormatBool(*field(&s)) },
	}
}

func number(name, def string, lo, hi uint32, field func(*Spec) *uint32, help string) Attribute {
	allowed := fmt.Sprintf("%d to %d", lo, hi)
	return Attribute{
		Name: name, Type: "number", Default: def, Allowed: allowed, Help: help,
		set: func(s *Spec, v string) error {
			n, err := strconv.ParseUint(v, 10, 32)
			if err != nil || uint32(n) < lo || uint32(n) > hi {
				return errors.New("must be a whole number from " + allowed)
			}
			*field(s) = uint32(n)
			return nil
		},
		get: func(s Spec) string { return strconv.FormatUint(uint64(*field(&s)), 10) },
	}
}

func count(name, def string, lo, hi int, field func(*Spec) *int, help string) Attribute {
	allowed := fmt.Sprintf("%d to %d", lo, hi)
	return Attribute{
		Name: name, Type: "number", Default: def, Allowed: allowed, Help: help,
		set: func(s *Spec, v string) error {
			n, err := strconv.Atoi(v)
			if err != nil || n < lo || n > hi {
				return errors.New("must be a whole number from " + allowed)
			}
			*field(s) = n
			return nil
		},
		get: func(s Spec) string { return strconv.Itoa(*field(&s)) },
	}
}

// mode is permission bits in octal, with or without a leading 0 or 0o.
func mode(name string, field func(*Spec) *uint32, help string) Attribute {
	return Attribute{
		Name: name, Type: "octal mode", Default: "0", Allowed: "0 to 0777", Help: help,
		set: func(s *Spec, v string) error {
			n, err := strconv.ParseUint(strings.TrimPrefix(v, "0o"), 8, 32)
			if err != nil || n > 0o777 {
				return errors.New("must be permission bits in octal, 0 to 0777")
			}
			*field(s) = uint32(n)
			return nil
		},
		get: func(s Spec) string { return fmt.Sprintf("%#o", *field(&s)) },
	}
}

func duration(name, def string, lo, hi time.Duration, field func(*Spec) *time.Duration, help string) Attribute {
	allowed := formatDuration(lo) + " to " + formatDuration(hi)
	return Attribute{
		Name: name, Type: "duration", Default: def, Allowed: allowed, Help: help,
		set: func(s *Spec, v string) error {
			d, err := time.ParseDuration(v)
			if err != nil || d < lo || d > hi {
				return fmt.Errorf("must be a duration from %s, such as 500ms, 90s or 5m", allowed)
			}
			*field(s) = d
			return nil
		},
		get: func(s Spec) string { return formatDuration(*field(&s)) },
	}
}

// formatDuration is [time.Duration.String] without zero minutes and seconds:
// "5m" for "5m0s".
func formatDuration(d time.Duration) string {
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}

func size(name, def string, lo, hi int64, field func(*Spec) *int64, help string) Attribute {
	allowed := FormatSize(lo) + " to " + FormatSize(hi)
	return Attribute{
		Name: name, Type: "size", Default: def, Allowed: allowed, Help: help,
		set: func(s *Spec, v string) error {
			n, err := ParseSize(v)
			if err != nil || n < lo || n > hi {
				return fmt.Errorf("must be a size from %s, such as 256Mi, 1Gi or plain bytes", allowed)
			}
			*field(s) = n
			return nil
		},
		get: func(s Spec) string { return FormatSize(*field(&s)) },
	}
}

// The suffixes of sizes, in steps of 1024; Kubernetes writes them the same way.
const sizeSuffixes = "KMGTPE"

// ParseSize reads a number of bytes: "256Mi", "1Gi", "4096". Decimal suffixes
// (M, G) are refused, because half of those who write them mean Mi and Gi.
func ParseSize(v string) (int64, error) {
	digits, shift := v, 0
	if rest, ok := strings.CutSuffix(v, "i"); ok && rest != "" {
		if i := strings.IndexByte(sizeSuffixes, rest[len(rest)-1]); i >= 0 {
			digits, shift = rest[:len(rest)-1], 10*(i+1)
		}
	}
	n, err := strconv.ParseUint(digits, 10, 63)
	if err != nil || bits.Len64(n)+shift > 63 {
		return 0, fmt.Errorf("%q is not a size such as 256Mi, 1Gi or 4096", v)
	}
	return int64(n) << shift, nil
}

// FormatSize writes n bytes as [ParseSize] reads them, exactly, with the largest
// suffix that leaves a whole number.
func FormatSize(n int64) string {
	if n <= 0 {
		return strconv.FormatInt(n, 10)
	}
	step := min(bits.TrailingZeros64(uint64(n))/10, len(sizeSuffixes))
	if step == 0 {
		return strconv.FormatInt(n, 10)
	}
	return strconv.FormatInt(n>>(10*step), 10) + sizeSuffixes[step-1:step] + "i"
}
