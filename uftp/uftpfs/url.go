package uftpfs

import (
	"fmt"
	"io/fs"
	"maps"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/csi-uftp/csi-uftp/uftp"
)

// URL is a parsed uftp:// URL. Its secrets print as "[redacted]".
type URL struct {
	// AuthURL is the endpoint of the auth service: https://host:port/…/rest/auth/NAME.
	AuthURL string
	// Path is what follows the colon: absolute, or relative to the user's home,
	// which is what "" means. It may hold any character, colons too.
	Path string

	// User is the user's name, "" if the URL has none.
	User string
	// Password is the user's password, or the passphrase of the key that
	// Identity names.
	Password uftp.Secret
	// Token is a bearer token; at most one of the three token fields is set.
	Token uftp.Secret
	// TokenFile is a file to read the token from (token=@FILE).
	TokenFile string
	// TokenEnv is an environment variable that holds the token (token=@@NAME).
	TokenEnv string
	// Identity is a private key file; a relative one lies in ~/.uftp.
	Identity string

	// Attributes are the other query keys: volume attributes, not yet checked.
	Attributes map[string]string
}

// HasSecret reports whether the URL itself held a secret. Whoever got it from a
// command line warns then, because other users of the machine can read those.
func (u URL) HasSecret() bool { return u.Password != "" || u.Token != "" }

const (
	form   = "uftp://[user]:[password]@host:port/rest/auth/NAME:/path"
	hidden = "[redacted]"
)

// authPath is where auth services live, at a host's root or behind a gateway.
var authPath = regexp.MustCompile(`/rest/(auth|access)/[^/]+$`)

// ParseURL parses a uftp:// URL. It takes the same with https:// instead, the
// form that other UFTP command-line clients use. Errors say what to change,
// wrap [fs.ErrInvalid], and never hold the URL, which may have secrets in it.
//
// It differs from PyFilesystem where that loses data: the path goes from the
// first colon after the host to the query and keeps further colons, "!" and
// "/rest/"; "+" in a query is a plus sign, not a blank.
func ParseURL(s string) (URL, error) {
	scheme, rest, ok := strings.Cut(s, "://")
	if !ok || !strings.EqualFold(scheme, "uftp") && !strings.EqualFold(scheme, "https") {
		return URL{}, invalid("it must begin with uftp:// (or https://): " + form)
	}
	slash := strings.IndexByte(rest, '/')
	if slash < 0 {
		return URL{}, invalid("there is no /rest/auth/NAME after the host: " + form)
	}
	authority, rest := rest[:slash], rest[slash:]
	rest, query, _ := strings.Cut(rest, "?")
	endpoint, path, ok := strings.Cut(rest, ":")
	if !ok {
		return URL{}, invalid("there is no colon between the server's name and the path: " +
			"write /rest/auth/NAME:/path, or /rest/auth/NAME: for your home directory")
	}

	var u URL
	host, err := u.parseUser(authority)
	if err != nil {
		return URL{}, err
	}
	if u.AuthURL, err = parseEndpoint(host, endpoint); err != nil {
		return URL{}, err
	}
	if u.Path, err = unescape("path", path); err != nil {
		return URL{}, err
	}
	if err := u.parseQuery(query); err != nil {
		return URL{}, err
	}
	return u, nil
}

// parseUser takes "user:password@" off the authority and returns the host. The
// last "@" counts, so that a password with an unescaped one is still read right.
func (u *URL) parseUser(authority string) (host string, err error) {
	at := strings.LastIndexByte(authority, '@')
	if at < 0 {
		return authority, nil
	}
	user, password, _ := strings.Cut(authority[:at], ":")
	if u.User, err = unescape("user name", user); err != nil {
		return "", err
	}
	password, err = unescape("password", password)
	u.Password = uftp.Secret(password)
	return authority[at+1:], err
}

// parseEndpoint checks host and endpoint and makes the auth URL of them.
func parseEndpoint(host, endpoint string) (string, error) {
	for strings.HasSuffix(endpoint, "/") {
		endpoint = strings.TrimSuffix(endpoint, "/")
	}
	parsed, err := url.Parse("https://" + host + endpoint)
	switch {
	case err != nil, parsed.User != nil, parsed.Fragment != "" || strings.Contains(endpoint, "#"):
		// The error's text would hold the host part, and that a password if it
		// has an unescaped slash.
		return "", invalid("the part before the path is not host:port/rest/auth/NAME; " +
			"write @ / : ? # % in a user name or password as %40 %2F %3A %3F %23 %25")
	case parsed.Hostname() == "":
		return "", invalid("there is no host: " + form)
	case !validPort(parsed.Host):
		return "", invalid("the port must be a number from 1 to 65535; " +
			"write @ / : ? # % in a user name or password as %40 %2F %3A %3F %23 %25")
	case !authPath.MatchString(endpoint):
		return "", invalid("the part before the path must end in /rest/auth/NAME, where NAME is the UFTP server")
	}
	return "https://" + host + endpoint, nil
}

// validPort tells whether hostport has no port or a usable one. net/url lets
// "host:" and "host:99999" pass.
func validPort(hostport string) bool {
	colon := strings.LastIndexByte(hostport, ':')
	if colon < 0 || strings.HasSuffix(hostport, "]") {
		return true
	}
	n, err := strconv.ParseUint(hostport[colon+1:], 10, 16)
	return err == nil && n > 0
}

// parseQuery sorts the query keys into credentials and attributes.
func (u *URL) parseQuery(query string) error {
	if query == "" {
		return nil
	}
	seen := make(map[string]bool)
	for pair := range strings.SplitSeq(query, "&") {
		if pair == "" {
			continue
		}
		key, value, found := strings.Cut(pair, "=")
		key, err := unescape("query", key)
		if err != nil {
			return err
		}
		if key == "" || !found {
			return invalid("the query must be key=value pairs joined with &; write ? in a path as %3F")
		}
		if seen[key] {
			return invalid(fmt.Sprintf("%q is given twice in the query", key))
		}
		seen[key] = true
		if value, err = unescape("value of "+strconv.Quote(key), value); err != nil {
			return err
		}
		if err := u.set(key, value); err != nil {
			return err
		}
	}
	return nil
}

func (u *URL) set(key, value string) error {
	switch key {
	case "token":
		switch {
		case value == "", value == "@", value == "@@":
			return invalid("token is empty; write token=@FILE or token=@@VARIABLE to have it read from there")
		case strings.HasPrefix(value, "@@"):
			u.TokenEnv = value[2:]
		case strings.HasPrefix(value, "@"):
			u.TokenFile = value[1:]
		default:
			u.Token = uftp.Secret(value)
		}
	case "identity":
		if value == "" {
			return invalid("identity is empty; name the private key file")
		}
		u.Identity = value
	default:
		if u.Attributes == nil {
			u.Attributes = make(map[string]string)
		}
		u.Attributes[key] = value
	}
	return nil
}

// unescape decodes %XX and refuses what no part of a URL may hold. The error
// names the part and not its value.
func unescape(part, s string) (string, error) {
	decoded, err := url.PathUnescape(s)
	switch {
	case err != nil:
		return "", invalid("the " + part + " has a % that two hexadecimal digits do not follow; write % as %25")
	case strings.ContainsAny(decoded, "\r\n\x00") || !utf8.ValidString(decoded):
		return "", invalid("the " + part + " holds a line break, a NUL or bytes that are not UTF-8, which UFTP cannot carry")
	}
	return decoded, nil
}

func invalid(msg string) error {
	return fmt.Errorf("UFTP URL: %s: %w", msg, fs.ErrInvalid)
}

// String returns the URL with its secrets replaced by "[redacted]". What refers
// to a secret (a token's file or variable, a key file) is shown.
func (u URL) String() string {
	var b strings.Builder
	b.WriteString("uftp://")
	if u.User != "" || u.Password != "" {
		b.WriteString(escape(u.User, userSafe))
		if u.Password != "" {
			b.WriteString(":" + hidden)
		}
		b.WriteByte('@')
	}
	b.WriteString(strings.TrimPrefix(u.AuthURL, "https://"))
	b.WriteByte(':')
	b.WriteString(escape(u.Path, pathSafe))
	separator := byte('?')
	for _, pair := range u.query() {
		b.WriteByte(separator)
		b.WriteString(pair)
		separator = '&'
	}
	return b.String()
}

func (u URL) query() []string {
	var pairs []string
	if u.Identity != "" {
		pairs = append(pairs, "identity="+escape(u.Identity, pathSafe))
	}
	switch {
	case u.Token != "":
		pairs = append(pairs, "token="+hidden)
	case u.TokenFile != "":
		pairs = append(pairs, "token=@"+escape(u.TokenFile, pathSafe))
	case u.TokenEnv != "":
		pairs = append(pairs, "token=@@"+escape(u.TokenEnv, pathSafe))
	}
	for _, key := range slices.Sorted(maps.Keys(u.Attributes)) {
		pairs = append(pairs, escape(key, userSafe)+"="+escape(u.Attributes[key], pathSafe))
	}
	return pairs
}

// What stays unescaped beside letters and digits.
const (
	userSafe = "-._~"
	pathSafe = "-._~/:!@,+"
)

func escape(s, safe string) string {
	var b strings.Builder
	for i := range len(s) {
		c := s[i]
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', strings.IndexByte(safe, c) >= 0:
			b.WriteByte(c)
		default:
			fmt.Fprintf(&b, "%%%02X", c)
		}
	}
	return b.String()
}

// GoString hides the secrets as [URL.String] does.
func (u URL) GoString() string { return u.String() }
