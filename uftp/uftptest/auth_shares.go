package uftptest

import (
	"crypto/rand"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"os"
	"path"
	"slices"
	"strings"
	"sync"
	"time"
)

// Data sharing: /rest/share is where owners make, change and delete shares.

// shareBook is the service's database of shares.
type shareBook struct {
	mu   sync.Mutex
	byID map[string]share
}

// share is one entry. Names are distinguished ones in comparable form.
type share struct {
	id, path      string
	owner, target string
	uid, gid      string // that sessions run as
	access        string // READ or WRITE
	oneTime       bool
	expires       time.Time // zero for never
	count         int
	made          int // order of making
}

func (s share) directory() bool { return strings.HasSuffix(s.path, "/") }

const anonymousDN = "cn=anonymous,o=unknown,ou=unknown"

// comparableDN is the form in which the service compares distinguished names.
func comparableDN(dn string) string {
	parts := strings.Split(strings.ToLower(dn), ",")
	for i, p := range parts {
		parts[i] = strings.TrimSpace(p)
	}
	return strings.Join(parts, ",")
}

// find returns the shares that live and that f wants, in the order of making.
func (b *shareBook) find(f func(share) bool) []share {
	b.mu.Lock()
	defer b.mu.Unlock()
	var found []share
	for id, s := range b.byID {
		if !s.expires.IsZero() && time.Now().After(s.expires) {
			delete(b.byID, id)
		} else if f(s) {
			found = append(found, s)
		}
	}
	slices.SortFunc(found, func(a, b share) int { return a.made - b.made })
	return found
}

func (b *shareBook) get(id string) (share, bool) {
	found := b.find(func(s share) bool { return s.id == id })
	if len(found) == 0 {
		return share{}, false
	}
	return found[0], true
}

func (b *shareBook) put(s share) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.byID == nil {
		b.byID = map[string]share{}
	}
	if s.made == 0 {
		s.made = len(b.byID) + 1
	}
	b.byID[s.id] = s
}

func (b *shareBook) remove(id string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.byID, id)
}

// grant makes a share, or changes the one of the same path and target.
func (b *shareBook) grant(s share) share {
	for _, old := range b.find(func(o share) bool { return o.path == s.path }) {
		if old.target == s.target || old.target == anonymousDN {
			old.access, old.expires, old.oneTime = s.access, s.expires, s.oneTime
			b.put(old)
			return old
		}
	}
	s.id = strings.ToLower(rand.Text())
	b.put(s)
	return s
}

// used counts a use, which is the last one of a one-time share.
func (b *shareBook) used(s share) {
	if s.oneTime {
		b.remove(s.id)
		return
	}
	s.count++
	b.put(s)
}

func (a *authService) shareURL() string { return a.baseURL() + "/rest/share/" + a.cfg.ServerName }

func (a *authService) routeShares(handle func(method, path, consumes, produces string, h func(http.ResponseWriter, *http.Request, identity))) {
	const asJSON = "application/json"
	handle("GET", "/rest/share", "", asJSON, a.shareServers)
	handle("GET", "/rest/share/{server}", "", asJSON, a.shareServer(a.listShares))
	handle("POST", "/rest/share/{server}", asJSON, asJSON, a.shareServer(a.createShare))
	handle("GET", "/rest/share/{server}/{id}", "", asJSON, a.shareServer(a.owned(a.showShare)))
	handle("PUT", "/rest/share/{server}/{id}", asJSON, asJSON, a.shareServer(a.owned(a.updateShare)))
	handle("DELETE", "/rest/share/{server}/{id}", "", asJSON, a.shareServer(a.deleteShare))
	handle("POST", "/rest/access/{server}", asJSON, asJSON, a.accessLogin)
}

// answerer answers a request of somebody known.
type answerer = func(http.ResponseWriter, *http.Request, identity)

// shareServer answers 404 for servers that there are not.
func (a *authService) shareServer(next answerer) answerer {
	return func(w http.ResponseWriter, r *http.Request, id identity) {
		if _, ok := a.instance(r.PathValue("server")); !ok {
			w.WriteHeader(http.StatusNotFound)
			return
		}
		next(w, r, id)
	}
}

// owned passes a share on to next, if it is the client's.
func (a *authService) owned(next func(http.ResponseWriter, *http.Request, identity, share)) answerer {
	return func(w http.ResponseWriter, r *http.Request, id identity) {
		s, ok := a.shares.get(r.PathValue("id"))
		switch {
		case !ok:
			w.WriteHeader(http.StatusNotFound)
		case s.owner != comparableDN(id.dn()):
			w.WriteHeader(http.StatusUnauthorized)
		default:
			next(w, r, id, s)
		}
	}
}

func (a *authService) shareServers(w http.ResponseWriter, r *http.Request, id identity) {
	writeJSON(w, http.StatusOK, map[string]any{
		a.cfg.ServerName: map[string]any{
			"href": a.shareURL(), "description": a.cfg.Description, "status": a.probe(r.Context()).status(),
		},
		"userInfo": userInfo(id),
	})
}

func userInfo(id identity) map[string]any {
	return map[string]any{
		"uid": id.user.UnixUser, "gid": id.selectedGroup(), "groups": id.user.Groups, "dn": comparableDN(id.dn()),
	}
}

func (a *authService) listShares(w http.ResponseWriter, _ *http.Request, id identity) {
	me := comparableDN(id.dn())
	own, accessible := []any{}, []any{}
	for _, s := range a.shares.find(func(s share) bool { return s.owner == me }) {
		own = append(own, a.describeShare(s, true))
	}
	for _, s := range a.shares.find(func(s share) bool { return s.target == me }) {
		accessible = append(accessible, a.describeShare(s, false))
	}
	writeJSON(w, http.StatusOK, map[string]any{
		"shares": own, "accessible": accessible, "status": "OK", "userInfo": userInfo(id),
	})
}

// describeShare writes a share down for its owner or for its user.
func (a *authService) describeShare(s share, own bool) map[string]any {
	access := a.baseURL() + "/rest/access/" + a.cfg.ServerName
	doc := map[string]any{
		"path": s.path, "access": s.access, "onetime": s.oneTime, "accessCount": s.count,
		"http": access + "/" + s.id, "uftp": access + ":" + s.path,
	}
	if own {
		doc["user"], doc["id"], doc["directory"] = s.target, s.id, s.directory()
	} else {
		doc["owner"] = s.owner
	}
	if !s.expires.IsZero() {
		doc["lifetime"] = int(time.Until(s.expires).Round(time.Second) / time.Second)
	}
	return doc
}

func (a *authService) showShare(w http.ResponseWriter, _ *http.Request, id identity, s share) {
	writeJSON(w, http.StatusOK, map[string]any{
		"share": a.describeShare(s, true), "owner": s.owner, "status": "OK", "userInfo": userInfo(id),
	})
}

func (a *authService) createShare(w http.ResponseWriter, r *http.Request, id identity) {
	const failed = "Could not process share"
	var body struct {
		Path     *laxString `json:"path"`
		User     *laxString `json:"user"`
		Access   laxString  `json:"access"`
		Group    laxString  `json:"group"`
		Lifetime laxInt     `json:"lifetime"`
		OneTime  laxBool    `json:"onetime"`
	}
	err := json.NewDecoder(r.Body).Decode(&body)
	access := string(body.Access)
	if access == "" {
		access = "READ"
	}
	switch {
	case err != nil:
		writeError(w, http.StatusBadRequest, failed)
		return
	case !id.mayLogin() || id.user.Unmapped:
		writeError(w, http.StatusUnauthorized, "Your User ID cannot share, please check your access level")
		return
	case access != "READ" && access != "WRITE" && access != "NONE":
		writeError(w, http.StatusInternalServerError, failed)
		return
	case access == "WRITE" && a.cfg.ReadOnlyShares:
		writeError(w, http.StatusUnauthorized, "Writable shares not allowed")
		return
	case body.User == nil || body.Path == nil:
		writeError(w, http.StatusBadRequest, failed)
		return
	}
	me, p := comparableDN(id.dn()), string(*body.Path)
	if access == "NONE" {
		bare := strings.TrimSuffix(p, "/")
		for _, s := range a.shares.find(func(s share) bool { return s.owner == me && strings.TrimSuffix(s.path, "/") == bare }) {
			a.shares.remove(s.id)
		}
		w.WriteHeader(http.StatusOK)
		return
	}
	if p, err = a.shareable(p, access); err != nil {
		writeError(w, http.StatusInternalServerError, failed)
		return
	}
	s := share{
		path: p, owner: me, target: comparableDN(string(*body.User)), access: access,
		uid: id.user.UnixUser, gid: id.selectedGroup(), oneTime: bool(body.OneTime),
	}
	if g := string(body.Group); g != "" && slices.Contains(id.user.Groups, g) {
		s.gid = g
	}
	if body.Lifetime > 0 {
		s.expires = time.Now().Add(time.Duration(body.Lifetime) * time.Second)
	}
	w.Header().Set("Location", a.shareURL()+"/"+a.shares.grant(s).id)
	w.WriteHeader(http.StatusCreated)
}

// shareable looks at what shall be shared, and puts a slash behind a directory.
func (a *authService) shareable(p, access string) (string, error) {
	if a.cfg.Confine && p != a.cfg.Dir && !strings.HasPrefix(path.Clean(p), a.cfg.Dir+"/") {
		return "", os.ErrNotExist
	}
	fi, err := os.Stat(p)
	if err != nil {
		return "", err
	}
	if access == "WRITE" && fi.Mode().Perm()&0o200 == 0 {
		return "", os.ErrPermission
	}
	if fi.IsDir() && !strings.HasSuffix(p, "/") {
		p += "/"
	}
	return p, nil
}

func (a *authService) updateShare(w http.ResponseWriter, r *http.Request, _ identity, s share) {
	var body map[string]string // a value that is no string is an error there, too
	if err := json.NewDecoder(r.Body).Decode(&body); err != nil {
		writeError(w, http.StatusInternalServerError, "")
		return
	}
	reply := map[string]string{}
	for _, name := range slices.Sorted(maps.Keys(body)) {
		reply[name] = "OK"
		switch name {
		case "path":
			s.path = body[name]
		case "lifetime":
			var seconds int64
			if _, err := fmt.Sscan(body[name], &seconds); err != nil {
				writeError(w, http.StatusInternalServerError, "")
				return
			}
			s.expires = time.Time{}
			if seconds > 0 {
				s.expires = time.Now().Add(time.Duration(seconds) * time.Second)
			}
		default:
			reply[name] = "Property not found!"
		}
	}
	a.shares.put(s)
	writeJSON(w, http.StatusOK, reply)
}

// deleteShare is content with a share that is not there.
func (a *authService) deleteShare(w http.ResponseWriter, r *http.Request, id identity) {
	s, ok := a.shares.get(r.PathValue("id"))
	if ok && s.owner != comparableDN(id.dn()) {
		writeError(w, http.StatusUnauthorized, "")
		return
	}
	a.shares.remove(r.PathValue("id"))
	w.WriteHeader(http.StatusOK)
}
