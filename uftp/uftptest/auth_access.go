package uftptest

import (
	"fmt"
	"net/http"
	"path"
	"strings"
)

// accessLogin answers POST /rest/access/NAME: a one-time password for a session
// as the owner of what is shared with the client.
func (a *authService) accessLogin(w http.ResponseWriter, r *http.Request, id identity) {
	a.answerLogin(w, r, id, a.doAccess)
}

func (a *authService) doAccess(r *http.Request, id identity, record *AuthRequest) (loginAnswer, *httpError) {
	instance, ok := a.instance(record.Server)
	if !ok {
		return loginAnswer{}, &httpError{http.StatusNotFound,
			fmt.Sprintf("No sharing for / no server '%s', please check your URL", record.Server)}
	}
	uftpd, host, err := a.pick(r.Context(), instance)
	if err != nil {
		return loginAnswer{}, &httpError{http.StatusServiceUnavailable, "DOWN"}
	}
	// What the client would get for itself, and then the share's in place of it.
	asOwner := id
	asOwner.user.Unmapped, asOwner.user.RateLimit = false, 0
	j, herr := a.newJob(r.Context(), r, asOwner, record)
	if herr != nil {
		return loginAnswer{}, herr
	}
	p := path.Clean(record.ServerPath)
	bare := p
	if strings.HasSuffix(record.ServerPath, "/") {
		p += "/" // the directory itself
	}
	covering := a.shares.find(func(s share) bool { return s.covers(p) })
	if len(covering) == 0 {
		return loginAnswer{}, &httpError{http.StatusNotFound, fmt.Sprintf("No such share '%s', please check your URL", p)}
	}
	s, ok := forTarget(covering, comparableDN(id.dn()))
	switch {
	case !ok:
		return loginAnswer{}, &httpError{http.StatusUnauthorized, fmt.Sprintf("Not allowed to access '%s'", p)}
	case record.WantsWrite && s.access != "WRITE":
		return loginAnswer{}, &httpError{http.StatusUnauthorized, fmt.Sprintf("Not allowed to write to '%s'", p)}
	}
	j.user, j.group, j.access = s.uid, s.gid, s.access
	j.base, j.excludes, j.includes = strings.TrimSuffix(path.Dir(bare), "/")+"/", "", path.Base(bare)
	if j.includes == sessionTag {
		j.includes = ""
	}
	answer, herr := a.announce(r, uftpd, host, j, record)
	if herr == nil {
		a.shares.used(s)
	}
	return answer, herr
}

// covers reports whether the clean path is what is shared, or below it.
func (s share) covers(p string) bool {
	return s.path == p || s.directory() && strings.HasPrefix(p, s.path)
}

// forTarget is the first share that the client may use.
func forTarget(shares []share, dn string) (share, bool) {
	for _, s := range shares {
		if s.target == dn || s.target == anonymousDN {
			return s, true
		}
	}
	return share{}, false
}
