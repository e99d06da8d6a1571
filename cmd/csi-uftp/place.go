package main

import (
	"fmt"
	"os"
	"path"
	"strings"

	"github.com/csi-uftp/csi-uftp/uftp/uftpfs"
)

// stdio is the operand that stands for standard input or output.
const stdio = "-"

// place is an operand of a command: a path here, or a URL.
type place struct {
	local    string     // if it is not remote
	url      uftpfs.URL // if it is remote
	remote   bool
	endpoint string // its name in the configuration
}

// parsePlace tells remote operands from local ones: a URL, or NAME:PATH with
// the name of an endpoint, is remote. "./" before a name makes it local.
func (a *app) parsePlace(operand string) (place, error) {
	if strings.Contains(operand, "://") {
		u, err := uftpfs.ParseURL(operand)
		if err == nil && u.HasSecret() {
			a.warnOfSecret("in a URL")
		}
		return place{url: u, remote: true}, err
	}
	name, below, ok := strings.Cut(operand, ":")
	if !ok || !endpointName().MatchString(name) {
		return place{local: operand}, nil
	}
	e, ok := a.config.Endpoints[name]
	if !ok {
		if _, err := os.Lstat(operand); err == nil {
			return place{local: operand}, nil
		}
		return place{}, usageErrorf("there is no endpoint %q in the configuration; a local file with a colon is ./%s", name, operand)
	}
	u, err := uftpfs.ParseURL(withColon(e.URL))
	if err != nil {
		return place{}, fmt.Errorf("endpoint %s: %w", name, err)
	}
	switch {
	case path.IsAbs(below):
		u.Path = below
	case below != "":
		u.Path = path.Join(u.Path, below)
		if strings.HasSuffix(below, "/") {
			u.Path += "/"
		}
	}
	return place{url: u, remote: true, endpoint: name}, nil
}

// sameServer reports whether one session can reach both places.
func (p place) sameServer(other place) bool {
	return p.url.AuthURL == other.url.AuthURL && p.url.User == other.url.User && p.endpoint == other.endpoint
}

// remotePlace is parsePlace for operands that must be remote.
func (a *app) remotePlace(operand string) (place, error) {
	p, err := a.parsePlace(operand)
	if err == nil && !p.remote {
		// ParseURL knows what is wrong.
		if _, err = uftpfs.ParseURL(operand); err == nil {
			err = usageErrorf("not a URL")
		}
	}
	return p, err
}
