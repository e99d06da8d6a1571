package uftp_test

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/csi-uftp/csi-uftp/uftp"
	"github.com/csi-uftp/csi-uftp/uftp/uftptest"
)

// TestFetch reads ranges inside, across and past the end of a file, and learns
// what the file was.
func TestFetch(t *testing.T) {
	t.Parallel()
	uftptest.Each(t, uftptest.Config{}, func(t *testing.T, s *uftptest.Server) {
		data := pattern(3<<20, 50)
		s.WriteFile(t, "dir/data", data)
		when := time.Date(2021, 7, 1, 12, 30, 15, 0, time.UTC)
		check(t, os.Chtimes(filepath.Join(s.Dir(), "dir/data"), when, when))
		c := open(t, s)
		for _, tt := range []struct {
			off  int64
			n    int
			want int
		}{
			{0, 10, 10}, {1, 3<<20 - 1, 3<<20 - 1}, {0, 3 << 20, 3 << 20}, {5, 0, 0},
			{3<<20 - 10, 100, 10}, {100, 4 << 20, 3<<20 - 100}, {3 << 20, 10, 0}, {1 << 40, 10, 0},
		} {
			p := make([]byte, tt.n)
			n, after, err := c.Fetch(t.Context(), uftp.Read{Path: "dir//data", Off: tt.off, Buf: p, Ahead: tt.n%2 == 1})
			if tt.want < tt.n && !errors.Is(err, io.EOF) || tt.want == tt.n && err != nil {
				t.Fatalf("%+v: error %v", tt, err)
			}
			if n != tt.want || n > 0 && !bytes.Equal(p[:n], data[tt.off:tt.off+int64(n)]) {
				t.Errorf("%+v: %d bytes, or wrong ones", tt, n)
			}
			if after.Name != "data" || after.Size != int64(len(data)) || !after.ModTime.Equal(when) || after.Access&6 != 6 {
				t.Errorf("%+v: after %+v", tt, after)
			}
		}
		_, _, err := c.Fetch(t.Context(), uftp.Read{Path: "none", Buf: make([]byte, 1)})
		wantErr(t, err, fs.ErrNotExist)
		_, _, err = c.Fetch(t.Context(), uftp.Read{Path: "dir/data", Off: -1, Buf: make([]byte, 1)})
		wantErr(t, err, fs.ErrInvalid)
	})
}
