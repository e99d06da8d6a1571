package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/util/yaml"

	"github.com/csi-uftp/csi-uftp/internal/volume"
	"github.com/csi-uftp/csi-uftp/uftp"
	"github.com/csi-uftp/csi-uftp/uftp/transfer"
)

func TestExitCodes(t *testing.T) {
	plain := errors.New("something")
	for _, tt := range []struct {
		err  error
		code int
		want string
	}{
		{plain, 1, "something\n"},
		{fmt.Errorf("two\nlines\tof text"), 1, "two lines of text\n"},
		{errors.New("500 no \x1b[2J\u202eway"), 1, "csi-uftp: 500 no [2J way\n"},
		{usageError{"missing argument URL", "csi-uftp ls"}, 2, `missing argument URL (see "csi-uftp ls --help")`},
		{usageErrorf("bad"), 2, "bad"},
		{fmt.Errorf("x: %w", volume.ErrInvalid), 2, ""},
		{fmt.Errorf("x: %w", fs.ErrInvalid), 2, ""},
		{&uftp.Error{Op: "authenticate", Code: 403, Err: uftp.ErrAuth}, 3, "check user name and password"},
		{fmt.Errorf("%w: key file: %w", uftp.ErrAuth, fs.ErrInvalid), 3, "check user name and password"},
		{&uftp.Error{Op: "mlst", Path: "x", Err: fs.ErrNotExist}, 4, "check the path"},
		{fmt.Errorf("%w: refused", uftp.ErrUnavailable), 5, "check host and port"},
		{fmt.Errorf("x: %w", context.DeadlineExceeded), 5, "check host and port"},
		{&uftp.Error{Op: "retr", Path: "x", Err: fs.ErrPermission}, 6, "ask the owner"},
		{fmt.Errorf("x: %w", uftp.ErrBusy), 7, "--max-sessions=1"},
		{fmt.Errorf("x: %w", uftp.ErrUntrusted), 8, "--ca-file"},
		{fmt.Errorf("x: %w", context.Canceled), 130, ""},
		{errors.Join(codeError(3), plain), 3, ""},
		{fmt.Errorf("%w: 2 of 3 items failed", transfer.ErrIncomplete), 9, "incomplete: 2 of 3 items failed"},
	} {
		var stderr bytes.Buffer
		a := &app{stderr: &stderr}
		if code := a.fail(tt.err); code != tt.code {
			t.Errorf("%v: exit code %d, want %d", tt.err, code, tt.code)
		}
		if got := stderr.String(); !strings.Contains(got, tt.want) || strings.Count(got, "\n") > 1 {
			t.Errorf("%v: message %q, want one line with %q", tt.err, got, tt.want)
		}
	}
	seen := make(map[int]bool)
	for _, o := range outcomes() {
		if seen[o.code] || o.meaning == "" || o.code == exitOK || o.code == exitFailure {
			t.Errorf("exit code %d is given twice, reserved, or not explained", o.code)
		}
		seen[o.code] = true
	}
}

func TestCommonBase(t *testing.T) {
	for _, tt := range []struct {
		paths string
		base  string
		names string
	}{
		{"", "", "."}, {".", "", "."}, {"/", "/", "."}, {"a", "", "a"}, {"a/b", "a", "b"}, {"a/b/c/", "a/b", "c"},
		{"/a", "/", "a"}, {"/a/b", "/a", "b"}, {"/a//b/./c", "/a/b", "c"},
		{"a/b,a/c", "a", "b,c"}, {"/a/b/c,/a/d", "/a", "b/c,d"}, {"/a,/b", "/", "a,b"}, {"a,", "", "a,."},
		{"a/b*/c", "a", "b*/c"}, {"a/b,a/b/c", "a", "b,b/c"},
	} {
		base, names, err := commonBase(strings.Split(tt.paths, ","), true)
		if err != nil || base != tt.base || strings.Join(names, ",") != tt.names {
			t.Errorf("commonBase(%q) = %q, %q, %v, want %q, %q", tt.paths, base, names, err, tt.base, tt.names)
		}
	}
	if _, _, err := commonBase([]string{"/a", "a"}, false); err == nil {
		t.Error("an absolute and a relative path have a common base")
	}
}

func TestParseRange(t *testing.T) {
	for _, tt := range []struct {
		s           string
		off, length int64
	}{
		{"0-0", 0, 1}, {"10-19", 10, 10}, {"1K-2k", 1024, 1025}, {"2M", 0, 2 << 20}, {"5-", 5, 1<<63 - 1 - 5}, {"1T-1T", 1 << 40, 1},
	} {
		r, err := parseRange(tt.s)
		if err != nil || r.Offset != tt.off || r.Length != tt.length {
			t.Errorf("parseRange(%q) = %+v, %v", tt.s, r, err)
		}
	}
	for _, s := range []string{"-", "-5", "5-4", "x", "0", "1-2-3", "9999999999T", "1--2", "0-9223372036854775807"} {
		if r, err := parseRange(s); err == nil {
			t.Errorf("parseRange(%q) = %+v", s, r)
		}
	}
}

func TestWithColon(t *testing.T) {
	for _, tt := range []struct{ url, want string }{
		{"https://h:1/rest/auth/T", "https://h:1/rest/auth/T:"},
		{"https://u:p@h:1/rest/auth/T?token=@x:y", "https://u:p@h:1/rest/auth/T:?token=@x:y"},
		{"uftp://h/rest/auth/T:/a", "uftp://h/rest/auth/T:/a"},
		{"nonsense", "nonsense"},
	} {
		if got := withColon(tt.url); got != tt.want {
			t.Errorf("withColon(%q) = %q, want %q", tt.url, got, tt.want)
		}
	}
}

func TestSplitMountURL(t *testing.T) {
	for _, tt := range []struct{ url, remote, dir string }{
		{"uftpmount://u:p@h:1/rest/auth/T:/a==/mnt", "uftp://u:p@h:1/rest/auth/T:/a", "/mnt"},
		{"uftpmount://h/rest/auth/T:==/mnt/a%20b?token=@x==", "uftp://h/rest/auth/T:?token=@x==", "/mnt/a b"},
		{"uftpmount://h/rest/auth/T:/a==b==m", "uftp://h/rest/auth/T:/a==b", "m"},
	} {
		got, err := splitMountURL([]string{tt.url})
		if err != nil || got[0] != tt.remote || got[1] != tt.dir {
			t.Errorf("%s: %q, %v", tt.url, got, err)
		}
	}
	for _, args := range [][]string{{"uftpmount://h/rest/auth/T:/a"}, {"uftpmount://h/rest/auth/T:/a=="}, {"uftpmount://h/rest/auth/T:/a==/m", "/n"}} {
		if _, err := splitMountURL(args); err == nil {
			t.Errorf("%q is accepted", args)
		}
	}
}

func TestKebab(t *testing.T) {
	for name, want := range map[string]string{"InclusiveRange": "inclusive-range", "CRLF": "crlf", "CleanFEAT": "clean-feat",
		"WorkingSIZE": "working-size", "UTF8": "utf8", "NoDelay": "no-delay", "HTTPProxy": "http-proxy"} {
		if got := kebab(name); got != want {
			t.Errorf("kebab(%q) = %q, want %q", name, got, want)
		}
	}
}

// TestMountFlags checks that every attribute that a person's mount can have is a
// flag of mount, with the table's default.
func TestMountFlags(t *testing.T) {
	flags := newMount(&app{}).Flags()
	for _, attribute := range volume.Attributes() {
		flag := flags.Lookup(attribute.Flag())
		switch attribute.Name {
		case "authURL", "path", "secretName", "secretNamespace", "sharing":
			if flag != nil {
				t.Errorf("--%s makes no sense at a shell", flag.Name)
			}
		case "server": // a flag of its own kind
		default:
			if flag == nil {
				t.Errorf("there is no flag for %s", attribute.Name)
			} else if flag.DefValue != attribute.Default {
				t.Errorf("--%s has the default %q, want %q", flag.Name, flag.DefValue, attribute.Default)
			}
		}
	}
}

// TestManifestArguments parses the arguments and probes that the Kubernetes
// manifests give to our containers.
func TestManifestArguments(t *testing.T) {
	files, err := filepath.Glob("../../deploy/kubernetes/base/*.yaml")
	if err != nil || len(files) == 0 {
		t.Fatalf("no manifests (%v)", err)
	}
	type probe struct{ Exec struct{ Command []string } }
	type object struct {
		Spec struct {
			Template struct {
				Spec struct {
					Containers []struct {
						Image                         string
						Args                          []string
						ReadinessProbe, LivenessProbe probe
					}
				}
			}
		}
	}
	commands := make(map[string]bool)
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		decoder := yaml.NewYAMLOrJSONDecoder(bytes.NewReader(data), len(data))
		for {
			var o object
			if err := decoder.Decode(&o); errors.Is(err, io.EOF) {
				break
			} else if err != nil {
				t.Fatalf("%s: %v", file, err)
			}
			for _, c := range o.Spec.Template.Spec.Containers {
				if c.Image != "csi-uftp" {
					continue
				}
				lines := [][]string{c.Args}
				for _, p := range []probe{c.ReadinessProbe, c.LivenessProbe} {
					if len(p.Exec.Command) > 0 {
						lines = append(lines, p.Exec.Command[1:])
					}
				}
				for _, args := range lines {
					cmd, rest, err := newRoot(&app{}).Find(args)
					if err == nil {
						err = cmd.ParseFlags(rest)
					}
					if err == nil {
						err = cmd.ValidateArgs(cmd.Flags().Args())
					}
					if err != nil {
						t.Errorf("%s: %v: %v", file, args, err)
						continue
					}
					commands[cmd.Name()] = true
				}
			}
		}
	}
	for _, name := range []string{"node", "keeper", "controller"} {
		if !commands[name] {
			t.Errorf("no container runs %s, only %v", name, commands)
		}
	}
}

// TestEveryCommandIsExplained keeps help texts from being forgotten.
func TestEveryCommandIsExplained(t *testing.T) {
	for _, cmd := range newRoot(&app{}).Commands() {
		if cmd.Hidden || slices.Contains([]string{"help", "completion"}, cmd.Name()) {
			continue
		}
		if cmd.Short == "" || cmd.Runnable() && cmd.Example == "" {
			t.Errorf("%s has no short text or no example", cmd.Name())
		}
	}
}
