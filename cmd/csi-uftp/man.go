package main

import (
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/cobra/doc"
)

func newMan() *cobra.Command {
	return &cobra.Command{
		Use:     "man DIR",
		Hidden:  true,
		Short:   "Write the manual pages into a directory",
		Long:    "Writes a manual page, section 1, for each command into a directory.",
		Example: "  csi-uftp man /usr/local/share/man/man1",
		Args:    exactArgs("DIR"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := os.MkdirAll(args[0], 0o755); err != nil { //nolint:gosec // manuals are for all
				return err
			}
			root := cmd.Root()
			root.DisableAutoGenTag = true // the same every time
			return doc.GenManTree(root, &doc.GenManHeader{Section: "1", Source: "csi-uftp", Manual: "csi-uftp"}, args[0])
		},
	}
}

// complete makes a command's operands complete, and those of commands below it.
func (a *app) complete(cmd *cobra.Command) {
	if strings.Contains(cmd.Use, "URL") || strings.Contains(cmd.Use, "SOURCE") {
		cmd.ValidArgsFunction = a.completeOperands
	}
	for _, c := range cmd.Commands() {
		a.complete(c)
	}
}

// completeOperands offers the names of endpoints, and files.
func (a *app) completeOperands(_ *cobra.Command, _ []string, typed string) ([]string, cobra.ShellCompDirective) {
	c, err := loadConfig()
	if err != nil {
		return nil, cobra.ShellCompDirectiveDefault
	}
	var names []string
	for name := range c.Endpoints {
		if strings.HasPrefix(name, typed) {
			names = append(names, name+":")
		}
	}
	slices.Sort(names)
	if len(names) == 0 {
		return nil, cobra.ShellCompDirectiveDefault // files
	}
	return names, cobra.ShellCompDirectiveNoSpace
}
