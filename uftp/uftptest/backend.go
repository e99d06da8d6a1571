package uftptest

import "context"

// A job is what the auth service registers with UFTPD: a login that it should
// expect, and what that login may do.
type job struct {
	user       string   // Unix login; not checked before the FTP login
	group      string   // primary group, "primary:supp1:..." or "" for the user's defaults
	secret     string   // one-time password, 20 letters a-z
	base       string   // base directory, ends in "/"; "" means none
	persistent bool     // the secret may be used for more than one login
	clientIPs  []string // textual addresses the login may come from; compared as strings
	streams    int      // initial number of TCP streams per data connection, 0 means 1
	compress   bool     // gzip on the data connections
	key        []byte   // symmetric key of the data connections, nil means none
	algo       string   // "BLOWFISH", "AES" or "" to go by the key's length
	rateLimit  int64    // bytes per second per transfer, 0 means unlimited
	access     string   // "NONE", "INFO", "READ", "WRITE", "FULL"; "" means FULL
	includes   string   // ":"-separated shell patterns
	excludes   string   // ":"-separated shell patterns
}

// backend is the UFTPD behind the auth service: the engine of this package, or
// a real one spoken to over its command port. It is safe for concurrent use.
type backend interface {
	// register announces a job and returns the port to log in at. What UFTPD
	// itself refuses is a refusedError; every other error means that it could
	// not be asked.
	register(ctx context.Context, j job) (port int, err error)
	// ping reports the version, the host and port to log in at, and the limit
	// of sessions per user.
	ping(ctx context.Context) (version, host string, port, limit int, err error)
	// userKeys returns the lines of the user's authorized_keys files on the
	// server; none is no error.
	userKeys(ctx context.Context, user string) ([]string, error)
	// close stops what the backend started and waits for it.
	close() error
}

// controls is the part of a backend that tests reach through [Server]. Both
// backends of this package have it; one for a UFTPD that somebody else started
// has not.
type controls interface {
	// killSessions ends all FTP sessions without a word, as a crash would.
	killSessions() error
	// expireSecrets makes UFTPD forget all one-time passwords. Sessions that
	// are logged in live on.
	expireSecrets() error
}

// refusedError is UFTPD's own refusal: the text after "ERROR::".
type refusedError string

func (e refusedError) Error() string { return "ERROR::" + string(e) }
