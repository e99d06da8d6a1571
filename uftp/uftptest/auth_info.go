package uftptest

import (
	"context"
	"fmt"
	"net/http"
	"strconv"
	"time"
)

// authServerVersion is the release of the real service that this one follows.
const authServerVersion = "3.3.2"

// javaTime is the form of the times in the info document.
const javaTime = "2006-01-02T15:04:05-0700"

// info answers GET /rest/auth, for anonymous clients too.
func (a *authService) info(w http.ResponseWriter, r *http.Request, id identity) {
	role := "anonymous"
	if id.mayLogin() {
		role = "user"
	}
	client := map[string]any{
		"dn":   id.dn(),
		"role": map[string]any{"selected": role, "availableRoles": []string{role}},
	}
	if id.known() {
		client["authenticationMethod"] = id.method
		if !id.user.Unmapped {
			client["xlogin"] = map[string]any{
				"UID": id.user.UnixUser, "availableUIDs": []string{id.user.UnixUser},
				"group": id.selectedGroup(), "availableGroups": id.user.Groups,
			}
		}
	}
	writeJSON(w, http.StatusOK, map[string]any{
		a.cfg.ServerName: a.describeServer(r.Context(), id),
		"client":         client,
		"server": map[string]any{
			"version":             authServerVersion,
			"upSince":             a.started.Format(javaTime),
			"currentTime":         time.Now().Format(javaTime),
			"externalConnections": map[string]any{},
			"credential": map[string]any{
				"dn": a.certs.dn(), "issuer": a.certs.server.Issuer.String(),
				"expires": a.certs.server.NotAfter.Format(javaTime),
			},
			"trustedCAs":         []string{},
			"trustedSAMLIssuers": []string{},
		},
	})
}

// describeServer is the part of the info document about UFTPD, and about the
// client's account there.
func (a *authService) describeServer(ctx context.Context, id identity) map[string]any {
	state := a.probe(ctx)
	doc := map[string]any{
		"href":               a.baseURL() + "/rest/auth/" + a.cfg.ServerName,
		"description":        a.cfg.Description,
		"status":             state.status(),
		"uftpdServerVersion": state.version,
		"dataSharing":        map[string]any{"enabled": a.cfg.Sharing},
	}
	if a.cfg.Sharing {
		doc["dataSharing"] = map[string]any{"enabled": true, "href": a.shareURL()}
	}
	if len(a.cfg.Reservations) > 0 {
		doc["reservations"] = a.cfg.Reservations
	}
	if state.limit > 0 {
		doc["sessionLimit"] = state.limit
	}
	if !id.known() || id.user.Unmapped {
		return doc
	}
	u := id.user
	doc["uid"], doc["gid"], doc["availableGroups"] = u.UnixUser, id.selectedGroup(), u.Groups
	if u.RateLimit > 0 {
		doc["rateLimit"] = u.RateLimit
	}
	if u.Includes != "" {
		doc["allowed"] = u.Includes
	}
	if u.Excludes != "" {
		doc["forbidden"] = u.Excludes
	}
	return doc
}

// selectedGroup is the Unix group that a request goes with unless it asks for
// another.
func (id identity) selectedGroup() string {
	if id.group != "" {
		return id.group
	}
	if len(id.user.Groups) > 0 {
		return id.user.Groups[0]
	}
	return ""
}

// state of the UFTPDs behind the service.
type state struct {
	up, all int
	version string
	limit   int // smallest one
}

func (s state) status() string {
	word := "DOWN"
	if s.up > 0 {
		word = "OK"
	}
	if s.all == 1 {
		return word
	}
	return fmt.Sprintf("%s [%d of %d UFTPD servers available]", word, s.up, s.all)
}

// probe asks all UFTPDs how they are.
func (a *authService) probe(ctx context.Context) state {
	s := state{all: len(a.backends), version: "n/a"}
	for _, b := range a.backends {
		version, _, _, limit, err := b.ping(ctx)
		if err != nil {
			a.log.Warn("uftpd is down", "err", err)
			continue
		}
		s.up++
		s.version = version
		if s.limit == 0 || limit < s.limit {
			s.limit = limit
		}
	}
	return s
}

// token answers GET /rest/auth/token with a JWT that stands for the client.
func (a *authService) token(w http.ResponseWriter, r *http.Request, id identity) {
	q := r.URL.Query()
	if !id.known() || id.method == methodIssued && !id.renewable {
		writeError(w, http.StatusForbidden, "Error creating token")
		return
	}
	req := tokenRequest{
		lifetime:    5 * time.Minute,
		renewable:   javaTrue(q.Get("renewable")),
		limited:     javaTrue(q.Get("limited")),
		preferences: id.preferences,
	}
	if v := q.Get("lifetime"); v != "" {
		seconds, err := strconv.ParseInt(v, 10, 64)
		if err != nil || seconds < 0 {
			writeError(w, http.StatusInternalServerError, "Error creating token")
			return
		}
		if left := time.Until(a.certs.server.NotAfter); seconds > int64(left.Seconds()) {
			writeError(w, http.StatusBadRequest,
				"Requested token lifetime is longer than the remaining server certificate validity.")
			return
		}
		req.lifetime = time.Duration(seconds) * time.Second
	}
	token, err := a.certs.issueToken(id.user, req)
	if err != nil {
		writeError(w, http.StatusInternalServerError, "Error creating token")
		return
	}
	w.Header().Set("Content-Type", "text/plain")
	_, _ = w.Write([]byte(token))
}

// certificate answers GET /rest/auth/certificate.
func (a *authService) certificate(w http.ResponseWriter, _ *http.Request, _ identity) {
	w.Header().Set("Content-Type", "text/plain")
	_, _ = w.Write(a.certs.serverPEM)
}
