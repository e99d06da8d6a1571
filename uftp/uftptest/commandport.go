package uftptest

import (
	"bufio"
	"context"
	"encoding/base64"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"time"
)

// Times the real auth service gives UFTPD.
const (
	commandDialTimeout = 10 * time.Second
	commandReadTimeout = 60 * time.Second
	// maxAnswer bounds the answer: a few authorized_keys files.
	maxAnswer = 1 << 20
)

// commandPortBackend is a real UFTPD, spoken to over its command port: a
// connection per request, "key=value" lines and END; UFTPD answers and closes.
type commandPortBackend struct {
	address string // host:port, plain text
}

func newCommandPortBackend(address string) *commandPortBackend {
	return &commandPortBackend{address: address}
}

// request sends one request. Fields whose value is empty are left out.
func (b *commandPortBackend) request(ctx context.Context, kind string, fields ...[2]string) (string, error) {
	var text strings.Builder
	text.WriteString("request-type=" + kind + "\n")
	for _, f := range fields {
		if strings.ContainsAny(f[1], "\r\n") {
			return "", fmt.Errorf("command port: line end in %s", f[0])
		}
		if f[1] != "" {
			text.WriteString(f[0] + "=" + f[1] + "\n")
		}
	}
	text.WriteString("END\n")

	dialCtx, cancel := context.WithTimeout(ctx, commandDialTimeout)
	defer cancel()
	conn, err := (&net.Dialer{}).DialContext(dialCtx, "tcp", b.address)
	if err != nil {
		return "", fmt.Errorf("command port: %w", err)
	}
	defer func() { _ = conn.Close() }()
	defer context.AfterFunc(ctx, func() { _ = conn.Close() })()
	if err := conn.SetDeadline(time.Now().Add(commandReadTimeout)); err != nil {
		return "", fmt.Errorf("command port: %w", err)
	}
	if _, err := io.WriteString(conn, text.String()); err != nil {
		return "", fmt.Errorf("command port: %w", err)
	}
	answer, err := io.ReadAll(io.LimitReader(conn, maxAnswer))
	if err != nil {
		return "", fmt.Errorf("command port: %w", err)
	}
	return string(answer), nil
}

func (b *commandPortBackend) register(ctx context.Context, j job) (int, error) {
	fields := [][2]string{
		{"client-ip", strings.Join(j.clientIPs, ",")},
		{"user", j.user},
		{"group", j.group},
		{"secret", j.secret},
		{"persistent", strconv.FormatBool(j.persistent)},
		{"file", j.base},
		{"streams", strconv.Itoa(j.streams)},
		{"compress", strconv.FormatBool(j.compress)},
		{"access-permissions", j.access},
		{"includes", j.includes},
		{"excludes", j.excludes},
	}
	if j.rateLimit > 0 {
		fields = append(fields, [2]string{"rateLimit", strconv.FormatInt(j.rateLimit, 10)})
	}
	if len(j.key) > 0 {
		fields = append(fields, [2]string{"key", base64.StdEncoding.EncodeToString(j.key)}, [2]string{"algo", j.algo})
	}
	answer, err := b.request(ctx, "uftp-transfer-request", fields...)
	if err != nil {
		return 0, err
	}
	answer = strings.TrimSpace(answer)
	if port, ok := strings.CutPrefix(answer, "OK::"); ok {
		return strconv.Atoi(port)
	}
	return 0, refusedError(strings.TrimPrefix(answer, "ERROR::"))
}

func (b *commandPortBackend) ping(ctx context.Context) (version, host string, port, limit int, err error) {
	answer, err := b.request(ctx, "uftp-ping-request")
	if err != nil {
		return "", "", 0, 0, err
	}
	lines := bufio.NewScanner(strings.NewReader(answer))
	for lines.Scan() {
		key, value, _ := strings.Cut(lines.Text(), ": ")
		switch key {
		case "Version":
			version = value
		case "ListenAddress":
			host = value
		case "ListenPort":
			port, err = strconv.Atoi(value)
		case "MaxSessionsPerClient":
			limit, err = strconv.Atoi(value)
		}
		if err != nil {
			return "", "", 0, 0, fmt.Errorf("command port: ping: %w", err)
		}
	}
	if version == "" {
		return "", "", 0, 0, fmt.Errorf("command port: no answer to a ping: %q", answer)
	}
	if host == "" || host == "*" {
		// All interfaces: the one its command port is at will do.
		host, _, err = net.SplitHostPort(b.address)
	}
	return version, host, port, limit, err
}

func (b *commandPortBackend) userKeys(ctx context.Context, user string) ([]string, error) {
	answer, err := b.request(ctx, "uftp-get-user-info-request", [2]string{"user", user})
	if err != nil {
		return nil, err
	}
	var keys []string
	for line := range strings.Lines(answer) {
		// "Accepted key 0: ssh-ed25519 AAAA... comment"
		if rest, ok := strings.CutPrefix(line, "Accepted key "); ok {
			if _, key, ok := strings.Cut(rest, ": "); ok && strings.TrimSpace(key) != "" {
				keys = append(keys, strings.TrimSpace(key))
			}
		}
	}
	return keys, nil
}

// close does nothing: the server is somebody else's.
func (b *commandPortBackend) close() error { return nil }
