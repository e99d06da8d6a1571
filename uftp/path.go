package uftp

import (
	"fmt"
	"io/fs"
	"path"
	"strings"
	"unicode"
	"unicode/utf8"
)

// maxPath is the longest path in characters: uftpd cuts lines at 8192, and the
// longest command before a path has less than 64.
const maxPath = 8192 - 64

// cleanPath checks a caller's path and returns it relative to the base
// directory, "." for the base itself. Names stay what they are, byte for byte.
func cleanPath(p string) (string, error) {
	switch {
	case strings.ContainsAny(p, "\r\n\x00"):
		return "", fmt.Errorf("%w: the protocol cannot carry CR, LF or NUL in a path", fs.ErrInvalid)
	case !utf8.ValidString(p):
		return "", fmt.Errorf("%w: the protocol cannot carry a path that is not UTF-8", fs.ErrInvalid)
	case utf8.RuneCountInString(p) > maxPath:
		return "", fmt.Errorf("%w: path longer than %d characters", fs.ErrInvalid, maxPath)
	}
	var parts []string
	for part := range strings.SplitSeq(p, "/") {
		switch part {
		case "", ".":
		case "..":
			return "", fmt.Errorf(`%w: ".." in a path`, fs.ErrInvalid)
		default:
			parts = append(parts, part)
		}
	}
	if len(parts) == 0 {
		return ".", nil
	}
	return strings.Join(parts, "/"), nil
}

// wirePath returns how a clean path is written in a command. The server strips
// blanks from both ends of a line and of a path, in Python's sense of the word,
// and drops "." components: "./" before and "/." after protect a name.
func wirePath(p string) string {
	if first, _ := utf8.DecodeRuneInString(p); isBlank(first) || first == '-' {
		p = "./" + p
	}
	if last, _ := utf8.DecodeLastRuneInString(p); isBlank(last) {
		p += "/."
	}
	return p
}

// isBlank reports whether Python's str.strip removes r.
func isBlank(r rune) bool {
	return unicode.IsSpace(r) || 0x1c <= r && r <= 0x1f
}

// baseName returns the last component of a clean path.
func baseName(p string) string { return path.Base(p) }

// parent splits a clean path other than "." into directory and base name.
func parent(p string) (dir, base string) {
	return path.Dir(p), path.Base(p)
}

// climb returns the relative path from the clean directory dir to the base.
func climb(dir string) string {
	if dir == "." {
		return "."
	}
	return ".." + strings.Repeat("/..", strings.Count(dir, "/"))
}

// child joins a clean directory and a name.
func child(dir, name string) string {
	if dir == "." {
		return name
	}
	return dir + "/" + name
}
