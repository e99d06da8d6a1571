package sanity_test

import (
	"testing"

	"github.com/csi-uftp/csi-uftp/uftp"
	"github.com/csi-uftp/csi-uftp/uftp/uftptest"
)

// occupy takes all the sessions that a server with a limit of 1 gives, until the
// test ends.
func occupy(tb testing.TB, server *uftptest.Server) {
	tb.Helper()
	c, err := uftp.New(uftp.Config{
		AuthURL: server.AuthURL(),
		Access: uftp.Access{CABundle: server.CABundle(), Credential: uftp.UsernamePassword{
			Username: uftptest.DefaultUserName, Password: uftptest.DefaultUserPassword}},
	})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = c.Close() })
	if err := c.Connect(tb.Context()); err != nil {
		tb.Fatal(err)
	}
}
