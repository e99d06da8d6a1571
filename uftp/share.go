package uftp

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io/fs"
	"net/http"
	"net/url"
	"path"
	"strconv"
	"strings"
	"time"
)

// ShareAccess is what a share allows.
type ShareAccess string

// The kinds of access. Writers may read too.
const (
	ShareRead  ShareAccess = "READ"
	ShareWrite ShareAccess = "WRITE"
)

// ShareAnonymous is the user of shares that need no credential.
const ShareAnonymous = "cn=anonymous,o=unknown,ou=unknown"

// Share is a file or directory that its owner lets somebody use as if they were
// the owner. It is used by authenticating at its UFTPURL, with an [AuthRequest]
// or a [Client] whose AuthURL has /rest/access/ in it.
type Share struct {
	ID        string
	Path      string // absolute; ends in a slash if it is a directory
	Directory bool
	User      string        // the distinguished name it is for; [ShareAnonymous] is everybody
	Owner     string        // the distinguished name it is from; "" in one's own
	Access    ShareAccess   //
	OneTime   bool          // is deleted when it is used
	Count     int           // how often it was used
	Lifetime  time.Duration // how long it still lives; 0 is for ever
	HTTPURL   string        // where a browser gets it
	UFTPURL   string        // …/rest/access/NAME:PATH
}

// Shares are what somebody shares, and what is shared with them.
type Shares struct {
	Own        []Share
	Accessible []Share // anonymous shares of others are not among them
}

// ShareRequest says what to share with whom.
type ShareRequest struct {
	Path     string        // absolute
	User     string        // distinguished name; "" is [ShareAnonymous]
	Access   ShareAccess   // default [ShareRead]
	Group    string        // Unix group to act for; "" is the owner's default
	Lifetime time.Duration // in whole seconds; 0 is for ever
	OneTime  bool          // good for one use
}

// ListShares lists shares at the server that r.AuthURL names (GET
// /rest/share/NAME). Of r the fields count that count for [ServerInfo]. The
// errors of this and of the other calls about shares are those of [Authenticate];
// fs.ErrNotExist is also for a server without data sharing, or a share that does
// not exist, and fs.ErrPermission for what somebody may not share or change.
func ListShares(ctx context.Context, r AuthRequest) (Shares, error) {
	ex, res, err := r.share(ctx, "list shares", http.MethodGet, "", nil)
	if err != nil {
		return Shares{}, err
	}
	var reply struct {
		Shares     []shareReply `json:"shares"`
		Accessible []shareReply `json:"accessible"`
	}
	if err := json.Unmarshal(res.body, &reply); err != nil {
		return Shares{}, ex.fail(errNotShares, res.status, "")
	}
	var s Shares
	for _, one := range reply.Shares {
		s.Own = append(s.Own, one.share())
	}
	for _, one := range reply.Accessible {
		s.Accessible = append(s.Accessible, one.share())
	}
	return s, nil
}

var errNotShares = fmt.Errorf("%w: the answer is not about shares", ErrProtocol)

// GetShare returns one of the caller's shares.
func GetShare(ctx context.Context, r AuthRequest, id string) (Share, error) {
	ex, res, err := r.share(ctx, "get share", http.MethodGet, id, nil)
	if err != nil {
		return Share{}, err
	}
	var reply struct {
		Share *shareReply `json:"share"`
	}
	if err := json.Unmarshal(res.body, &reply); err != nil || reply.Share == nil {
		return Share{}, ex.fail(errNotShares, res.status, "")
	}
	return reply.Share.share(), nil
}

// CreateShare shares a file or directory, or changes the share of that path with
// that user, if there is one, to what s says.
func CreateShare(ctx context.Context, r AuthRequest, s ShareRequest) (Share, error) {
	const op = "create share"
	s.User = cmp.Or(s.User, ShareAnonymous)
	s.Access = cmp.Or(s.Access, ShareRead)
	err := s.check()
	if err != nil {
		return Share{}, exchange{op: op, path: safeURLText(r.AuthURL)}.fail(err, 0, "")
	}
	ex, res, err := r.share(ctx, op, http.MethodPost, "", map[string]any{
		"path": s.Path, "user": s.User, "access": string(s.Access), "group": omitEmpty(s.Group),
		"lifetime": int64(s.Lifetime / time.Second), "onetime": s.OneTime,
	})
	if err != nil {
		return Share{}, err
	}
	where, err := url.Parse(res.header.Get("Location"))
	if err != nil || where.Path == "" {
		return Share{}, ex.fail(fmt.Errorf("%w: the answer does not say where the share is", ErrProtocol), res.status, "")
	}
	return GetShare(ctx, r, path.Base(where.Path))
}

func (s ShareRequest) check() error {
	switch {
	case !path.IsAbs(s.Path) || strings.ContainsAny(s.Path, "\r\n\x00"):
		return invalidAuthf("the path of a share must be absolute, and without line breaks")
	case s.Access != ShareRead && s.Access != ShareWrite:
		return invalidAuthf("the access of a share must be %s or %s", ShareRead, ShareWrite)
	case hasControlChar(s.User), hasControlChar(s.Group):
		return invalidAuthf("user or group of a share have control characters in them")
	}
	return checkLifetime(s.Lifetime)
}

func checkLifetime(d time.Duration) error {
	if d < 0 || d%time.Second != 0 {
		return invalidAuthf("a share's lifetime is a number of whole seconds")
	}
	return nil
}

// omitEmpty is s as a value of JSON, null if it is empty.
func omitEmpty(s string) any {
	if s == "" {
		return nil
	}
	return s
}

// ShareUpdate says what to change in a share; nil is nothing.
type ShareUpdate struct {
	// Path is not checked by the service: a directory's must end in a slash.
	Path     *string
	Lifetime *time.Duration // from now on; 0 is for ever
}

// UpdateShare changes one of the caller's shares.
func UpdateShare(ctx context.Context, r AuthRequest, id string, u ShareUpdate) error {
	const op = "update share"
	fields := map[string]any{} // all values are strings, as the service has it
	var err error
	if u.Path != nil {
		err = ShareRequest{Path: *u.Path, Access: ShareRead}.check()
		fields["path"] = *u.Path
	}
	if u.Lifetime != nil && err == nil {
		err = checkLifetime(*u.Lifetime)
		fields["lifetime"] = strconv.FormatInt(int64(*u.Lifetime/time.Second), 10)
	}
	if err != nil {
		return exchange{op: op, path: safeURLText(r.AuthURL)}.fail(err, 0, "")
	}
	ex, res, err := r.share(ctx, op, http.MethodPut, id, fields)
	if err != nil {
		return err
	}
	var reply map[string]string
	if err := json.Unmarshal(res.body, &reply); err != nil {
		return ex.fail(errNotShares, res.status, "")
	}
	for name := range fields {
		if reply[name] != "OK" {
			return ex.fail(fmt.Errorf("%w: the service did not change the %s", ErrProtocol, name), res.status, reply[name])
		}
	}
	return nil
}

// DeleteShare ends one of the caller's shares. Sessions that use it live on.
func DeleteShare(ctx context.Context, r AuthRequest, id string) error {
	_, _, err := r.share(ctx, "delete share", http.MethodDelete, id, nil)
	return err
}

// share sends a request about shares, about the one of the id if that is given,
// and checks the status of the answer.
func (r AuthRequest) share(ctx context.Context, op, method, id string, body map[string]any) (exchange, *result, error) {
	failed := exchange{op: op, path: safeURLText(r.AuthURL)}
	endpoint, err := parseAuthURL(r.AuthURL)
	switch {
	case err != nil:
	case endpoint.name == "":
		err = invalidAuthf("the auth URL must end in the name of a server: /rest/auth/NAME")
	case id == "" && (method == http.MethodPut || method == http.MethodDelete || op == "get share"),
		strings.ContainsAny(id, "/?#"), id == ".", id == "..":
		err = invalidAuthf("%q is not a share's id", id)
	default:
		err = checkPreferences(r.UserPreferences)
	}
	if err != nil {
		return failed, nil, failed.fail(err, 0, "")
	}
	target := endpoint.share()
	if id != "" {
		target += "/" + url.PathEscape(id)
	}
	var text []byte
	if body != nil {
		if text, err = json.Marshal(body); err != nil {
			return failed, nil, failed.fail(err, 0, "")
		}
	}
	ex, res, err := r.send(ctx, op, method, target, text)
	switch {
	case err != nil:
		return ex, nil, err
	case res.status == http.StatusUnauthorized:
		// Not the credential: that is a 403.
		return ex, nil, ex.fail(fs.ErrPermission, res.status, res.redact.text(serverText(res)))
	case res.status != http.StatusOK && res.status != http.StatusCreated:
		return ex, nil, ex.failStatus(res)
	}
	return ex, res, nil
}

// shareReply is a share in the words of the service.
type shareReply struct {
	ID        string      `json:"id"`
	Path      string      `json:"path"`
	User      string      `json:"user"`
	Owner     string      `json:"owner"`
	Access    ShareAccess `json:"access"`
	Directory bool        `json:"directory"`
	OneTime   bool        `json:"onetime"`
	Count     flexInt     `json:"accessCount"`
	Lifetime  flexInt     `json:"lifetime"`
	HTTP      string      `json:"http"`
	UFTP      string      `json:"uftp"`
}

func (s shareReply) share() Share {
	id := s.ID
	if u, err := url.Parse(s.HTTP); id == "" && err == nil {
		id = path.Base(u.Path)
	}
	return Share{
		ID: id, Path: s.Path, Directory: s.Directory || strings.HasSuffix(s.Path, "/"),
		User: s.User, Owner: s.Owner, Access: s.Access, OneTime: s.OneTime, Count: int(s.Count),
		Lifetime: time.Duration(s.Lifetime) * time.Second, HTTPURL: s.HTTP, UFTPURL: s.UFTP,
	}
}
