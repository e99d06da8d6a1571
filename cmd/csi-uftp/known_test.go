package main

import (
	"errors"
	"io/fs"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/csi-uftp/csi-uftp/uftp"
	"github.com/csi-uftp/csi-uftp/uftp/uftptest"
)

// TestKnown asks for no file a second time at once that was asked for with the log-in,
// and asks again later.
func TestKnown(t *testing.T) {
	s := uftptest.Start(t, uftptest.Config{})
	s.WriteFile(t, "dir/f", []byte("f"))
	user := uftptest.DefaultUser()
	c, err := uftp.New(uftp.Config{AuthURL: s.AuthURL(), BaseDir: s.Dir(), Access: uftp.Access{
		Credential: uftp.UsernamePassword{Username: user.Name, Password: uftp.Secret(user.Password)}, CABundle: s.CABundle(),
	}})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	u := use{sessions: 4, inside: []string{"f", "g"}}
	k, err := look(t.Context(), c, u.looks([]string{"dir"}))
	if err != nil {
		t.Fatal(err)
	}
	r := remote{Client: c, known: k}
	from, tree := r.side(nil), r.tree()
	for _, name := range []string{"dir", "dir/f", "dir/g"} {
		for i, stat := range []func() (uftp.Info, error){
			func() (uftp.Info, error) { return from.stat(t.Context(), name) },
			func() (uftp.Info, error) { return tree.Stat(t.Context(), name) },
			func() (uftp.Info, error) { return tree.Stat(t.Context(), name) },
		} {
			before := c.Stats().RoundTrips
			info, err := stat()
			if name == "dir/g" && !errors.Is(err, fs.ErrNotExist) || name != "dir/g" && err != nil || info.IsDir() != (name == "dir") {
				t.Errorf("%s: %+v, %v", name, info, err)
			}
			if asked := c.Stats().RoundTrips > before; asked != (i == 2) {
				t.Errorf("%s, question %d: asked %t", name, i, asked)
			}
		}
	}
}

// TestLooks are what a command asks for with its log-in: no patterns, and not too many.
func TestLooks(t *testing.T) {
	for name, tt := range map[string]struct {
		use   use
		names []string
		want  []string
	}{
		"nothing is moved": {use{}, []string{"a"}, nil},
		"a listing":        {use{sessions: 2, list: true}, []string{"a"}, nil},
		"patterns":         {use{sessions: 1, glob: true}, []string{"a*", "b"}, []string{"b"}},
		"no patterns":      {use{sessions: 1}, []string{"a*", "b"}, []string{"a*", "b"}},
		"a target":         {use{sessions: 1, inside: []string{"x", "y"}}, []string{"."}, []string{".", "x", "y"}},
		"many":             {use{sessions: 1}, make([]string, 100), make([]string, maxLooks)},
	} {
		if diff := cmp.Diff(tt.want, tt.use.looks(tt.names)); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
}
