package docs_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestLinks checks that what the documents link to is there.
func TestLinks(t *testing.T) {
	link := regexp.MustCompile(`\]\(([^)#:]+)(#[^)]*)?\)`)
	var files []string
	for _, pattern := range []string{"*.md", "adr/*.md", "../*.md"} {
		found, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, found...)
	}
	links := 0
	for _, file := range files {
		for _, m := range link.FindAllStringSubmatch(read(t, file), -1) {
			links++
			if _, err := os.Stat(filepath.Join(filepath.Dir(file), m[1])); err != nil {
				t.Errorf("%s links to %s: %v", file, m[1], err)
			}
		}
	}
	if links == 0 {
		t.Error("no links found")
	}
}

// TestReasons checks that each reason word of the driver is explained.
func TestReasons(t *testing.T) {
	text := read(t, "TROUBLESHOOTING.md")
	rows := regexp.MustCompile(`(?m)^\t\{"([A-Za-z]+)", codes\.`).FindAllStringSubmatch(read(t, "../driver/status.go"), -1)
	if len(rows) == 0 {
		t.Fatal("no reasons found in driver/status.go")
	}
	for _, row := range rows {
		if !strings.Contains(text, "`"+row[1]+"`") {
			t.Errorf("TROUBLESHOOTING.md does not explain %s", row[1])
		}
	}
}

// TestMakeTargets checks that the documents name targets that there are.
func TestMakeTargets(t *testing.T) {
	makefile := read(t, "../Makefile")
	for _, file := range []string{"../README.md", "CONTRIBUTING.md"} {
		for _, m := range regexp.MustCompile("(?m)(?:^    |`)(?:[A-Z_]+=\\S+ )?make ([a-z0-9-]+)").FindAllStringSubmatch(read(t, file), -1) {
			if !strings.Contains(makefile, "\n"+m[1]+":") {
				t.Errorf("%s: there is no make %s", file, m[1])
			}
		}
	}
}

func read(t *testing.T, file string) string {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}
