package main

import (
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"

	"github.com/spf13/cobra"
)

// app is what all commands share.
type app struct {
	stdin          io.Reader
	stdout, stderr io.Writer
	logLevel       string
	logFormat      string
	config         config
	knownFlag      func(name string) bool // whether some command has it
}

func newRoot(a *app) *cobra.Command {
	root := &cobra.Command{
		Use:   "csi-uftp",
		Short: "Mount directories of UFTP servers, in Kubernetes and elsewhere",
		Long: `csi-uftp mounts directories of UFTP servers: as volumes of Kubernetes pods,
or on any Linux machine.

A directory is named by a URL: the auth server, the UFTP server's name there,
a colon, and the path.

  uftp://host:port/rest/auth/NAME:/absolute/path
  uftp://host:port/rest/auth/NAME:path/below/home

Who you are is given by flags or the environment; "csi-uftp help credentials"
tells how. Start with

  csi-uftp ls --user demo uftp://uftp.example.org:9000/rest/auth/TEST:
`,
		PersistentPreRunE: func(cmd *cobra.Command, _ []string) error {
			// Complain about settings before anything is done.
			if _, err := a.logger(slog.LevelInfo); err != nil {
				return err
			}
			return a.readConfig(cmd)
		},
		SilenceErrors: true,
		SilenceUsage:  true,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return nil
			}
			msg := "unknown command"
			if !strings.Contains(args[0], "://") { // a URL may hold a password
				msg += fmt.Sprintf(" %q", args[0])
			}
			if near := cmd.SuggestionsFor(args[0]); len(near) > 0 {
				msg += "; did you mean " + strings.Join(near, " or ") + "?"
			}
			return usageError{msg, cmd.CommandPath()}
		},
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	root.SetCompletionCommandGroupID("people")
	root.SetHelpCommandGroupID("people")
	root.SuggestionsMinimumDistance = 2
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return usageError{err.Error(), cmd.CommandPath()}
	})
	root.PersistentFlags().StringVar(&a.logLevel, "log-level", "", "`LEVEL` of messages on stderr: debug, info, warn or error (default info for services, warn for others)")
	root.PersistentFlags().StringVar(&a.logFormat, "log-format", "text", "`FORMAT` of messages on stderr: text or json")

	const people, services = "people", "services"
	root.AddGroup(&cobra.Group{ID: people, Title: "Commands for people:"},
		&cobra.Group{ID: services, Title: "Services (see deploy/kubernetes):"})
	add := func(group string, commands ...*cobra.Command) {
		for _, c := range commands {
			c.GroupID = group
			a.complete(c)
			root.AddCommand(c)
		}
	}
	add(people, newMount(a), newUnmount(), newCp(a), newSync(a), newRcp(a), newLs(a), newFind(a), newStat(a), newCat(a),
		newMkdir(a), newMv(a), newRm(a), newChecksum(a), newShare(a), newAuth(a), newInfo(a), newIssueToken(a), newURL(a), newTestserver(a))
	add(services, newNode(a), newController(a), newKeeper(a))
	root.AddCommand(newWorker(a), newVersion(a), newMan(), helpCredentials(), helpConfig(), helpExitCodes())
	a.knownFlag = knownFlags(root)
	return root
}

// readConfig reads the configuration for commands that talk to servers, and sets
// their flags to the defaults in it.
func (a *app) readConfig(cmd *cobra.Command) (err error) {
	top := cmd
	for top.HasParent() && top.Parent().HasParent() {
		top = top.Parent()
	}
	if top.GroupID != "people" || slices.Contains([]string{"testserver", "help", "completion"}, top.Name()) {
		return nil
	}
	if a.config, err = loadConfig(); err != nil {
		return err
	}
	return setFlags(cmd.Flags(), a.knownFlag, a.config.Defaults, "defaults")
}

// minimumArgs wants at least as many arguments as there are names.
func minimumArgs(names ...string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) < len(names) {
			return exactArgs(names...)(cmd, args)
		}
		return nil
	}
}

// exactArgs is cobra.ExactArgs with the names of the arguments in its error.
func exactArgs(names ...string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		switch {
		case len(args) < len(names):
			return usageError{"missing argument " + strings.Join(names[len(args):], " "), cmd.CommandPath()}
		case len(args) > len(names):
			// It may be a URL with a password, so it is not repeated.
			return usageError{fmt.Sprintf("%d arguments, want %d", len(args), len(names)), cmd.CommandPath()}
		}
		return nil
	}
}
