package fsxtest_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/csi-uftp/csi-uftp/mounter/fusefs/fsxtest"
)

// TestLocal runs on an ordinary file system, which must pass.
func TestLocal(t *testing.T) {
	for seed := range uint64(3) {
		dir, final := t.TempDir(), filepath.Join(t.TempDir(), "final")
		if err := fsxtest.Run(fsxtest.Config{Dir: dir, Seed: seed, Ops: 1500, Served: dir, Final: final}); err != nil {
			t.Error(err)
			continue
		}
		b, err := os.ReadFile(final)
		if err != nil {
			t.Fatal(err)
		}
		name, want, _ := strings.Cut(string(b), "\n")
		got, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil || string(got) != want {
			t.Errorf("seed %d: the final file is not what was said (%v)", seed, err)
		}
	}
}

// TestNotices runs while somebody else spoils the file.
func TestNotices(t *testing.T) {
	dir := t.TempDir()
	spoil := writerFunc(func(p []byte) (int, error) {
		if strings.HasPrefix(string(p), "300: ") {
			names, _ := filepath.Glob(filepath.Join(dir, "*"))
			for _, name := range names {
				if err := os.Truncate(name, 1); err != nil {
					return 0, err
				}
			}
		}
		return len(p), nil
	})
	err := fsxtest.Run(fsxtest.Config{Dir: dir, Seed: 1, Ops: 1000, Trace: spoil})
	if err == nil {
		t.Fatal("a spoilt file was not noticed")
	}
	if !strings.Contains(err.Error(), "seed 1") {
		t.Errorf("the error does not say how to repeat it: %v", err)
	}
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }
