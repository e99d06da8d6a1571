package fusefs_test

import (
	"testing"
	"time"

	"github.com/csi-uftp/csi-uftp/mounter/fusefs"
	"github.com/csi-uftp/csi-uftp/uftp"
	"github.com/csi-uftp/csi-uftp/uftp/uftptest"
)

// mountFunc mounts something empty.
type mountFunc func(*testing.T, func(*fusefs.Config)) *mounted

// eachServer runs f on a local directory, on our UFTPD, and on the real one
// where there is one.
func eachServer(t *testing.T, f func(*testing.T, mountFunc)) {
	t.Run("directory", func(t *testing.T) { f(t, mountDir) })
	start := map[string]func(testing.TB, uftptest.Config) *uftptest.Server{
		"uftptest": uftptest.Start,
		"uftpd":    uftptest.StartReal,
	}
	for name, start := range start {
		t.Run(name, func(t *testing.T) {
			f(t, func(t *testing.T, change func(*fusefs.Config)) *mounted {
				t.Helper()
				return mountServer(t, start(t, uftptest.Config{}), change)
			})
		})
	}
}

func mountServer(t *testing.T, s *uftptest.Server, change func(*fusefs.Config)) *mounted {
	t.Helper()
	client, err := uftp.New(uftp.Config{
		AuthURL: s.AuthURL(),
		Access: uftp.Access{
			Credential: uftp.UsernamePassword{Username: uftptest.DefaultUserName, Password: uftptest.DefaultUserPassword},
			CABundle:   s.CABundle(),
		},
		BaseDir:   s.Dir(),
		IOTimeout: 20 * time.Second,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := client.Close(); err != nil {
			t.Error(err)
		}
	})
	return mountRemote(t, client, s.Dir(), change)
}
