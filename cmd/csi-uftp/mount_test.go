package main

import (
	"os"
	"os/exec"
	"syscall"
	"testing"

	"github.com/spf13/pflag"

	"github.com/csi-uftp/csi-uftp/internal/volume"
)

// asOther is what the test program is called when it runs as another user.
const asOther = "as-other"

// TestMountOwner mounts nothing, but sees whose the mount would be: the user's who
// asks for it, or whose the flags name. Root runs it again as somebody else.
func TestMountOwner(t *testing.T) {
	if os.Geteuid() == 0 {
		cmd := exec.CommandContext(t.Context(), "/proc/self/exe", "-test.run=^TestMountOwner$")
		cmd.Args[0] = asOther
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 1234, Gid: 5678}}
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
	}
	uid, gid := uint32(os.Geteuid()), uint32(os.Getegid())
	t.Setenv(envPassword, "one-time")
	tests := []struct {
		name     string
		server   string
		args     []string
		uid, gid uint32
	}{
		{"a URL", "", []string{"--anonymous", "https://h/rest/auth/T:", "/"}, uid, gid},
		{"its query", "", []string{"--anonymous", "https://h/rest/auth/T:?uid=0&gid=7", "/"}, 0, 7},
		{"flags", "", []string{"--anonymous", "--uid=8", "https://h/rest/auth/T:", "/"}, 8, gid},
		{"a one-time password", "h:1", []string{"/"}, uid, gid},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f := mountFlags{server: tt.server}
			flags := pflag.NewFlagSet("mount", pflag.ContinueOnError)
			f.add(flags, func(volume.Attribute) bool { return true })
			if err := flags.Parse(tt.args); err != nil {
				t.Fatal(err)
			}
			job, err := (&app{}).mountJob(t.Context(), flags.Args(), &f)
			if err != nil {
				t.Fatal(err)
			}
			if job.Spec.UID != tt.uid || job.Spec.GID != tt.gid {
				t.Errorf("shown as %d:%d's, want %d:%d", job.Spec.UID, job.Spec.GID, tt.uid, tt.gid)
			}
		})
	}
}
