package pods_test

import (
	"context"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestReadme does what the README tells newcomers, on a cluster without the
// driver. The only changes are those of its table, and the overlay where there is
// no registry to pull the sidecars from.
func TestReadme(t *testing.T) {
	n := newSpaceAlone(t)
	n.onServer("write", n.dir("you-see-me"), "x")
	n.must(n.uninstall(t.Context()))
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), podTimeout)
		defer cancel()
		// For the tests that follow. A CSIDriver's lifecycle modes cannot be changed.
		n.must(n.uninstall(ctx))
		n.must(n.install(ctx, n.suite.server))
	})

	dir := t.TempDir()
	if err := os.CopyFS(filepath.Join(dir, "deploy"), os.DirFS(repository+"/deploy")); err != nil {
		t.Fatal(err)
	}
	change := func(file string, pairs ...string) {
		file = filepath.Join(dir, "deploy/kubernetes/examples", file)
		data, err := os.ReadFile(file)
		n.must(err)
		text := string(data)
		for i := 0; i < len(pairs); i += 2 {
			if strings.Count(text, pairs[i]) == 0 {
				t.Errorf("%s has no %q", file, pairs[i])
			}
			text = strings.ReplaceAll(text, pairs[i], pairs[i+1])
		}
		n.must(os.WriteFile(file, []byte(text), 0o600))
	}
	change("secret.yaml", "\n  username: demo\n", "\n  username: "+alice+"\n", "  password: demo-password\n", "  password: "+alicePassword+
		"\n  ca.crt: |\n    "+strings.ReplaceAll(strings.TrimSpace(n.server.ca), "\n", "\n    ")+"\n")
	change("static.yaml", "https://uftp.example.org:9000/rest/auth/TEST", n.server.authURL, "/data/project", n.dir())

	for _, line := range readmeCommands(t) {
		line = strings.ReplaceAll(line, "registry.example.org/csi-uftp:dev", productImage)
		line = strings.ReplaceAll(line, "deploy/kubernetes/base", "deploy/kubernetes/overlays/"+n.overlay)
		if _, err := command(t.Context(), nil, "env", "-C", dir, "sh", "-ec", line); err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), podTimeout)
		defer cancel()
		for _, file := range []string{"pod.yaml", "static.yaml"} {
			_, err := n.kubectl(ctx, "delete", "--timeout=2m", "-f", filepath.Join(dir, "deploy/kubernetes/examples", file))
			n.must(err)
		}
	})
	_, err := n.kubectl(t.Context(), "wait", "pod/uftp-data", "--for=jsonpath={.status.phase}=Succeeded", "--timeout=3m")
	if err != nil {
		out, _ := n.kubectl(t.Context(), "describe", "pod/uftp-data")
		t.Fatalf("%v\n%s", err, out)
	}
	log, err := n.kubectl(t.Context(), "logs", "pod/uftp-data")
	n.must(err)
	if !strings.Contains(log, "you-see-me") {
		t.Errorf("the pod says %q", log)
	}
}

// readmeCommands are the lines between the README's two marks.
func readmeCommands(t *testing.T) []string {
	t.Helper()
	text, err := os.ReadFile(repository + "/README.md")
	if err != nil {
		t.Fatal(err)
	}
	block := regexp.MustCompile(`(?s)<!-- the test TestReadme runs these lines -->\n(.*?)<!-- end -->`).FindStringSubmatch(string(text))
	if block == nil {
		t.Fatal("README.md has no marks around its commands")
	}
	var lines []string
	for line := range strings.Lines(block[1]) {
		if command, ok := strings.CutPrefix(line, "    "); ok {
			lines = append(lines, strings.TrimSpace(command))
		}
	}
	if len(lines) != 4 {
		t.Fatalf("the README has %d commands, not four: %q", len(lines), lines)
	}
	return lines
}
