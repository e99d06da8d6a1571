package uftp

import (
	"fmt"
	"io/fs"
	"net/url"
	"strings"
	"unicode"
)

// invalidAuthf is an error about an argument: fs.ErrInvalid.
func invalidAuthf(format string, args ...any) error {
	return fmt.Errorf("%w: %s", fs.ErrInvalid, fmt.Sprintf(format, args...))
}

func hasControlChar(s string) bool { return strings.ContainsFunc(s, unicode.IsControl) }

// parseHTTPSURL checks what holds for every URL that is sent a credential. Its
// errors do not quote the URL: a secret may be in it by mistake, and url.Parse
// quotes whatever it stumbles over.
func parseHTTPSURL(raw, what string) (*url.URL, error) {
	u, err := url.Parse(raw)
	switch {
	case raw == "":
		return nil, invalidAuthf("%s is missing", what)
	case err != nil:
		return nil, invalidAuthf("%s is not a URL", what)
	case u.User != nil:
		return nil, invalidAuthf("%s must not hold a user name or password: they belong into the credentials", what)
	case u.Scheme != "https":
		return nil, invalidAuthf("%s must start with https://, as credentials are sent there", what)
	case u.Hostname() == "":
		return nil, invalidAuthf("%s has no host", what)
	case u.Fragment != "":
		return nil, invalidAuthf("%s must not have a fragment (#)", what)
	}
	return u, nil
}

// authEndpoint is an auth service and, perhaps, one of its servers.
type authEndpoint struct {
	service *url.URL // …/rest/auth
	name    string   // the UFTPD server's name, with an instance number or without
	access  bool     // it was …/rest/access/NAME: for what others share
}

// parseAuthURL reads https://HOST[:PORT][/PREFIX…]/rest/auth[/NAME], as it is
// with and without a UNICORE gateway or another proxy in front, and the same
// with /rest/access/NAME.
func parseAuthURL(raw string) (authEndpoint, error) {
	u, err := parseHTTPSURL(raw, "the auth URL")
	if err != nil {
		return authEndpoint{}, err
	}
	if u.RawQuery != "" || u.ForceQuery {
		return authEndpoint{}, invalidAuthf("the auth URL must not have a query (?)")
	}
	segments := strings.FieldsFunc(u.EscapedPath(), func(r rune) bool { return r == '/' })
	if strings.Contains(u.Path, ":") {
		return authEndpoint{}, invalidAuthf("the auth URL ends before the colon; what follows it is the path on the server")
	}
	name, access := "", false
	if n := len(segments); n >= 3 && segments[n-3] == "rest" && (segments[n-2] == "auth" || segments[n-2] == "access") {
		access = segments[n-2] == "access"
		name, segments = segments[n-1], append(segments[:n-2:n-2], "auth")
	}
	if n := len(segments); n < 2 || segments[n-1] != "auth" || segments[n-2] != "rest" {
		return authEndpoint{}, invalidAuthf("the auth URL must look like https://HOST:PORT/rest/auth/NAME")
	}
	// Not by resolving a reference: "//rest/auth" would name another host.
	u.RawPath = "/" + strings.Join(segments, "/")
	if u.Path, err = url.PathUnescape(u.RawPath); err != nil {
		return authEndpoint{}, invalidAuthf("the auth URL is not a URL")
	}
	return authEndpoint{service: u, name: name, access: access}, nil
}

// server is where to POST for a one-time password.
func (e authEndpoint) server() string {
	if e.access {
		return e.sibling("access")
	}
	return e.service.String() + "/" + e.name
}

// share is where to ask about shares.
func (e authEndpoint) share() string { return e.sibling("share") }

// sibling is another service's URL for the server.
func (e authEndpoint) sibling(service string) string {
	return strings.TrimSuffix(e.service.String(), "/auth") + "/" + service + "/" + e.name
}

// safeURLText is raw as far as it may be shown: without query and fragment, and
// nothing at all where a user name or password may be in it.
func safeURLText(raw string) string {
	u, err := url.Parse(raw)
	if err != nil || u.User != nil || u.Host == "" {
		return ""
	}
	return (&url.URL{Scheme: u.Scheme, Host: u.Host, Path: u.Path, RawPath: u.RawPath}).String()
}
