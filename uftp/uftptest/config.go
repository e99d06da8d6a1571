package uftptest

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// The one user of a server whose Config names none.
const (
	DefaultUserName     = "demo"
	DefaultUserPassword = "demo-password"
)

// DefaultUser returns the user of a server whose [Config] names none: "demo"
// with the password "demo-password".
func DefaultUser() User {
	return User{Name: DefaultUserName, Password: DefaultUserPassword}
}

// Config says what a [Server] serves, and to whom. The zero value of each field
// means the default given with it.
type Config struct {
	// Dir is the directory served. It is also every user's home, where sessions
	// without a base directory start. [Start] makes a temporary one when it is
	// empty; [New] wants one that exists.
	//
	// It is no limit: like the real one, the server gives those who log in
	// whatever its own user may reach. A session chooses its base directory
	// itself, and one without any has the whole file system, beginning in Dir.
	Dir string
	// Confine limits sessions to Dir: a base directory elsewhere does not exist
	// for them, one without a base has Dir, and what is outside is forbidden.
	// Symbolic links are followed all the same; clients cannot make any. Set it
	// where others than tests may log in.
	Confine bool
	// Users who may log in; none means DefaultUser alone.
	Users []User
	// ServerName is the name at the end of the auth URL, without '-' and '/';
	// default "TEST".
	ServerName string
	// Description is shown in the info document.
	Description string

	// MaxConnections is the limit of FTP sessions per Unix user; default 16.
	MaxConnections int
	// MaxStreams is the limit of TCP streams per data connection; default 4.
	MaxStreams int
	// Instances is the number of UFTPDs behind the one name, each with its own
	// secrets and sessions; logins go to them in turn, or to the one that the
	// URL names (TEST-1, TEST-2, ...). Default 1. Faults and Stats are those of
	// the first.
	Instances int
	// Quirks chooses among the behaviours of different UFTPD versions.
	Quirks Quirks
	// Location is the time zone UFTPD writes and reads local times in; default
	// the process's own.
	Location *time.Location
	// Verbose has the real UFTPD log every command and every reply. It does not do
	// so unless told to; [StartReal] tells it.
	Verbose bool
	// Logger gets what happens, without secrets; default none.
	Logger *slog.Logger

	// AuthListen and ControlListen are the addresses of the auth service and of
	// the FTP control port; default 127.0.0.1:0.
	AuthListen, ControlListen string
	// Listen opens all listening sockets, those for data connections too;
	// default TCP.
	Listen func(ctx context.Context, network, address string) (net.Listener, error)
	// PublicHost is the host of the FTP port as the auth service tells it to
	// clients; default the address UFTPD listens at.
	PublicHost string
	// Hostnames are put into the server certificate beside localhost, 127.0.0.1
	// and ::1. The first one is the host in AuthURL if there is one.
	Hostnames []string
	// CertDir keeps the certificates of the auth service, so that the next
	// server with the same directory has the same: ca.crt, ca.key, server.crt
	// and server.key are read there, or made. Default: made, kept in memory.
	CertDir string

	// SecuritySessions makes the auth service hand out session ids that stand
	// in for credentials, as UNICORE servers do when so configured.
	SecuritySessions bool
	// Sharing switches data sharing on. The service looks at what is shared as
	// itself, not as the user.
	Sharing bool
	// ReadOnlyShares forbids shares that may be written, as the real service does
	// unless it is told otherwise.
	ReadOnlyShares bool
	// Reservations are shown in the info document; they have no effect.
	Reservations []string
	// OAuth is the client that may refresh tokens at [Server.TokenURL].
	OAuth OAuthClient

	// CommandPort is the host:port of the plain-text command port of a real
	// UFTPD. The auth service is put in front of it, and no UFTPD is started
	// here: Dir, Confine, the limits, Quirks, Location and ControlListen mean nothing.
	CommandPort string
}

// A User may log in at the auth service, with any of the credentials set.
type User struct {
	Name     string
	Password string   // for HTTP Basic; "" for none
	Keys     []string // authorized_keys lines of the SSH keys that sign this user's JWTs
	Tokens   []string // bearer tokens that never expire; see also [Server.AddToken]
	Refresh  []string // refresh tokens for the token endpoint

	// UnixUser is the login that sessions run as; default Name. The UFTPD of
	// this package uses it for counting and in messages only.
	UnixUser string
	// Groups are the Unix groups to choose from, the default one first;
	// default UnixUser alone.
	Groups []string

	NoRole   bool // known, but not allowed to get secrets: 403
	Unmapped bool // without a Unix login: 401

	RateLimit          int64  // bytes per second and transfer, 0 for none
	Includes, Excludes string // ":"-separated shell patterns of paths
	Access             string // NONE, INFO, READ, WRITE or FULL; default FULL
}

// OAuthClient is an OAuth 2.0 client registered at the server's token endpoint.
// The zero value is registered as "uftptest" with the secret "uftptest-secret".
type OAuthClient struct {
	ID, Secret string
	// Lifetime of the access tokens; default 5 minutes.
	Lifetime time.Duration
	// RotateRefresh gives out a new refresh token with each access token and
	// forgets the old one.
	RotateRefresh bool
}

// withDefaults checks c and returns it with the defaults filled in.
func (c Config) withDefaults() (Config, error) {
	c.ServerName = cmp.Or(c.ServerName, "TEST")
	c.Description = cmp.Or(c.Description, "UFTP server for tests")
	c.MaxConnections = cmp.Or(c.MaxConnections, 16)
	c.MaxStreams = cmp.Or(c.MaxStreams, 4)
	c.Instances = cmp.Or(c.Instances, 1)
	c.AuthListen = cmp.Or(c.AuthListen, "127.0.0.1:0")
	c.ControlListen = cmp.Or(c.ControlListen, "127.0.0.1:0")
	c.OAuth.ID = cmp.Or(c.OAuth.ID, "uftptest")
	c.OAuth.Secret = cmp.Or(c.OAuth.Secret, "uftptest-secret")
	c.OAuth.Lifetime = cmp.Or(c.OAuth.Lifetime, 5*time.Minute)
	if c.Location == nil {
		c.Location = time.Local
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.Listen == nil {
		c.Listen = (&net.ListenConfig{}).Listen
	}
	if len(c.Users) == 0 {
		c.Users = []User{DefaultUser()}
	}
	users := make([]User, len(c.Users))
	for i, u := range c.Users {
		users[i] = u.withDefaults()
	}
	c.Users = users
	err := c.check()
	return c, err
}

func (c *Config) check() error {
	if strings.ContainsAny(c.ServerName, "-/") {
		return fmt.Errorf("server name %q: contains '-' or '/'", c.ServerName)
	}
	if c.Instances < 0 || c.MaxConnections < 0 || c.MaxStreams < 0 {
		return errors.New("negative limit")
	}
	names := make([]string, len(c.Users))
	for i, u := range c.Users {
		names[i] = u.Name
	}
	slices.Sort(names)
	if names[0] == "" || len(slices.Compact(names)) != len(c.Users) {
		return errors.New("user without a name, or two of the same name")
	}
	if c.CommandPort != "" {
		return nil
	}
	switch fi, err := os.Stat(c.Dir); {
	case err != nil:
		return fmt.Errorf("directory to serve: %w", err)
	case !fi.IsDir():
		return fmt.Errorf("directory to serve: %s is none", c.Dir)
	}
	// Sessions compare path texts, so the text has to be the absolute one.
	dir, err := filepath.Abs(c.Dir)
	c.Dir = dir
	return err
}

func (u User) withDefaults() User {
	u.UnixUser = cmp.Or(u.UnixUser, u.Name)
	if len(u.Groups) == 0 {
		u.Groups = []string{u.UnixUser}
	}
	return u
}

// dn is the distinguished name that the service knows the user by.
func (u User) dn() string { return "CN=" + u.Name + ",OU=users,O=uftptest" }
