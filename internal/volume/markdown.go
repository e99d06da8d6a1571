package volume

import (
	"fmt"
	"strings"
)

// Markdown returns the table of attributes and of StorageClass parameters as it
// stands in docs/PARAMETERS.md.
func Markdown() string {
	var b strings.Builder
	b.WriteString("| attribute | flag | type | default | allowed | meaning |\n|---|---|---|---|---|---|\n")
	for _, a := range Attributes() {
		name := "`" + a.Name + "`"
		if a.Place {
			name += " ¹"
		}
		fmt.Fprintf(&b, "| %s | `--%s` | %s | %s | %s | %s |\n", name, a.Flag(), a.Type, code(a.Default), plain(a.Allowed), a.Help)
	}
	b.WriteString("\n¹ Decides which directory is shown, and as whom: fixed when the volume is made, so not accepted as a mount option.\n")
	b.WriteString("\nOnly in a StorageClass:\n\n| parameter | default | allowed | meaning |\n|---|---|---|---|\n")
	fmt.Fprintf(&b, "| `%s` | `%s` | retain, delete, archive | What becomes of a volume's directory when the volume is deleted: "+
		"it stays, it goes with everything in it, or it is renamed to `archived-<directory>`. |\n", onDelete, Retain)
	fmt.Fprintf(&b, "| `%s` | `${pv.name}` | text with %s | Name of a volume's directory below `path`. "+
		"Characters other than letters, digits, `.`, `_` and `-` become `-`, and what is longer than 48 bytes is cut; a hash then keeps such names apart. "+
		"A directory of that name which the driver did not make for the claim is an error: it is not taken over. |\n", directory, "`"+variables("`, `")+"`")
	fmt.Fprintf(&b, "| `%s` |  | octal mode, 0700 to 07777 | Mode of a volume's directory; the default is the server's. "+
		"Its group is that of the attribute `group`. |\n", directoryMode)
	return b.String()
}

func code(s string) string {
	if s == "" {
		return ""
	}
	return "`" + s + "`"
}

func plain(s string) string { return strings.ReplaceAll(s, "|", "\\|") }
