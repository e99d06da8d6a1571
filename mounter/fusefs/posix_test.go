package fusefs_test

import (
	"testing"

	"github.com/hanwen/go-fuse/v2/posixtest"

	"github.com/csi-uftp/csi-uftp/mounter/fusefs"
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
	eachServer(t, func(t *testing.T, mount mountFunc) { testPosix(t, mount, nil) })
}

// TestPosixUncached runs the cases without any caching of the kernel's.
func TestPosixUncached(t *testing.T) {
	testPosix(t, mountDir, func(cfg *fusefs.Config) { cfg.Spec.AttrTimeout, cfg.Spec.EntryTimeout = 0, 0 })
}

func testPosix(t *testing.T, mount mountFunc, change func(*fusefs.Config)) {
	for name, f := range posixtest.All {
		t.Run(name, func(t *testing.T) {
			if why := notApplicable[name]; why != "" {
				t.Skip(why)
			}
			f(t, mount(t, change).dir)
		})
	}
}
