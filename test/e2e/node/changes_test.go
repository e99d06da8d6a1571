package node_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/csi-uftp/csi-uftp/uftp/uftptest"
)

// TestChangesByOthers changes files on the server while they are open and being
// read: what was opened is one version or ESTALE, and what is opened after the
// change is the new one.
func TestChangesByOthers(t *testing.T) {
	t.Parallel()
	const size = 6 << 20
	old := bytes.Repeat([]byte("old "), size/4)
	changes := []struct {
		name   string
		change func(t *testing.T, s *uftptest.Server, name string) (now []byte, err error)
	}{
		{"grown", func(t *testing.T, s *uftptest.Server, name string) ([]byte, error) {
			now := bytes.Repeat([]byte("new "), size/2)
			s.WriteFile(t, name, now)
			return now, nil
		}},
		{"appended", func(t *testing.T, s *uftptest.Server, name string) ([]byte, error) {
			f, err := os.OpenFile(filepath.Join(s.Dir(), name), os.O_APPEND|os.O_WRONLY, 0)
			if err != nil {
				return nil, err
			}
			_, err = f.WriteString("more")
			return append(bytes.Clone(old), "more"...), errors.Join(err, f.Close())
		}},
		{"shrunk", func(t *testing.T, s *uftptest.Server, name string) ([]byte, error) {
			now := []byte("new ")
			s.WriteFile(t, name, now)
			return now, nil
		}},
		{"replaced", func(t *testing.T, s *uftptest.Server, name string) ([]byte, error) {
			now := bytes.Repeat([]byte("new!"), size/4) // as long as the old one
			s.WriteFile(t, name+".tmp", now)
			return now, os.Rename(filepath.Join(s.Dir(), name+".tmp"), filepath.Join(s.Dir(), name))
		}},
		{"deleted", func(_ *testing.T, s *uftptest.Server, name string) ([]byte, error) {
			return nil, os.Remove(filepath.Join(s.Dir(), name))
		}},
	}
	uftptest.Each(t, uftptest.Config{}, func(t *testing.T, s *uftptest.Server) {
		n := startNode(t)
		v := n.mount(t, s, "changed")
		past := time.Now().Add(-time.Hour)
		for _, c := range changes {
			t.Run(c.name, func(t *testing.T) {
				for _, size := range []int{1 << 10, size} {
					name := fmt.Sprint(c.name, size)
					old := old[:size]
					s.WriteFile(t, name, old)
					if err := os.Chtimes(filepath.Join(s.Dir(), name), past, past); err != nil {
						t.Fatal(err)
					}
					old = bytes.Clone(old)
					mounted := filepath.Join(v.target, name)
					fi, err := os.Stat(mounted)
					if err != nil || fi.Size() != int64(size) {
						t.Fatalf("%d bytes, want %d (%v)", fi.Size(), size, err)
					}
					f, err := os.Open(mounted)
					if err != nil {
						t.Fatal(err)
					}
					defer f.Close()
					head := make([]byte, size/3&^3)
					if _, err := io.ReadFull(f, head); err != nil {
						t.Fatal(err)
					}
					sameBytes(t, "before", head, old[:len(head)])
					now, err := c.change(t, s, name)
					if err != nil {
						t.Fatal(err)
					}
					if c.name == "appended" {
						now = append(old, "more"...)
					}
					rest, err := io.ReadAll(f)
					if err != nil && !errors.Is(err, syscall.ESTALE) {
						t.Errorf("the rest: %v", err)
					}
					if !bytes.Equal(rest, old[len(head):][:min(len(rest), size-len(head))]) {
						t.Errorf("the rest is of another version: %d bytes", len(rest))
					}
					if err == nil && len(rest) != size-len(head) {
						t.Errorf("%d bytes of the rest, and no error; want %d or ESTALE", len(rest), size-len(head))
					}
					got, err := os.ReadFile(mounted)
					switch {
					case now == nil && !errors.Is(err, os.ErrNotExist):
						t.Errorf("opened after it was removed: %v", err)
					case now != nil && err != nil:
						t.Errorf("opened again: %v", err)
					case now != nil:
						sameBytes(t, "opened again", got, now)
					}
				}
			})
		}
	})
}

// TestCloseToOpen shows what was closed on the server to whoever opens it next,
// at once, whatever the kernel remembers of the file.
func TestCloseToOpen(t *testing.T) {
	t.Parallel()
	s := uftptest.Start(t, uftptest.Config{})
	n := startNode(t)
	v := n.mount(t, s, "open", "attrTimeout=1h", "entryTimeout=1h")
	for _, kind := range []string{"read", "append"} {
		t.Run(kind, func(t *testing.T) {
			name, there := filepath.Join(v.target, kind), filepath.Join(s.Dir(), kind)
			for i, size := range []int{100, 5000, 70000, 10, 0, 300000, 299999} {
				data := content(uint64(i), size)
				s.WriteFile(t, kind, data)
				when := time.Now().Add(time.Duration(i-100) * time.Minute)
				if err := os.Chtimes(there, when, when); err != nil {
					t.Fatal(err)
				}
				if kind == "append" {
					f, err := os.OpenFile(name, os.O_WRONLY|os.O_APPEND, 0)
					if err != nil {
						t.Fatal(err)
					}
					_, err = f.WriteString("more")
					if err = errors.Join(err, f.Close()); err != nil {
						t.Error(err)
					}
					got, err := os.ReadFile(there)
					if err != nil {
						t.Fatal(err)
					}
					sameBytes(t, "appended", got, append(data, "more"...))
					continue
				}
				f, err := os.Open(name)
				if err != nil {
					t.Fatal(err)
				}
				got, err := io.ReadAll(f)
				if err != nil {
					t.Error(err)
				}
				sameBytes(t, "opened", got, data)
				// What tail and mmap go by.
				if fi, err := f.Stat(); err != nil || fi.Size() != int64(size) {
					t.Errorf("fstat after open: %d bytes, want %d (%v)", fi.Size(), size, err)
				}
				if end, err := f.Seek(0, io.SeekEnd); err != nil || end != int64(size) {
					t.Errorf("the end is at %d, want %d (%v)", end, size, err)
				}
				if err := f.Close(); err != nil {
					t.Error(err)
				}
			}
		})
	}
}
