package main

import (
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/csi-uftp/csi-uftp/uftp/transfer"
)

// shown is a name as a line shows it: quoted if it has a character that a
// terminal would act on.
func shown(name string) string {
	if strings.ContainsFunc(name, func(r rune) bool { return !unicode.IsPrint(r) }) {
		return strconv.Quote(name)
	}
	return name
}

// failureLine is an error in one line.
func failureLine(err error) string { return "csi-uftp: " + printable(err) }

// printable is the text of an error without characters that a terminal would act on:
// servers have a say in it.
func printable(err error) string {
	return strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return ' '
		}
		return r
	}, err.Error())
}

// summaryLine tells in a line what was done.
func summaryLine(sum transfer.Summary, took time.Duration, dryRun bool) string {
	var parts []string
	add := func(n int64, one, many string) {
		if n == 1 {
			parts = append(parts, "1 "+one)
		} else if n > 1 {
			parts = append(parts, fmt.Sprintf("%d %s", n, many))
		}
	}
	add(sum.Files, "file copied", "files copied")
	add(sum.Dirs, "directory made", "directories made")
	add(sum.Skipped, "file up to date", "files up to date")
	add(sum.Deleted, "item deleted", "items deleted")
	add(sum.Failed, "failed", "failed")
	line := "nothing to do"
	if len(parts) > 0 {
		line = strings.Join(parts, ", ")
	}
	if dryRun {
		return "dry run: would be " + line
	}
	if sum.Bytes > 0 {
		line += fmt.Sprintf("; %s in %s, %s/s", byteCount(sum.Bytes), took.Round(10*time.Millisecond),
			byteCount(int64(float64(sum.Bytes)/max(took.Seconds(), 1e-9))))
	}
	return line
}

// byteCount is a number of bytes for people.
func byteCount(n int64) string {
	units := []string{"bytes", "KiB", "MiB", "GiB", "TiB", "PiB"}
	v := float64(n)
	i := 0
	for v >= 1024 && i < len(units)-1 {
		v /= 1024
		i++
	}
	if i == 0 {
		return fmt.Sprintf("%d bytes", n)
	}
	return fmt.Sprintf("%.1f %s", v, units[i])
}
