package provisioner

import (
	"context"
	"fmt"
	"io/fs"
	"maps"
	"time"

	"github.com/csi-uftp/csi-uftp/internal/volume"
	"github.com/csi-uftp/csi-uftp/uftp"
)

// Create makes the directory for a claim below the class's base directory, which
// must exist; or it finds the one it made for the same claim before. It is
// volume.ErrConflict if the name has been used for another claim, or if there is
// a directory in the way that it did not make.
func (p *Provisioner) Create(ctx context.Context, c volume.Claim, access uftp.Access) (volume.Provisioned, error) {
	id, err := newID(c)
	if err != nil {
		return volume.Provisioned{}, err
	}
	want := marker{
		Version: markerVersion, ID: id.String(), Name: c.Name, Directory: id.directory,
		Size: c.MinSize, OnDelete: c.OnDelete, Attributes: c.Attributes, Created: time.Now().UTC().Truncate(time.Second),
	}
	made := volume.Provisioned{ID: id.String(), Path: id.path()}
	err = p.with(ctx, id, access, func(r remote) error {
		m, err := create(ctx, r, id, want, c)
		made.Size = m.Size
		return err
	})
	if err != nil {
		return volume.Provisioned{}, fmt.Errorf("make directory %q: %w", id.path(), err)
	}
	return made, nil
}

// create goes these steps:
//
//  1. make D.new in our own directory, and set its mode
//  2. write the marker
//  3. rename D.new to D
//
// D.new is ours whoever finds it, because of where it is. There is no marker
// without D.new having been there before, so with a marker,
//
//	D.new, no D:  step 3 is to be done
//	D, no D.new:  all is done
//	both:         somebody put a directory of his own in the way
//	neither:      somebody removed D; it is made again
//
// and without a marker, a D is somebody else's. Were the marker written first or
// last, a crash could leave a D of which nobody can say whose it is.
func create(ctx context.Context, r remote, id volumeID, want marker, c volume.Claim) (marker, error) {
	m, marked, err := readMarker(ctx, r, id)
	if err != nil {
		return marker{}, err
	}
	there, err := exists(ctx, r, id.directory)
	if err != nil {
		return marker{}, err
	}
	if marked {
		if err := compatible(m, want, c); err != nil {
			return marker{}, err
		}
		if there {
			return m, foreignIf(ctx, r, id)
		}
		if trash, err := exists(ctx, r, id.trash()); err != nil || trash {
			return marker{}, firstOf(err, fmt.Errorf("it is being removed: %w", volume.ErrConflict))
		}
	} else if there {
		return marker{}, taken(ctx, r, id)
	}

	if err := unless(r.Mkdir(ctx, private), fs.ErrExist); err != nil {
		return marker{}, err
	}
	if err := unless(r.Mkdir(ctx, id.staging()), fs.ErrExist); err != nil {
		return marker{}, err
	}
	if c.DirectoryMode != 0 {
		if err := r.Chmod(ctx, id.staging(), fileMode(c.DirectoryMode)); err != nil {
			return marker{}, err
		}
	}
	if !marked {
		if err := writeMarker(ctx, r, id, want); err != nil {
			return marker{}, err
		}
		m = want
	}
	return m, r.Rename(ctx, id.staging(), id.directory)
}

// fileMode turns bits of chmod(2) into Go's.
func fileMode(bits uint32) fs.FileMode {
	mode := fs.FileMode(bits).Perm()
	for bit, m := range map[uint32]fs.FileMode{0o4000: fs.ModeSetuid, 0o2000: fs.ModeSetgid, 0o1000: fs.ModeSticky} {
		if bits&bit != 0 {
			mode |= m
		}
	}
	return mode
}

// foreignIf tells our D from one that somebody put in the way of ours.
func foreignIf(ctx context.Context, r remote, id volumeID) error {
	staged, err := exists(ctx, r, id.staging())
	if err == nil && staged {
		err = foreign(id)
	}
	return err
}

// taken is the error for a directory without a marker.
func taken(ctx context.Context, r remote, id volumeID) error {
	retained, err := exists(ctx, r, id.retained())
	switch {
	case err != nil:
		return err
	case retained:
		return fmt.Errorf("directory %q was retained when the volume it was made for was deleted, and is not given to another one; rename it on the server, or mount it by a static PersistentVolume: %w", id.path(), volume.ErrConflict)
	}
	return foreign(id)
}

func foreign(id volumeID) error {
	return fmt.Errorf("directory %q is there already, and this driver did not make it: %w", id.path(), volume.ErrConflict)
}

// compatible reports whether the directory that was made for m may be given for
// the claim.
func compatible(m, want marker, c volume.Claim) error {
	switch {
	case m.Name != want.Name:
		return fmt.Errorf("it belongs to the volume %q: %w", m.Name, volume.ErrConflict)
	case m.ID != want.ID || !maps.Equal(m.Attributes, want.Attributes):
		return fmt.Errorf("it was made with other parameters: %w", volume.ErrConflict)
	case m.Size < c.MinSize || c.MaxSize > 0 && m.Size > c.MaxSize:
		return fmt.Errorf("it was made for %s, now it shall have %s: %w", volume.FormatSize(m.Size), volume.FormatSize(c.MinSize), volume.ErrConflict)
	}
	return nil
}

func firstOf(err, otherwise error) error {
	if err != nil {
		return err
	}
	return otherwise
}
