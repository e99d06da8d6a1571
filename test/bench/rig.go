package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"github.com/csi-uftp/csi-uftp/uftp"
	"github.com/csi-uftp/csi-uftp/uftp/uftptest"
)

// link is a network between the client and the server.
type link struct {
	Name      string `json:"name"`
	Delay     string `json:"delay,omitempty"`     // one way, "" for none at all
	Bandwidth int64  `json:"bandwidth,omitempty"` // bytes per second of each connection
	Sessions  int    `json:"sessions"`            // how many the reference and the product may use
	// What the link did when it was measured.
	RoundTrip float64 `json:"roundtrip_ms,omitempty"`
	Ceiling   float64 `json:"ceiling_mb_s,omitempty"` // all connections together, without the limit of bandwidth
}

// links are the networks of the benchmark.
func links() []link {
	return []link{
		{Name: "lan", Sessions: 4},
		{Name: "10ms", Delay: "5ms", Sessions: 8},
		{Name: "40ms", Delay: "20ms", Bandwidth: 50_000_000, Sessions: 8},
		// These two leave time to a machine of two processors with both ends on it.
		{Name: "40ms-4", Delay: "20ms", Bandwidth: 50_000_000, Sessions: 4},
		{Name: "40ms-1", Delay: "20ms", Bandwidth: 400_000_000, Sessions: 1},
		{Name: "40ms-wide", Delay: "20ms", Sessions: 1},
		{Name: "100ms", Delay: "50ms", Sessions: 8},
	}
}

const (
	linkHost  = "127.0.0.2"   // where the link is; the server is at 127.0.0.1
	maxLogins = 64            // of the one user: what has ended counts for some seconds still
	dataDir   = "data"        // what is served, below the root
	binDir    = "build/bench" // the programs of the benchmark
)

// rig is the server behind a link.
type rig struct {
	root    string // everything of this run is below
	bin     string // directory of the benchmark's own programs
	product string // csi-uftp
	link    link
	server  *process
	proxy   *process
	login   serverInfo
}

type serverInfo struct {
	AuthURL string `json:"auth_url"`
	CAFile  string `json:"ca_file"`
}

func (r *rig) path(elem ...string) string { return filepath.Join(append([]string{r.root}, elem...)...) }

// up starts the server and the link before it.
func (r *rig) up(ctx context.Context) error {
	work, err := os.MkdirTemp(r.root, "server-")
	if err != nil {
		return err
	}
	args := []string{filepath.Join(r.bin, "server"), "-dir", r.path(dataDir), "-work", work, "-sessions", strconv.Itoa(maxLogins)}
	if os.Getenv(uftptest.EnvUFTPD) != "" {
		args = append(args, "-real")
	}
	if r.link.Delay != "" {
		args = append(args, "-host", linkHost)
	}
	if r.server, err = start(r.root, "server", nil, args...); err != nil {
		return err
	}
	if err := r.server.await(ctx, says(r.server.out, "}\n")); err != nil {
		return err
	}
	text, err := os.ReadFile(r.server.out)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(text, &r.login); err != nil {
		return err
	}
	if r.link.Delay == "" {
		return nil
	}
	return r.connect(ctx)
}

// connect starts the link. It has the server's port, at an address of its own.
func (r *rig) connect(ctx context.Context) error {
	address, _, err := r.password(ctx)
	if err != nil {
		return err
	}
	_, port, err := net.SplitHostPort(address)
	if err != nil {
		return err
	}
	r.proxy, err = start(r.root, "link", nil, append(r.linkArgs(), "-listen", net.JoinHostPort(linkHost, port),
		"-to", net.JoinHostPort("127.0.0.1", port))...)
	if err != nil {
		return err
	}
	return r.proxy.await(ctx, says(r.proxy.out, "\n"))
}

func (r *rig) linkArgs() []string {
	return []string{filepath.Join(r.bin, "link"), "-delay", r.link.Delay, "-bandwidth", strconv.FormatInt(r.link.Bandwidth, 10)}
}

// probe measures the link itself.
func (r *rig) probe(ctx context.Context) error {
	if r.link.Delay == "" {
		return nil
	}
	out, err := output(ctx, nil, append(r.linkArgs(), "-probe", strconv.Itoa(r.link.Sessions))...)
	if err != nil {
		return err
	}
	var p struct {
		RoundTrip float64 `json:"roundtrip_ns"`
		Ceiling   float64 `json:"ceiling"`
	}
	if err := json.Unmarshal(out, &p); err != nil {
		return err
	}
	r.link.RoundTrip, r.link.Ceiling = p.RoundTrip/1e6, p.Ceiling/1e6
	return nil
}

func (r *rig) down() {
	r.proxy.stop(syscall.SIGTERM)
	r.server.stop(syscall.SIGTERM)
	r.proxy, r.server = nil, nil
}

// password authenticates as other programs would before they start one that
// knows only UFTPD.
func (r *rig) password(ctx context.Context) (address, password string, err error) {
	ca, err := os.ReadFile(r.login.CAFile)
	if err != nil {
		return "", "", err
	}
	user := uftptest.DefaultUser()
	login, err := uftp.Authenticate(ctx, uftp.AuthRequest{
		AuthURL: r.login.AuthURL, BaseDir: r.path(dataDir), Persistent: true,
		Access: uftp.Access{
			Credential: uftp.UsernamePassword{Username: user.Name, Password: uftp.Secret(user.Password)},
			CABundle:   ca,
		},
	})
	if err != nil {
		return "", "", err
	}
	if len(login.Addresses()) == 0 {
		return "", "", fmt.Errorf("the auth server names no host: %v", login)
	}
	return login.Addresses()[0], login.Password.Reveal(), nil
}

// url is the served directory for the product.
func (r *rig) url() string {
	return strings.Replace(r.login.AuthURL, "https://", "uftp://", 1) + ":" + r.path(dataDir)
}
