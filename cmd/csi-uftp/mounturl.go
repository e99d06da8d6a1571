package main

import (
	"net/url"
	"strings"
)

// mountScheme begins a URL that says what to mount where, as PyFilesystem has it:
// uftpmount://…/rest/auth/NAME:BASE==DIR[?query].
const mountScheme = "uftpmount://"

// splitMountURL makes URL and DIR of such a URL; other arguments it returns as
// they are.
func splitMountURL(args []string) ([]string, error) {
	if len(args) == 0 || !strings.HasPrefix(args[0], mountScheme) {
		return args, nil
	}
	if len(args) > 1 {
		return nil, usageErrorf("a uftpmount:// URL ends in ==DIR; there is no further argument")
	}
	rest, query, hasQuery := strings.Cut(strings.TrimPrefix(args[0], mountScheme), "?")
	i := strings.LastIndex(rest, "==")
	if i < 0 {
		return nil, usageErrorf("a uftpmount:// URL ends in ==DIR, the directory to mount on")
	}
	dir, err := url.PathUnescape(rest[i+len("=="):])
	if err != nil || dir == "" {
		return nil, usageErrorf("the directory after == in a uftpmount:// URL is empty or badly escaped")
	}
	remote := "uftp://" + rest[:i]
	if hasQuery {
		remote += "?" + query
	}
	return []string{remote, dir}, nil
}
