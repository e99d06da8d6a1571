package volume

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// OnDelete says what becomes of a provisioned volume's directory.
type OnDelete string

// The policies. The default is Retain: data is not lost by forgetting a line.
const (
	Retain  OnDelete = "retain"  // leave it where it is
	Delete  OnDelete = "delete"  // remove it with everything in it
	Archive OnDelete = "archive" // rename it to archived-<directory>
)

// The parameters of a StorageClass that are no attributes of the volumes made
// from it.
const (
	onDelete      = "onDelete"
	directory     = "directory"
	directoryMode = "directoryMode"
)

func classParameters() []string { return []string{onDelete, directory, directoryMode} }

// templateVariables are what a directory's name can be made of, by the keys under
// which csi-provisioner tells it.
var templateVariables = []struct{ name, key string }{ //nolint:gochecknoglobals // a table
	{"pvc.namespace", "csi.storage.k8s.io/pvc/namespace"},
	{"pvc.name", "csi.storage.k8s.io/pvc/name"},
	{"pv.name", "csi.storage.k8s.io/pv/name"},
}

// Class is what a StorageClass says.
type Class struct {
	Spec     Spec // Spec.Path is the directory below which volumes are made
	OnDelete OnDelete
	// Directory is the name for the volume's directory, the template filled in;
	// "" is the volume's own name.
	Directory string
	// DirectoryMode are its permission, set-id and sticky bits, as in chmod(2);
	// 0 are the server's.
	DirectoryMode uint32
	// Attributes are the parameters to hand on to each volume, as given, less
	// what Kubernetes added; the volume's own path replaces the class's.
	Attributes map[string]string
}

// ParseClass reads the parameters of a StorageClass: a volume's attributes, what
// becomes of it, and how its directory is called.
func ParseClass(parameters map[string]string) (Class, error) {
	c := Class{OnDelete: Retain, Attributes: maps.Clone(parameters)}
	maps.DeleteFunc(c.Attributes, func(k, _ string) bool { return Foreign(k) || slices.Contains(classParameters(), k) })
	if v, ok := parameters[onDelete]; ok {
		switch p := OnDelete(v); p {
		case Retain, Delete, Archive:
			c.OnDelete = p
		default:
			return Class{}, fmt.Errorf("%w: %s %q must be one of retain, delete, archive", ErrInvalid, onDelete, shorten(v))
		}
	}
	var err error
	if c.Directory, err = expand(parameters[directory], parameters); err != nil {
		return Class{}, fmt.Errorf("%w: %s %q %w", ErrInvalid, directory, shorten(parameters[directory]), err)
	}
	if v, ok := parameters[directoryMode]; ok {
		n, err := strconv.ParseUint(strings.TrimPrefix(v, "0o"), 8, 32)
		if err != nil || n > 0o7777 || n&0o700 != 0o700 {
			return Class{}, fmt.Errorf("%w: %s %q must be permission bits in octal, 0700 to 07777, that let the owner read, write and enter", ErrInvalid, directoryMode, shorten(v))
		}
		c.DirectoryMode = uint32(n)
	}
	for name := range c.Attributes {
		if _, err := Lookup(name); err != nil && nearest(name, classParameters()) != "" {
			return Class{}, unknown(name, classParameters())
		}
	}
	c.Spec, err = Parse(c.Attributes)
	return c, err
}

// expand fills in a template with what csi-provisioner told of the claim.
func expand(template string, parameters map[string]string) (string, error) {
	var b strings.Builder
	for rest := template; rest != ""; {
		text, after, found := strings.Cut(rest, "${")
		b.WriteString(text)
		if !found {
			break
		}
		name, after, closed := strings.Cut(after, "}")
		i := slices.IndexFunc(templateVariables, func(v struct{ name, key string }) bool { return v.name == name })
		switch {
		case !closed:
			return "", errors.New("has a ${ without its }")
		case i < 0:
			return "", fmt.Errorf("has the variable %q; there are %s", name, variables(", "))
		}
		value, ok := parameters[templateVariables[i].key]
		if !ok || value == "" {
			return "", fmt.Errorf("needs %s, which csi-provisioner tells only with --extra-create-metadata", name)
		}
		b.WriteString(value)
		rest = after
	}
	if strings.ContainsAny(b.String(), "/\r\n\x00") {
		return "", errors.New("must be the name of one directory, without slashes and line breaks")
	}
	return b.String(), nil
}

func variables(separator string) string {
	names := make([]string, len(templateVariables))
	for i, v := range templateVariables {
		names[i] = "${" + v.name + "}"
	}
	return strings.Join(names, separator)
}

// Claim is a directory that somebody wants.
type Claim struct {
	Name string // the CSI volume name, unique in its cluster: the key of idempotency
	Class
	MinSize, MaxSize int64 // bytes; 0 is any. Recorded, and not enforced by the server
}

// Provisioned is a directory that was made for a Claim.
type Provisioned struct {
	ID   string // the CSI volume id: with a credential, all it takes to find the directory again
	Path string // of the directory, as [Spec].Path
	Size int64  // bytes, as recorded; 0 is unknown
}
