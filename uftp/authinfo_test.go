package uftp_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/csi-uftp/csi-uftp/uftp"
)

const infoDocument = `{
  "TEST": {
    "href": "https://localhost:9000/rest/auth/TEST", "description": "Default", "status": "OK",
    "uftpdServerVersion": "3.5.3", "sessionLimit": 8, "uid": "somebody", "gid": "users",
    "availableGroups": ["somebody","users"], "rateLimit": 209715200,
    "allowed": "/scratch/*:/projects/*", "forbidden": "/home/*", "reservations": ["'name': users=[..]"],
    "dataSharing": {"enabled": true, "href": "https://localhost:9000/rest/share/TEST"}
  },
  "MULTI": {"href": "x", "status": "OK [1 of 2 UFTPD servers available]", "dataSharing": {"enabled": false}},
  "OFF": {"status": "DOWN"},
  "client": {"dn": "CN=Demo User,O=UNICORE,C=EU", "role": {"selected": "user", "availableRoles": ["user"]},
             "xlogin": {"UID": "somebody", "availableUIDs": ["somebody"], "group": "users", "availableGroups": ["users"]},
             "authenticationMethod": "SSHKEY"},
  "server": {"version": "3.3.2", "upSince": "...", "externalConnections": {}, "credential": {}, "trustedCAs": []}
}`

func TestServerInfo(t *testing.T) {
	r := startAuth(t, func(w http.ResponseWriter, req *http.Request) {
		user, _, _ := req.BasicAuth()
		if req.Method != http.MethodGet || req.URL.Path != "/rest/auth" || user != "demo" || req.ContentLength != 0 {
			t.Errorf("%s %s by %q with %d bytes", req.Method, req.URL.Path, user, req.ContentLength)
		}
		reply(http.StatusOK, nil, infoDocument)(w, req)
	})
	want := uftp.AuthInfo{
		Servers: map[string]uftp.ServerStatus{
			"TEST": {
				URL: "https://localhost:9000/rest/auth/TEST", Description: "Default", Status: "OK", Version: "3.5.3",
				SessionLimit: 8, UID: "somebody", GID: "users", Groups: []string{"somebody", "users"}, RateLimit: 209715200,
				Allowed: "/scratch/*:/projects/*", Forbidden: "/home/*", Reservations: []string{"'name': users=[..]"},
				Sharing: true, SharingURL: "https://localhost:9000/rest/share/TEST",
			},
			"MULTI": {URL: "x", Status: "OK [1 of 2 UFTPD servers available]"},
			"OFF":   {Status: "DOWN"},
		},
		Client: uftp.ClientIdentity{
			DN: "CN=Demo User,O=UNICORE,C=EU", Role: "user", AvailableRoles: []string{"user"},
			UID: "somebody", Group: "users", Groups: []string{"users"}, Method: "SSHKEY",
		},
		Version: "3.3.2",
	}
	for _, url := range []string{r.AuthURL, strings.TrimSuffix(r.AuthURL, "/TEST"), strings.TrimSuffix(r.AuthURL, "TEST")} {
		r.AuthURL = url
		got, err := uftp.ServerInfo(t.Context(), r)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("info (-want +got):\n%s", diff)
		}
		for name, up := range map[string]bool{"TEST": true, "MULTI": true, "OFF": false} {
			if got.Servers[name].Available() != up {
				t.Errorf("%s available: %v, want %v", name, !up, up)
			}
		}
	}
}

func TestServerInfoErrors(t *testing.T) {
	for _, body := range []string{"", "null", "[]", "<html>", `{"TEST":1}`, `{"client":[]}`, `{"server":""}`, `{"MARK":{"sessionLimit":{}}}`} {
		_, err := uftp.ServerInfo(t.Context(), startAuth(t, reply(http.StatusOK, nil, body)))
		wantError(t, err, uftp.ErrProtocol, http.StatusOK, "")
		if strings.Contains(err.Error(), "MARK") {
			t.Errorf("error quotes the answer: %v", err)
		}
	}
	_, err := uftp.ServerInfo(t.Context(), startAuth(t, reply(http.StatusForbidden, nil, "")))
	wantError(t, err, uftp.ErrAuth, http.StatusForbidden, "")
	_, err = uftp.ServerInfo(t.Context(), startAuth(t, reply(http.StatusInternalServerError, nil, `{"errorMessage":"no"}`)))
	wantError(t, err, uftp.ErrUnavailable, http.StatusInternalServerError, "no")
}
