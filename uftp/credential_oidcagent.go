package uftp

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
)

// maxAgentReply is more than any token needs.
const maxAgentReply = 1 << 20

// OIDCAgent is an account of an oidc-agent, which is asked for an access token
// whenever one is needed. It cannot be handed to another process.
type OIDCAgent struct {
	// Account is the short name of the account, as oidc-add has it.
	Account string
	// Socket is the agent's UNIX socket, as $OIDC_SOCK has it.
	Socket string
}

// Authorize implements [Credential].
func (c OIDCAgent) Authorize(ctx context.Context, req *http.Request) error {
	if c.Account == "" {
		return invalidAuthf("the oidc-agent's account is empty")
	}
	conn, err := dialAgent(ctx, c.Socket, "oidc-agent")
	if err != nil {
		return err
	}
	defer conn.close()
	token, err := c.ask(conn)
	if err != nil {
		return errors.Join(err, ctx.Err())
	}
	return setBearer(req, token, "the oidc-agent's token")
}

// ask sends the request and reads the answer.
func (c OIDCAgent) ask(conn io.ReadWriter) (Secret, error) {
	request := map[string]string{"request": "access_token", "account": c.Account, "application_hint": "csi-uftp"}
	if err := json.NewEncoder(conn).Encode(request); err != nil {
		return "", fmt.Errorf("%w: the oidc-agent does not listen: %v", ErrAuth, err) //nolint:errorlint // its kind would read as the server's
	}
	var reply struct {
		Status string `json:"status"`
		Token  string `json:"access_token"`
		Error  string `json:"error"`
		Info   string `json:"info"`
	}
	if err := json.NewDecoder(io.LimitReader(conn, maxAgentReply)).Decode(&reply); err != nil {
		return "", fmt.Errorf("%w: the oidc-agent's answer makes no sense", ErrAuth)
	}
	if reply.Token == "" {
		return "", fmt.Errorf("%w: the oidc-agent gives no token for account %q: %.200q %.200q", ErrAuth, c.Account, reply.Error, reply.Info)
	}
	return Secret(reply.Token), nil
}

// String implements [Credential].
func (c OIDCAgent) String() string { return fmt.Sprintf("account %q of the oidc-agent", c.Account) }

// LogValue implements [slog.LogValuer].
func (c OIDCAgent) LogValue() slog.Value { return slog.StringValue(c.String()) }
