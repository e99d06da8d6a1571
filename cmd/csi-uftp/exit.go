package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"github.com/spf13/cobra"

	"github.com/csi-uftp/csi-uftp/internal/volume"
	"github.com/csi-uftp/csi-uftp/uftp"
	"github.com/csi-uftp/csi-uftp/uftp/transfer"
)

const (
	exitOK      = 0
	exitFailure = 1
)

// An outcome is one row of the table of exit codes: which errors it stands for,
// and what a user can do about them.
type outcome struct {
	code    int
	causes  []error
	meaning string
	advice  string
}

// outcomes returns the table; the first row that matches an error counts.
func outcomes() []outcome {
	return []outcome{
		{130, []error{context.Canceled}, "interrupted by a signal", ""},
		{9, []error{transfer.ErrIncomplete}, "some of many items failed; each was reported, the others are done", ""},
		{3, []error{uftp.ErrAuth}, "not authenticated: the credential was not accepted",
			`check user name and password, key or token; see "csi-uftp help credentials"`},
		{2, []error{errUsage, volume.ErrInvalid, fs.ErrInvalid}, "wrong usage: a flag, a URL, an attribute or a path", ""},
		{4, []error{fs.ErrNotExist}, "not found: the file, the directory or the server's name",
			"check the path, and the server's name in /rest/auth/NAME"},
		{6, []error{fs.ErrPermission}, "permission denied on the server or on this machine",
			"ask the owner for access, or use another user or --group"},
		{7, []error{uftp.ErrBusy}, "too many sessions of this user on the server",
			"close other sessions or wait a minute; --max-sessions=1 needs the least"},
		{8, []error{uftp.ErrUntrusted}, "the auth server's TLS certificate is not trusted",
			"give the CA's certificate with --ca-file"},
		{5, []error{uftp.ErrUnavailable, context.DeadlineExceeded}, "unreachable: no connection to the auth server or to the UFTP server",
			"check host and port, and firewalls in between"},
	}
}

func helpExitCodes() *cobra.Command {
	var b strings.Builder
	fmt.Fprintf(&b, "  %3d  success\n  %3d  failure of another kind\n", exitOK, exitFailure)
	for code := range 256 { // in order
		for _, o := range outcomes() {
			if o.code == code {
				fmt.Fprintf(&b, "  %3d  %s\n", o.code, o.meaning)
			}
		}
	}
	return &cobra.Command{
		Use:   "exit-codes",
		Short: "What the exit codes mean",
		Long:  "Exit codes of csi-uftp:\n\n" + b.String(),
	}
}

// errUsage is the cause of errors about how the program was called.
var errUsage = errors.New("wrong usage")

// usageError is an error about the flags or arguments of a command.
type usageError struct{ msg, command string }

func (e usageError) Error() string {
	return fmt.Sprintf("%s (see %q)", e.msg, e.command+" --help")
}
func (e usageError) Unwrap() error { return errUsage }

// usageErrorf is a usageError that is not about one command.
func usageErrorf(format string, args ...any) error {
	return fmt.Errorf("%w: "+format, append([]any{errUsage}, args...)...)
}

// codeError ends the program with a code, without a message.
type codeError int

func (e codeError) Error() string { return fmt.Sprintf("exit code %d", int(e)) }

// fail prints err in one line that says what to change, and returns the exit code.
func (a *app) fail(err error) int {
	if code, ok := errors.AsType[codeError](err); ok {
		return int(code)
	}
	o := outcomeOf(err)
	line := strings.Join(strings.Fields(printable(err)), " ")
	if o.advice != "" {
		line += "; " + o.advice
	}
	fmt.Fprintln(a.stderr, "csi-uftp:", line)
	return o.code
}

func outcomeOf(err error) outcome {
	for _, o := range outcomes() {
		for _, cause := range o.causes {
			if errors.Is(err, cause) {
				return o
			}
		}
	}
	return outcome{code: exitFailure}
}
