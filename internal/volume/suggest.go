package volume

import (
	"fmt"
	"strings"
)

// unknown is the error for a name that is none of known. It never shows the
// value: people put passwords into the wrong place.
func unknown(name string, known []string) error {
	for _, word := range []string{"password", "passwd", "passphrase", "token", "username", "privatekey", "credential", "cacrt"} {
		if strings.Contains(fold(name), word) {
			return fmt.Errorf("%w: unknown attribute %q; credentials belong into a Secret", ErrInvalid, shorten(name))
		}
	}
	if near := nearest(name, known); near != "" {
		return fmt.Errorf("%w: unknown attribute %q; did you mean %q?", ErrInvalid, shorten(name), near)
	}
	return fmt.Errorf("%w: unknown attribute %q; known are %s", ErrInvalid, shorten(name), strings.Join(known, ", "))
}

// nearest returns the known name that was probably meant, or "". Case, '-',
// '_' and '.' do not count, so mount flags and environment style names are understood.
func nearest(name string, known []string) string {
	const longest = 64 // no real name is longer; bounds the work
	if len(name) > longest {
		return ""
	}
	folded := fold(name)
	best, bestDistance := "", 2+len(folded)/3
	for _, k := range known {
		f := fold(k)
		d := distance(folded, f)
		if len(f) >= 4 && strings.Contains(folded, f) || len(folded) >= 4 && strings.Contains(f, folded) {
			d = min(d, 1) // "basePath" means "path", "timeout" one of several
		}
		if d < bestDistance {
			best, bestDistance = k, d
		}
	}
	return best
}

func fold(s string) string {
	return strings.ToLower(strings.NewReplacer("-", "", "_", "", ".", "").Replace(s))
}

// distance is Levenshtein's, in bytes.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost++
			}
			diagonal = row[j+1]
			row[j+1] = min(cost, row[j]+1, diagonal+1)
		}
	}
	return row[len(b)]
}
