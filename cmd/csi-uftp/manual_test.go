package main

import (
	"bufio"
	"os"
	"strings"
	"testing"
)

// TestManual checks that docs/CLI.md shows every command for people, and only
// commands and flags that there are.
func TestManual(t *testing.T) {
	text, err := os.ReadFile("../../docs/CLI.md")
	if err != nil {
		t.Fatal(err)
	}
	shownCommands := make(map[string]bool)
	lines := bufio.NewScanner(strings.NewReader(string(text)))
	for lines.Scan() {
		line, ok := strings.CutPrefix(lines.Text(), "    csi-uftp ")
		if !ok {
			continue
		}
		root := newRoot(&app{})
		root.InitDefaultCompletionCmd()
		cmd, rest, err := root.Find(strings.Fields(strings.ReplaceAll(line, "'", "")))
		if err == nil {
			err = cmd.ParseFlags(rest)
		}
		if err == nil {
			err = cmd.ValidateArgs(cmd.Flags().Args())
		}
		if err != nil {
			t.Errorf("csi-uftp %s: %v", line, err)
			continue
		}
		shownCommands[cmd.CommandPath()] = true
	}
	for _, cmd := range newRoot(&app{}).Commands() {
		leaves := append(cmd.Commands(), cmd)
		for _, c := range leaves {
			if cmd.GroupID == "people" && c.Runnable() && !shownCommands[c.CommandPath()] {
				t.Errorf("docs/CLI.md does not show %s", c.CommandPath())
			}
		}
	}
}
