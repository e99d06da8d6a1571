package volume

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"path"
	"strconv"
	"strings"
	"unicode/utf8"
)

// maxPath is Linux' PATH_MAX less the terminating NUL.
const maxPath = 4095

// isName reports whether v is a name of at most longest bytes, which begins and
// ends with a letter or digit of ASCII and has beside those only what others
// holds. Host names, and names of Kubernetes' objects where the letters are lower
// case, are such. (As regular expressions they would be a quarter of what an
// idle worker's heap holds.)
func isName(v, others string, longest int) bool {
	if v == "" || len(v) > longest {
		return false
	}
	for i, c := range []byte(v) {
		inner := i > 0 && i < len(v)-1
		switch {
		case '0' <= c && c <= '9', 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z':
		case inner && strings.IndexByte(others, c) >= 0:
		default:
			return false
		}
	}
	return true
}

func isHostName(v string) bool { return isName(v, "._-", 253) }

func isLower(v string) bool { return strings.ToLower(v) == v }

// checkAuthURL does not repeat the URL in its errors: it may hold a password
// that somebody wrote there.
func checkAuthURL(v string) error {
	u, err := url.Parse(v)
	switch {
	case err != nil, strings.ContainsFunc(v, isControl), !utf8.ValidString(v):
		return errors.New("is not a URL such as https://HOST/rest/auth/NAME")
	case u.Scheme != "https":
		return errors.New("must start with https://, because credentials are sent there")
	case u.User != nil:
		return errors.New("must not contain a user name or password; put them into the Secret")
	case u.RawQuery != "" || u.ForceQuery || u.Fragment != "":
		return errors.New("must not contain a query or a fragment")
	case u.Hostname() == "":
		return errors.New("names no host")
	case strings.Trim(u.Path, "/") == "":
		return errors.New("must include the path, which ends in the server's name: https://HOST/rest/auth/NAME")
	}
	return checkPort(u.Port())
}

func checkServer(v string) error {
	host, port, err := net.SplitHostPort(v)
	if err != nil || host == "" || port == "" {
		return errors.New("must be HOST:PORT")
	}
	if _, err := netip.ParseAddr(host); err != nil && !isHostName(host) {
		return errors.New("is not a host name or address with a port")
	}
	return checkPort(port)
}

func checkPort(port string) error {
	if port == "" {
		return nil
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
		return errors.New("has a port that is not from 1 to 65535")
	}
	return nil
}

func checkPath(v string) error {
	switch {
	case len(v) > maxPath:
		return fmt.Errorf("is longer than %d bytes", maxPath)
	case !utf8.ValidString(v):
		return errors.New("is not UTF-8, which the server demands")
	case strings.ContainsAny(v, "\r\n\x00"):
		return errors.New("contains a line break or NUL, which the protocol cannot carry")
	}
	for part := range strings.SplitSeq(v, "/") {
		if part == ".." {
			return errors.New("must not contain \"..\"")
		}
	}
	return nil
}

func checkDirectory(v string) error {
	if len(v) > maxPath || !path.IsAbs(v) || path.Clean(v) != v || strings.ContainsFunc(v, isControl) || !utf8.ValidString(v) {
		return errors.New("must be an absolute path without \"..\", \"//\" or a slash at the end")
	}
	return nil
}

// cleanPath gives equal directories equal names. ".." is left for checkPath to
// refuse: resolving it textually would be wrong behind symbolic links.
func cleanPath(v string) string {
	for part := range strings.SplitSeq(v, "/") {
		if part == ".." {
			return v
		}
	}
	if v == "" {
		return v
	}
	if v = path.Clean(v); v == "." {
		return ""
	}
	return v
}

func checkWord(v string) error {
	if len(v) > 256 || !utf8.ValidString(v) || strings.ContainsFunc(v, isControl) {
		return errors.New("must be at most 256 bytes of UTF-8 without control characters")
	}
	return nil
}

func checkAddresses(v string) error {
	for addr := range strings.SplitSeq(v, ",") {
		addr = strings.TrimSpace(addr)
		if _, err := netip.ParseAddr(addr); err != nil && !isHostName(addr) {
			return errors.New("must be IP addresses or host names, separated by commas")
		}
	}
	return nil
}

func checkSecretName(v string) error {
	if !isName(v, ".-", 253) || !isLower(v) {
		return errors.New("is not the name of a Secret (lower case letters, digits, '-' and '.')")
	}
	return nil
}

func checkNamespace(v string) error {
	if !isName(v, "-", 63) || !isLower(v) {
		return errors.New("is not the name of a namespace (lower case letters, digits and '-')")
	}
	return nil
}

func isControl(r rune) bool { return r < 0x20 || r == 0x7f }
