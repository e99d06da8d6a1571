package driver

import (
	"errors"
	"fmt"
	"net/url"
	"path"
	"strings"

	"github.com/csi-uftp/csi-uftp/internal/volume"
)

// allowList says what volumes may name that are written into a pod. Who may make
// pods is not trusted with what an administrator is: a Secret's credentials go
// where the volume says.
type allowList []endpoint

// endpoint is an auth service: the host with its port, and the path.
type endpoint struct{ host, path string }

func parseAllowList(urls []string) (allowList, error) {
	var l allowList
	for _, u := range urls {
		e, err := parseEndpoint(u)
		if err != nil {
			return nil, fmt.Errorf("allowed inline volumes: %q: %w", u, err)
		}
		l = append(l, e)
	}
	return l, nil
}

func parseEndpoint(text string) (endpoint, error) {
	u, err := url.Parse(text)
	switch {
	case err != nil:
		return endpoint{}, errors.New("is not a URL")
	case u.Scheme != "https", u.Host == "", u.User != nil, u.RawQuery != "", u.Fragment != "":
		return endpoint{}, errors.New("want https://HOST[:PORT][/PATH]")
	}
	p := strings.TrimSuffix(u.Path, "/")
	if p != "" && path.Clean(p) != p {
		return endpoint{}, errors.New("has a path that leads elsewhere than it seems")
	}
	port := u.Port()
	if port == "" {
		port = "443"
	}
	return endpoint{strings.ToLower(u.Hostname()) + ":" + port, p}, nil
}

// check refuses what an inline volume may not be. Beside other auth services that
// is whatever would lead a Secret away: one that the driver reads itself could be
// anybody's, and without verification anybody could be the auth service.
func (l allowList) check(spec volume.Spec) error {
	if len(l) == 0 {
		return errInline
	}
	switch {
	case spec.SecretName != "":
		return fmt.Errorf("%w: secretName; give the pod's own Secret in nodePublishSecretRef", errEndpoint)
	case spec.Insecure:
		return fmt.Errorf("%w: insecureSkipVerify", errEndpoint)
	}
	want, err := parseEndpoint(spec.AuthURL)
	if err != nil {
		return fmt.Errorf("%w: authURL %w", errEndpoint, err)
	}
	for _, e := range l {
		if e.host == want.host && (e.path == want.path || strings.HasPrefix(want.path, e.path+"/")) {
			return nil
		}
	}
	return fmt.Errorf("%w: authURL %s", errEndpoint, spec.AuthURL)
}
