package docs_test

import (
	"io/fs"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestFeatures checks that FEATURES.md names a test in each row, and only tests
// and scripts that there are.
func TestFeatures(t *testing.T) {
	tests := make(map[string]bool)
	function := regexp.MustCompile(`(?m)^func ((?:Test|Example)\w+)\(`)
	err := filepath.WalkDir("..", func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && (d.Name() == ".git" || d.Name() == "build"):
			return fs.SkipDir
		case strings.HasSuffix(path, ".txtar"):
			tests[d.Name()] = true
		case strings.HasSuffix(path, "_test.go"):
			for _, m := range function.FindAllStringSubmatch(read(t, path), -1) {
				tests[m[1]] = true
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	named := regexp.MustCompile("`([^`]*)`")
	rows := 0
	for line := range strings.SplitSeq(read(t, "FEATURES.md"), "\n") {
		cells := strings.Split(line, "|")
		if len(cells) != 8 || strings.HasPrefix(line, "| feature") || strings.HasPrefix(line, "|--") {
			continue
		}
		rows++
		names := named.FindAllStringSubmatch(cells[6], -1)
		if len(names) == 0 || strings.TrimSpace(cells[5]) == "" {
			t.Errorf("nothing shows this: %s", line)
		}
		for _, name := range names {
			if !tests[name[1]] {
				t.Errorf("there is no %s: %s", name[1], line)
			}
		}
	}
	if rows < 30 {
		t.Errorf("%d rows", rows)
	}
}
