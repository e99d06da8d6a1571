package uftp

import (
	"net/url"
	"strings"
)

// IsShareHTTPURL reports whether raw looks like the HTTPURL of a [Share], or of a
// file in one: https://HOST[:PORT][/PREFIX…]/rest/access/NAME/ID[/PATH].
func IsShareHTTPURL(raw string) bool {
	_, err := parseShareURL(raw)
	return err == nil
}

// parseShareURL checks the URL of a share, or of a file in a shared directory.
// Its errors do not quote the URL.
func parseShareURL(raw string) (*url.URL, error) {
	u, err := parseHTTPSURL(raw, "the share's URL")
	if err != nil {
		return nil, err
	}
	if u.RawQuery != "" || u.ForceQuery {
		return nil, invalidAuthf("the share's URL must not have a query (?)")
	}
	const form = "the share's URL must look like https://HOST:PORT/rest/access/NAME/ID, with a file's path behind it if a directory is shared"
	_, rest, ok := strings.Cut(u.EscapedPath(), "/rest/access/")
	segments := strings.Split(rest, "/")
	if !ok || len(segments) < 2 || segments[0] == "" || segments[1] == "" || strings.Contains(segments[0], ":") {
		return nil, invalidAuthf("%s", form)
	}
	for i, s := range segments {
		name, err := url.PathUnescape(s)
		// An empty name at the end says that it is a directory.
		if err != nil || hasControlChar(name) || name == "." || name == ".." || name == "" && i < len(segments)-1 {
			return nil, invalidAuthf("%s", form)
		}
	}
	return u, nil
}
