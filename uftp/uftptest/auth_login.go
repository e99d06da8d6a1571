package uftptest

import (
	"cmp"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// sessionTag is what old clients, and PyUNICORE, append to the base directory.
const sessionTag = "___UFTP___MULTI___FILE___SESSION___MODE___"

// login answers POST /rest/auth/NAME: it invents a one-time password, announces
// it to UFTPD, and hands it out.
func (a *authService) login(w http.ResponseWriter, r *http.Request, id identity) {
	a.answerLogin(w, r, id, a.doLogin)
}

// answerLogin answers a request for a one-time password by what do does.
func (a *authService) answerLogin(w http.ResponseWriter, r *http.Request, id identity,
	do func(*http.Request, identity, *AuthRequest) (loginAnswer, *httpError),
) {
	record := AuthRequest{
		User: id.user.Name, Method: id.method, Server: r.PathValue("server"), Status: http.StatusOK,
		Preferences: r.Header.Get("X-UNICORE-User-Preferences"),
	}
	answer, err := do(r, id, &record)
	if err != nil {
		record.Status = err.status
		a.log.Info("login failed", "user", id.user.Name, "status", err.status, "err", err.message)
	}
	// Before the answer, so that a test that has it finds the record.
	a.journal.add(record)
	switch {
	case err == nil:
		writeJSON(w, http.StatusOK, answer)
	case err.message == "" && (err.status == http.StatusUnauthorized || err.status == http.StatusForbidden):
		a.journal.count(func(s *AuthStats) { s.Refused++ })
		w.WriteHeader(err.status) // no body, as the real service
	default:
		writeError(w, err.status, err.message)
	}
}

// httpError is a failure and how to tell the client.
type httpError struct {
	status  int
	message string
}

// loginAnswer is the body of HTTP 200.
type loginAnswer struct {
	Success bool   `json:"success"`
	Reason  string `json:"reason"`
	Host    string `json:"serverHost,omitempty"`
	Port    int    `json:"serverPort,omitempty"`
	Secret  string `json:"secret,omitempty"`
}

func (a *authService) doLogin(r *http.Request, id identity, record *AuthRequest) (loginAnswer, *httpError) {
	if !id.mayLogin() {
		return loginAnswer{}, &httpError{http.StatusForbidden, ""}
	}
	instance, ok := a.instance(record.Server)
	if !ok {
		return loginAnswer{}, &httpError{http.StatusNotFound,
			fmt.Sprintf("No such server: '%s', please check your URL", record.Server)}
	}
	uftpd, host, err := a.pick(r.Context(), instance)
	if err != nil {
		a.log.Warn("uftpd is down", "err", err)
		return loginAnswer{}, &httpError{http.StatusServiceUnavailable, "DOWN"}
	}
	j, herr := a.newJob(r.Context(), r, id, record)
	if herr != nil {
		return loginAnswer{}, herr
	}
	return a.announce(r, uftpd, host, j, record)
}

// announce tells UFTPD to expect the job's login, and the client how to log in.
func (a *authService) announce(r *http.Request, uftpd backend, host string, j job, record *AuthRequest) (loginAnswer, *httpError) {
	fault, _ := r.Context().Value(faultKey{}).(AuthFault)
	if fault.Failure != "" {
		a.journal.count(func(s *AuthStats) { s.Faults++ })
		return loginAnswer{Reason: fault.Failure}, nil
	}
	port, err := uftpd.register(r.Context(), j)
	var refused refusedError
	switch {
	case errors.As(err, &refused):
		return loginAnswer{}, &httpError{http.StatusInternalServerError,
			fmt.Sprintf("UFTPD server '%s': <%s>", record.Server, refused)}
	case err != nil:
		a.log.Warn("uftpd not reached", "err", err)
		return loginAnswer{}, &httpError{http.StatusInternalServerError, "Cannot connect to UFTPD server"}
	}
	a.journal.count(func(s *AuthStats) { s.Logins++ })
	record.Password = cmp.Or(fault.Secret, j.secret)
	return loginAnswer{
		Success: true,
		Host:    cmp.Or(fault.Host, a.cfg.PublicHost, host),
		Port:    cmp.Or(fault.Port, port),
		Secret:  record.Password,
	}, nil
}

// instance finds the UFTPD for the last element of the URL: the server's name,
// or the name, '-' and a number from 1. It returns 0 for whichever is next.
func (a *authService) instance(name string) (int, bool) {
	if name == a.cfg.ServerName {
		return 0, true
	}
	server, number, found := strings.Cut(name, "-")
	n, err := strconv.Atoi(number)
	return n, found && err == nil && server == a.cfg.ServerName && n >= 1 && n <= len(a.backends)
}

// pick returns the instance asked for or, given 0, the next one that is up, and
// its host.
func (a *authService) pick(ctx context.Context, instance int) (b backend, host string, err error) {
	candidates := a.backends
	if instance > 0 {
		candidates = a.backends[instance-1 : instance]
	}
	first := int((a.turn.Add(1) - 1) % int64(len(candidates)))
	for i := range candidates {
		b = candidates[(first+i)%len(candidates)]
		if _, host, _, _, err = b.ping(ctx); err == nil {
			return b, host, nil
		}
	}
	return nil, "", err
}

// newJob reads the body of a request and turns it into a job.
func (a *authService) newJob(ctx context.Context, r *http.Request, id identity, record *AuthRequest) (job, *httpError) {
	var fields loginFields
	if err := json.NewDecoder(r.Body).Decode(&fields); err != nil {
		return job{}, &httpError{http.StatusInternalServerError, "Bad request: " + err.Error()}
	}
	if fields.ServerPath == nil {
		return job{}, &httpError{http.StatusInternalServerError, "java.lang.NullPointerException"}
	}
	key, err := base64.StdEncoding.DecodeString(string(fields.EncryptionKey))
	if err != nil {
		return job{}, &httpError{http.StatusInternalServerError, "Bad encryption key"}
	}
	algo := strings.ToUpper(string(fields.EncryptionAlgorithm))
	switch algo {
	case "":
		algo = "BLOWFISH"
	case "BLOWFISH", "AES":
	default:
		return job{}, &httpError{http.StatusInternalServerError, "No enum constant EncryptionAlgorithm." + algo}
	}
	if len(key) == 0 {
		key, algo = nil, ""
	}
	ips := a.clientIPs(ctx, r, string(fields.Client))
	record.ServerPath = string(*fields.ServerPath)
	record.Persistent, record.Compress = bool(fields.Persistent), bool(fields.Compress)
	record.StreamCount, record.ClientIPs = int(fields.streams()), ips
	record.Key, record.Algorithm, record.Group = key, algo, string(fields.Group)
	record.WantsWrite = fields.Send != nil && !bool(*fields.Send)

	group := id.selectedGroup()
	if g := string(fields.Group); g != "" {
		if !slices.Contains(id.user.Groups, g) {
			return job{}, &httpError{http.StatusBadRequest,
				fmt.Sprintf("Requested group '%s' is not available", g)}
		}
		group = g
	}
	u := id.user
	if u.Unmapped {
		return job{}, &httpError{http.StatusUnauthorized, ""}
	}
	return job{
		user: u.UnixUser, group: group, secret: newSecret(), base: baseDirectory(record.ServerPath),
		persistent: record.Persistent, clientIPs: ips, streams: record.StreamCount, compress: record.Compress,
		key: key, algo: algo, rateLimit: u.RateLimit, access: u.Access, includes: u.Includes, excludes: u.Excludes,
	}, nil
}

// baseDirectory is the base of a session as UFTPD is told it: without the tag of
// old clients, with a slash at the end.
func baseDirectory(serverPath string) string {
	if serverPath == sessionTag {
		return ""
	}
	if parent, ok := strings.CutSuffix(serverPath, "/"+sessionTag); ok {
		serverPath = parent + "/"
	}
	if serverPath != "" && !strings.HasSuffix(serverPath, "/") {
		serverPath += "/"
	}
	return serverPath
}

// clientIPs are the addresses that may use the one-time password: those that the
// request names, resolved, or the one it comes from.
func (a *authService) clientIPs(ctx context.Context, r *http.Request, named string) []string {
	if named == "" {
		named = r.Header.Get("X-UNICORE-Consignor-IP")
	}
	if named == "" {
		host, _, _ := net.SplitHostPort(r.RemoteAddr)
		named = host
	}
	var ips []string
	for name := range strings.FieldsFuncSeq(named, func(c rune) bool { return c == ' ' || c == ',' }) {
		if ip, err := netip.ParseAddr(name); err == nil {
			ips = append(ips, javaAddress(ip))
			continue
		}
		// Names that do not resolve are dropped without a word.
		found, _ := net.DefaultResolver.LookupNetIP(ctx, "ip", name)
		if len(found) > 0 {
			ips = append(ips, javaAddress(found[0]))
		}
	}
	return ips
}

// javaAddress writes an address as the real service does: IPv6 uncompressed,
// which never equals what UFTPD sees; IPv4 in IPv6 as IPv4.
func javaAddress(ip netip.Addr) string {
	ip = ip.Unmap().WithZone("")
	if ip.Is4() {
		return ip.String()
	}
	b := ip.As16()
	groups := make([]string, 8)
	for i := range groups {
		groups[i] = strconv.FormatUint(uint64(b[2*i])<<8|uint64(b[2*i+1]), 16)
	}
	return strings.Join(groups, ":")
}

// newSecret makes a one-time password: 20 letters.
func newSecret() string {
	b := make([]byte, 20)
	for i := range b {
		b[i] = 'a' + byte(rand.N(26)) //nolint:gosec // the real service uses no better source, and this one is for tests
	}
	return string(b)
}

// loginFields is the body of a request for a one-time password. Strings are
// accepted for booleans and numbers, and null for everything.
type loginFields struct {
	ServerPath          *laxString `json:"serverPath"`
	Persistent          laxBool    `json:"persistent"`
	StreamCount         *laxInt    `json:"streamCount"`
	Compress            laxBool    `json:"compress"`
	EncryptionKey       laxString  `json:"encryptionKey"`
	EncryptionAlgorithm laxString  `json:"encryptionAlgorithm"`
	Group               laxString  `json:"group"`
	Client              laxString  `json:"client"`
	// For old clients: checked, and ignored.
	Append      laxBool  `json:"append"`
	Send        *laxBool `json:"send"` // default true; only shares look at it
	SessionMode laxBool  `json:"sessionMode"`
}

func (f loginFields) streams() laxInt {
	if f.StreamCount == nil {
		return 1
	}
	return *f.StreamCount
}

type (
	laxString string
	laxBool   bool
	laxInt    int
)

func (s *laxString) UnmarshalJSON(text []byte) error {
	v, err := scalar(text)
	*s = laxString(v)
	return err
}

func (b *laxBool) UnmarshalJSON(text []byte) error {
	v, err := scalar(text)
	*b = laxBool(javaTrue(v))
	return err
}

func (i *laxInt) UnmarshalJSON(text []byte) error {
	v, err := scalar(text)
	if err != nil || v == "" {
		return err
	}
	n, err := strconv.ParseInt(v, 10, 32)
	*i = laxInt(n)
	return err
}

// scalar is the text of a JSON string, number or boolean; "" for null.
func scalar(text []byte) (string, error) {
	if string(text) == "null" {
		return "", nil
	}
	switch text[0] {
	case '{', '[':
		return "", errors.New("not a single value")
	case '"':
		var s string
		err := json.Unmarshal(text, &s)
		return s, err
	}
	return string(text), nil
}

// javaTrue is Java's idea of a true string.
func javaTrue(s string) bool { return strings.EqualFold(s, "true") }
