package secrets_test

import (
	"flag"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/csi-uftp/csi-uftp/secrets"
)

var update = flag.Bool("update", false, "rewrite docs/PARAMETERS.md")

func TestDocumentation(t *testing.T) {
	const file, begin, end = "../docs/PARAMETERS.md", "<!-- secrets: generated -->\n", "<!-- end -->"
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, ok := strings.Cut(string(data), begin)
	documented, after, ok2 := strings.Cut(rest, end)
	if !ok || !ok2 {
		t.Fatalf("%s has no section between %q and %q", file, begin, end)
	}
	if *update {
		if err := os.WriteFile(file, []byte(before+begin+secrets.Markdown()+end+after), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if d := cmp.Diff(secrets.Markdown(), documented); d != "" {
		t.Errorf("%s differs from the table; run go test ./secrets -update (-table +file):\n%s", file, d)
	}
}
