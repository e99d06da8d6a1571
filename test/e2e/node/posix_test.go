package node_test

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/hanwen/go-fuse/v2/posixtest"

	"github.com/csi-uftp/csi-uftp/mounter/fusefs/fsxtest"
)

// notApplicable holds the cases of posixtest that need what UFTP lacks.
var notApplicable = map[string]string{
	"SymlinkReadlink":     "no symbolic links",
	"SetattrSymlink":      "no symbolic links",
	"OpenSymlinkRace":     "no symbolic links",
	"Link":                "no hard links",
	"LinkUnlinkRename":    "no hard links",
	"FallocateKeepSize":   "nothing can be reserved on the server",
	"FcntlFlockLocksFile": "locks of a mount are the kernel's; go-fuse's own test run leaves this case out, too",
}

func TestPosix(t *testing.T) {
	eachMount(t, func(t *testing.T, mnt string) {
		for name, f := range posixtest.All {
			t.Run(name, func(t *testing.T) {
				if why := notApplicable[name]; why != "" {
					t.Skip(why)
				}
				dir := filepath.Join(mnt, name)
				if err := os.Mkdir(dir, 0o755); err != nil {
					t.Fatal(err)
				}
				f(t, dir)
			})
		}
	})
}

var (
	fsxOps  = flag.Int("fsx.ops", 100000, "operations of TestFsx on each server, over its seeds")
	fsxSeed = flag.Uint64("fsx.seed", 1, "first seed of TestFsx")
)

// TestFsx compares random operations through the whole of it, from the system
// call to the server's disk, with a model.
func TestFsx(t *testing.T) {
	const seeds = 10
	eachMount(t, func(t *testing.T, mnt string) {
		for seed := *fsxSeed; seed < *fsxSeed+seeds; seed++ {
			t.Run(fmt.Sprint(seed), func(t *testing.T) {
				final := filepath.Join(t.TempDir(), "final")
				err := fsxtest.RunChild(t.Context(), fsxtest.Config{Dir: mnt, Seed: seed, Ops: *fsxOps / seeds, Direct: true, Final: final})
				if err != nil {
					t.Fatal(err)
				}
				b, err := os.ReadFile(final)
				if err != nil {
					t.Fatal(err)
				}
				name, want, _ := strings.Cut(string(b), "\n")
				got, err := os.ReadFile(filepath.Join(mnt, name))
				if err != nil || string(got) != want {
					t.Errorf("the file at the end is not what was written (%v)", err)
				}
			})
		}
	})
}
