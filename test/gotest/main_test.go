package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestRun runs a small module's tests and checks text and exit code.
func TestRun(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("go.mod", "module example\n\ngo 1.26\n")
	const head = "package example\n\nimport \"testing\"\n\n"
	const tests = head + `func TestPass(t *testing.T) { t.Log("quiet") }

func TestSkip(t *testing.T) { t.Skip("there is no moon") }
`
	for _, tt := range []struct {
		name, text string
		code       int
		want       []string
		no         []string
	}{
		{"pass", tests, 0, []string{"ok  \texample", "1 tests passed, 1 were skipped", "there is no moon\n    example TestSkip"}, []string{"quiet", "=== RUN"}},
		{"fail", tests + "\nfunc TestFail(t *testing.T) { t.Error(\"wrong\") }\n", 1, []string{"--- FAIL: TestFail", "wrong", "FAIL\texample", "there is no moon"}, []string{"quiet"}},
		{"panic", tests + "\nfunc TestPanic(t *testing.T) { panic(\"oh\") }\n", 1, []string{"panic: oh", "FAIL\texample"}, nil},
		{"compile error", tests + "\nfunc TestX(t *testing.T) { undefined() }\n", 1, []string{"undefined: undefined", "FAIL\texample"}, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			write("example_test.go", tt.text)
			t.Chdir(dir)
			var out, errs bytes.Buffer
			code, err := run([]string{"./..."}, &out, &errs)
			if err != nil || code != tt.code {
				t.Errorf("exit code %d (%v), want %d\n%s", code, err, tt.code, errs.String())
			}
			for _, want := range tt.want {
				if !strings.Contains(out.String(), want) {
					t.Errorf("no %q in\n%s", want, out.String())
				}
			}
			for _, no := range tt.no {
				if strings.Contains(out.String(), no) {
					t.Errorf("%q in\n%s", no, out.String())
				}
			}
		})
	}
}
