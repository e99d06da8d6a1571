package volume

import (
	"fmt"
	"maps"
)

// OnDelete says what becomes of a provisioned volume's directory.
type OnDelete string

// The policies. The default is Retain: data is not lost by forgetting a line.
const (
	Retain  OnDelete = "retain"  // leave it where it is
	Delete  OnDelete = "delete"  // remove it with everything in it
	Archive OnDelete = "archive" // rename it to archived-<directory>
)

// onDelete is the one parameter of a StorageClass that is no attribute of the
// volumes made from it.
const onDelete = "onDelete"

// Class is what a StorageClass says.
type Class struct {
	Spec     Spec // Spec.Path is the directory below which volumes are made
	OnDelete OnDelete
	// Attributes are the parameters to hand on to each volume, as given, less
	// what Kubernetes added; the volume's own path replaces the class's.
	Attributes map[string]string
}

// ParseClass reads the parameters of a StorageClass: a volume's attributes, and
// onDelete.
func ParseClass(parameters map[string]string) (Class, error) {
	c := Class{OnDelete: Retain, Attributes: maps.Clone(parameters)}
	maps.DeleteFunc(c.Attributes, func(k, _ string) bool { return Foreign(k) || k == onDelete })
	if v, ok := parameters[onDelete]; ok {
		switch p := OnDelete(v); p {
		case Retain, Delete, Archive:
			c.OnDelete = p
		default:
			return Class{}, fmt.Errorf("%w: %s %q must be one of retain, delete, archive", ErrInvalid, onDelete, shorten(v))
		}
	}
	for name := range c.Attributes {
		if _, err := Lookup(name); err != nil && nearest(name, []string{onDelete}) != "" {
			return Class{}, unknown(name, []string{onDelete})
		}
	}
	var err error
	c.Spec, err = Parse(c.Attributes)
	return c, err
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
