package mounter_test

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
)

// procFields parses /proc/PID/status.
func procFields(t *testing.T, pid int) map[string]string {
	t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Fatal(err)
	}
	fields := make(map[string]string)
	for line := range strings.Lines(string(b)) {
		name, value, _ := strings.Cut(line, ":")
		fields[name] = strings.Join(strings.Fields(value), " ")
	}
	return fields
}

func TestWorkerHasNoPrivileges(t *testing.T) {
	e := newEnv(t)
	p := e.publication("v1", "a")
	e.publish(p)
	defer e.unpublish(p)
	pid := e.lastWorker()
	got := procFields(t, pid)
	const none = "0000000000000000"
	for name, want := range map[string]string{
		"Uid": "65534 65534 65534 65534", "Gid": "65534 65534 65534 65534", "Groups": "",
		"CapInh": none, "CapPrm": none, "CapEff": none, "CapBnd": none, "CapAmb": none, "NoNewPrivs": "1",
	} {
		if got[name] != want {
			t.Errorf("%s is %q, want %q", name, got[name], want)
		}
	}
	limits, err := os.ReadFile(fmt.Sprintf("/proc/%d/limits", pid))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(limits)) {
		if f := strings.Fields(line); strings.HasPrefix(line, "Max core file size") && (f[4] != "0" || f[5] != "0") {
			t.Errorf("core files: %s", line)
		}
	}
	// A process that cannot be dumped or traced by its own user belongs to root.
	if st, err := os.Stat(fmt.Sprintf("/proc/%d/environ", pid)); err != nil || st.Sys().(*syscall.Stat_t).Uid != 0 {
		t.Errorf("the worker is dumpable: %v", err)
	}
	// And the keeper, whose thread gave up its own chance, still may.
	if self := procFields(t, os.Getpid()); self["NoNewPrivs"] != "0" || self["CapEff"] == none {
		t.Errorf("the keeper lost privileges: %s %s", self["NoNewPrivs"], self["CapEff"])
	}
}

// A worker holds its own device and nothing of anybody else's.
func TestWorkerDescriptors(t *testing.T) {
	e := newEnv(t)
	p, q := e.publication("v1", "a"), e.publication("v2", "b")
	q.Spec.UID = 7
	e.publish(p)
	e.publish(q)
	for _, pid := range e.keeperLogPIDs() {
		var devices, odd []string
		entries, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", pid))
		if err != nil {
			t.Fatal(err)
		}
		for _, entry := range entries {
			link, err := os.Readlink(fmt.Sprintf("/proc/%d/fd/%s", pid, entry.Name()))
			switch {
			case err != nil: // closed since
			case link == "/dev/fuse":
				devices = append(devices, entry.Name())
			case strings.HasPrefix(link, "/sys/fs/cgroup/"): // Go's runtime asks how many CPUs there are
			case link == "/dev/null", link == e.stderr.Name(), link == e.served,
				strings.HasPrefix(link, "socket:"), strings.HasPrefix(link, "anon_inode:"), strings.HasPrefix(link, "pipe:"):
			default:
				odd = append(odd, entry.Name()+" → "+link)
			}
		}
		if len(devices) != 1 || len(odd) > 0 {
			t.Errorf("worker %d: devices %v, others %v", pid, devices, odd)
		}
	}
	e.unpublish(p)
	e.unpublish(q)
}

// Secrets are where they must be and nowhere that anybody can look.
func TestSecretsAreNotSeen(t *testing.T) {
	e := newEnv(t)
	p := e.publication("v1", "a")
	e.publish(p)
	var errs []string
	for _, password := range []string{"wrong-M4RKED-S3CRET", goodPassword + "-2"} {
		q := e.publication("v1", "q"+password[:1])
		if err := e.manager.Publish(t.Context(), q, access("demo", password)); err != nil {
			errs = append(errs, err.Error())
		} else {
			defer e.unpublish(q)
		}
		if err := e.manager.Publish(t.Context(), p, access("demo", password)); err != nil {
			t.Error(err)
		}
	}
	if len(errs) != 1 {
		t.Errorf("errors %q, want one", errs)
	}
	seen := map[string]string{"logs": e.log.String(), "errors": strings.Join(errs, "\n")}
	files := []string{e.stderr.Name(), "/proc/self/mountinfo", "/proc/self/environ", "/proc/self/cmdline"}
	for _, pid := range workersOf(e.keeperLogPIDs()) {
		cmdline := fmt.Sprintf("/proc/%d/cmdline", pid)
		environ := fmt.Sprintf("/proc/%d/environ", pid)
		files = append(files, cmdline, environ)
		if b, _ := os.ReadFile(cmdline); string(b) != "/proc/self/exe\x00worker\x00" {
			t.Errorf("command line %q", b)
		}
		if b, _ := os.ReadFile(environ); string(b) != "GORACE=atexit_sleep_ms=0\x00" {
			t.Errorf("environment %q", b)
		}
	}
	if err := filepath.WalkDir(e.plugin, func(path string, d os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		seen["names"] += path + "\n"
		if d.IsDir() && filepath.Base(filepath.Dir(path)) == "mounts" {
			return filepath.SkipDir // a mount
		}
		return nil
	}); err != nil {
		t.Error(err)
	}
	for _, name := range files {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Error(err)
		}
		seen[name] = string(b)
	}
	for where, text := range seen {
		if i := strings.Index(text, "M4RKED"); i >= 0 {
			t.Errorf("a secret is in the %s: …%s…", where, text[max(0, i-100):min(len(text), i+100)])
		}
	}
	if !slices.Contains(files, e.stderr.Name()) || len(seen[e.stderr.Name()]) == 0 {
		t.Error("the workers logged nothing: this test looks in the wrong place")
	}
	e.unpublish(p)
}

// TestKeeperKeepsNoCredential: what is published and refreshed goes through the node
// and the keeper to the worker, and stays there alone.
func TestKeeperKeepsNoCredential(t *testing.T) {
	e := newEnv(t)
	p := e.publication("v1", "a")
	e.publish(p)
	if err := e.manager.Publish(t.Context(), p, access("demo", goodPassword+"-rotated")); err != nil {
		t.Fatal(err)
	}
	entries, err := os.ReadDir("/proc/self/fd") // of both
	if err != nil {
		t.Fatal(err)
	}
	for _, entry := range entries {
		if link, _ := os.Readlink("/proc/self/fd/" + entry.Name()); strings.Contains(link, "memfd:") {
			t.Errorf("%s is open", link)
		}
	}
	e.unpublish(p)
}
