package mounter_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/csi-uftp/csi-uftp/uftp"
	"github.com/csi-uftp/csi-uftp/uftp/uftptest"
)

// TestServerShare mounts what is shared with everybody, without a credential, and
// renews such a mount.
func TestServerShare(t *testing.T) {
	uftptest.Each(t, uftptest.Config{Sharing: true}, func(t *testing.T, s *uftptest.Server) {
		s.WriteFile(t, "public/f", []byte("shared"))
		s.WriteFile(t, "inbox/f", []byte("old"))
		s.WriteFile(t, "private/f", nil)
		owner := uftp.AuthRequest{AuthURL: s.AuthURL(), Access: serverAccess(s)}
		for dir, access := range map[string]uftp.ShareAccess{"public": uftp.ShareRead, "inbox": uftp.ShareWrite} {
			if _, err := uftp.CreateShare(t.Context(), owner, uftp.ShareRequest{Path: filepath.Join(s.Dir(), dir), Access: access}); err != nil {
				t.Fatal(err)
			}
		}
		nobody := uftp.Access{Credential: uftp.Anonymous{}, CABundle: s.CABundle()}
		e := newEnv(t)
		for _, dir := range []string{"public", "inbox"} {
			p := e.publication("v-"+dir, dir)
			p.Spec = serverSpec(s)
			p.Spec.AuthURL, p.Spec.Path = s.AccessURL(), filepath.Join(s.Dir(), dir)
			for range 2 { // the second one renews the credential
				if err := e.manager.Publish(t.Context(), p, nobody); err != nil {
					t.Fatal(err)
				}
			}
			if strings.Contains(e.log.String(), "credential not accepted") {
				t.Error("the mount was not renewed")
			}
			name := filepath.Join(p.Target, "f")
			if _, err := os.ReadFile(name); err != nil {
				t.Error(err)
			}
			err := os.WriteFile(name, []byte("new"), 0o644)
			got, rerr := os.ReadFile(filepath.Join(s.Dir(), dir, "f"))
			switch {
			case rerr != nil:
				t.Error(rerr)
			case dir == "public" && (!errors.Is(err, fs.ErrPermission) || string(got) != "shared"):
				t.Errorf("writing to what may be read: %v, %q", err, got)
			case dir == "inbox" && (err != nil || string(got) != "new"):
				t.Errorf("writing to what may be written: %v, %q", err, got)
			}
			e.unpublish(p)
		}
		p := e.publication("v-private", "private")
		p.Spec = serverSpec(s)
		p.Spec.AuthURL, p.Spec.Path = s.AccessURL(), filepath.Join(s.Dir(), "private")
		if err := e.manager.Publish(t.Context(), p, nobody); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("what is not shared: %v", err)
		}
	})
}
