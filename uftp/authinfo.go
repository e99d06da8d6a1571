package uftp

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
)

// AuthInfo is what an auth service says about itself and about the caller.
type AuthInfo struct {
	// Servers are the UFTPD servers by the names they have in auth URLs.
	Servers map[string]ServerStatus
	// Client is the caller as the service sees it.
	Client ClientIdentity
	// Version is the auth service's own.
	Version string
}

// ServerStatus is one UFTPD server, or several under one name. What does not
// apply, or is not for the caller to know, is zero.
type ServerStatus struct {
	URL         string // to authenticate at
	Description string
	Status      string // "OK", "DOWN", "OK [1 of 2 UFTPD servers available]"
	Version     string // UFTPD's
	// SessionLimit is how many sessions a user may have on all machines
	// together, unused one-time passwords included.
	SessionLimit int
	UID, GID     string // the caller's Unix user and group names
	Groups       []string
	RateLimit    int64  // bytes per second of each transfer
	Allowed      string // shell patterns of paths, separated by colons
	Forbidden    string
	Reservations []string // time slots kept for some users, as text
	Sharing      bool     // data sharing is offered
	SharingURL   string
}

// Available reports whether at least one UFTPD of the name is up.
func (s ServerStatus) Available() bool {
	return s.Status == "OK" || strings.HasPrefix(s.Status, "OK ")
}

// ClientIdentity is who the auth service takes the caller for.
type ClientIdentity struct {
	DN             string
	Role           string // "user" may get one-time passwords, "anonymous" may not
	AvailableRoles []string
	UID, Group     string // Unix names
	Groups         []string
	Method         string // how the caller authenticated: "SSHKEY", …
}

// ServerInfo asks the auth service of r.AuthURL (with or without a server's
// name at its end) about its servers and about the caller: GET /rest/auth.
// Anybody may ask; [Anonymous] learns less. Of r, only AuthURL, Access,
// Insecure, UserPreferences, HTTPTimeout and Dial count. Errors are those of
// [Authenticate].
func ServerInfo(ctx context.Context, r AuthRequest) (AuthInfo, error) {
	const op = "server info"
	failed := exchange{op: op, path: safeURLText(r.AuthURL)}
	endpoint, err := parseAuthURL(r.AuthURL)
	if err == nil {
		err = checkPreferences(r.UserPreferences)
	}
	if err != nil {
		return AuthInfo{}, failed.fail(err, 0, "")
	}
	ex, res, err := r.send(ctx, op, http.MethodGet, endpoint.service.String(), nil)
	if err != nil {
		return AuthInfo{}, err
	}
	if res.status != http.StatusOK {
		return AuthInfo{}, ex.failStatus(res)
	}
	info, err := parseAuthInfo(res.body)
	if err != nil {
		return AuthInfo{}, ex.fail(err, res.status, "")
	}
	return info, nil
}

// parseAuthInfo reads the info document. Every top-level object but "client"
// and "server" is a UFTPD server.
func parseAuthInfo(data []byte) (AuthInfo, error) {
	var document map[string]json.RawMessage
	if err := json.Unmarshal(data, &document); err != nil || document == nil {
		return AuthInfo{}, fmt.Errorf("%w: the answer is not an auth service's JSON", ErrProtocol)
	}
	info := AuthInfo{Servers: map[string]ServerStatus{}}
	for name, value := range document {
		var err error
		switch name {
		case "client":
			info.Client, err = parseClient(value)
		case "server":
			var server struct {
				Version string `json:"version"`
			}
			err = json.Unmarshal(value, &server)
			info.Version = server.Version
		default:
			info.Servers[name], err = parseServer(value)
		}
		if err != nil {
			return AuthInfo{}, fmt.Errorf("%w: the answer has an entry of an unknown form", ErrProtocol)
		}
	}
	return info, nil
}

func parseServer(data []byte) (ServerStatus, error) {
	var s struct {
		HRef        string   `json:"href"`
		Description string   `json:"description"`
		Status      string   `json:"status"`
		Version     string   `json:"uftpdServerVersion"`
		Limit       flexInt  `json:"sessionLimit"`
		UID         string   `json:"uid"`
		GID         string   `json:"gid"`
		Groups      []string `json:"availableGroups"`
		RateLimit   flexInt  `json:"rateLimit"`
		Allowed     string   `json:"allowed"`
		Forbidden   string   `json:"forbidden"`
		Reserved    []string `json:"reservations"`
		Sharing     struct {
			Enabled bool   `json:"enabled"`
			HRef    string `json:"href"`
		} `json:"dataSharing"`
	}
	if err := json.Unmarshal(data, &s); err != nil {
		return ServerStatus{}, err
	}
	return ServerStatus{
		URL: s.HRef, Description: s.Description, Status: s.Status, Version: s.Version,
		SessionLimit: int(s.Limit), UID: s.UID, GID: s.GID, Groups: s.Groups, RateLimit: int64(s.RateLimit),
		Allowed: s.Allowed, Forbidden: s.Forbidden, Reservations: s.Reserved,
		Sharing: s.Sharing.Enabled, SharingURL: s.Sharing.HRef,
	}, nil
}

func parseClient(data []byte) (ClientIdentity, error) {
	var c struct {
		DN   string `json:"dn"`
		Role struct {
			Selected  string   `json:"selected"`
			Available []string `json:"availableRoles"`
		} `json:"role"`
		XLogin struct {
			UID    string   `json:"UID"`
			Group  string   `json:"group"`
			Groups []string `json:"availableGroups"`
		} `json:"xlogin"`
		Method string `json:"authenticationMethod"`
	}
	if err := json.Unmarshal(data, &c); err != nil {
		return ClientIdentity{}, err
	}
	return ClientIdentity{
		DN: c.DN, Role: c.Role.Selected, AvailableRoles: c.Role.Available,
		UID: c.XLogin.UID, Group: c.XLogin.Group, Groups: c.XLogin.Groups, Method: c.Method,
	}, nil
}
