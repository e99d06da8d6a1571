package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/csi-uftp/csi-uftp/uftp"
	"github.com/csi-uftp/csi-uftp/uftp/transfer"
)

// terminal returns both ends of a pseudo terminal of 100 columns: what a person
// would see, and what the program writes to.
func terminal(t *testing.T) (person, program *os.File) {
	t.Helper()
	person, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Skip("needs pseudo terminals:", err)
	}
	t.Cleanup(func() { _ = person.Close() })
	n, err := unix.IoctlGetInt(int(person.Fd()), unix.TIOCGPTN)
	if err == nil {
		err = unix.IoctlSetPointerInt(int(person.Fd()), unix.TIOCSPTLCK, 0)
	}
	if err == nil {
		err = unix.IoctlSetWinsize(int(person.Fd()), unix.TIOCSWINSZ, &unix.Winsize{Row: 25, Col: 100})
	}
	if err == nil {
		program, err = os.OpenFile(fmt.Sprint("/dev/pts/", n), os.O_RDWR|unix.O_NOCTTY, 0)
	}
	if err != nil {
		t.Skip("needs pseudo terminals:", err)
	}
	return person, program
}

// TestBarOnTerminal: a terminal gets a bar without being asked for one, and no
// line that is longer than it is wide.
func TestBarOnTerminal(t *testing.T) {
	person, program := terminal(t)
	shown := make(chan string)
	go func() {
		text, err := io.ReadAll(person)
		if err != nil && !errors.Is(err, syscall.EIO) { // what a closed terminal says
			t.Error(err)
		}
		shown <- string(text)
	}()
	a := &app{stdout: io.Discard, stderr: program}
	err := a.observed(&progressFlags{style: "auto"}, false, func(o transfer.Observer) (transfer.Summary, error) {
		item := transfer.Item{From: "f", To: "to/f", Info: uftp.Info{Name: "f", Size: 3 << 20}}
		o.Found(item)
		o.Moved(item, 3<<20, false)
		o.Done(item, nil)
		return transfer.Summary{Files: 1, Bytes: 3 << 20}, nil
	})
	if err != nil {
		t.Error(err)
	}
	if err := program.Close(); err != nil {
		t.Error(err)
	}
	text := <-shown
	for _, want := range []string{"1/1 files", "3.0 MiB / 3.0 MiB", "[====", "csi-uftp: 1 file copied; 3.0 MiB in "} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q on the terminal: %q", want, text)
		}
	}
	for line := range strings.Lines(text) {
		if n := len([]rune(strings.TrimRight(line, "\r\n"))); n > 100+len("\x1b[1A\x1b[J") {
			t.Errorf("%d characters in a line: %q", n, line)
		}
	}
}
