package provisioner

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strconv"

	"github.com/csi-uftp/csi-uftp/internal/volume"
	"github.com/csi-uftp/csi-uftp/uftp"
)

// Delete does with a volume's directory what its policy says, and succeeds if
// there is nothing to do: the id is not ours, there is no marker, or the marker
// is another volume's. It can be repeated after any error or crash.
func (p *Provisioner) Delete(ctx context.Context, id string, access uftp.Access) error {
	v, err := parseID(id)
	if err != nil {
		return unless(err, fs.ErrNotExist)
	}
	err = p.with(ctx, v, access, func(r remote) error {
		if _, err := own(ctx, r, v); err != nil {
			if errors.Is(err, fs.ErrNotExist) {
				p.log.InfoContext(ctx, "nothing to delete: there is no marker of this volume", "volume_id", id)
			}
			return unless(err, fs.ErrNotExist)
		}
		unfinished, err := exists(ctx, r, v.staging())
		switch {
		case err != nil:
			return err
		case unfinished:
			return withdraw(ctx, r, v)
		case v.onDelete == volume.Delete:
			return remove(ctx, r, v)
		case v.onDelete == volume.Archive:
			return archive(ctx, r, v)
		default:
			// The marker goes, so that nobody finds the volume any more, but what
			// it said is kept for the administrator.
			return r.Rename(ctx, v.marker(), v.retained())
		}
	})
	if err != nil {
		return fmt.Errorf("%s directory %q: %w", v.onDelete, v.path(), err)
	}
	return nil
}

// withdraw ends what Create began: with D.new there, a D is somebody else's. The
// marker goes first, or a crash would leave it with that D, as if they belonged
// together. D.new is empty, as nobody was ever told of it.
func withdraw(ctx context.Context, r remote, id volumeID) error {
	if err := r.Remove(ctx, id.marker()); err != nil {
		return err
	}
	return unless(r.Rmdir(ctx, id.staging()), fs.ErrNotExist)
}

// remove goes these steps:
//
//  1. rename D to the trash: from here on nobody sees it
//  2. remove what is in the trash, and the trash
//  3. remove the marker
//
// With a marker, a trash means that step 2 is to be done; then a D is a new one,
// and somebody else's. Neither D nor trash means step 3. Were the marker to go
// before, a crash would leave data that nothing refers to.
func remove(ctx context.Context, r remote, id volumeID) error {
	trashed, err := exists(ctx, r, id.trash())
	if err != nil {
		return err
	}
	if !trashed {
		if err := unless(r.Rename(ctx, id.directory, id.trash()), fs.ErrNotExist); err != nil {
			return err
		}
	}
	if err := removeTree(ctx, r, id.trash()); err != nil {
		return err
	}
	return r.Remove(ctx, id.marker())
}

// archive renames D, then the marker. With a marker and no D, the first is done.
func archive(ctx context.Context, r remote, id volumeID) error {
	there, err := exists(ctx, r, id.directory)
	if err != nil {
		return err
	}
	if there {
		// An archive of that name is from a volume of the same name; both stay.
		name := "archived-" + id.directory
		for n := 2; ; n++ {
			taken, err := exists(ctx, r, name)
			if err != nil {
				return err
			}
			if !taken {
				break
			}
			name = "archived-" + id.directory + "-" + strconv.Itoa(n)
		}
		if err := r.Rename(ctx, id.directory, name); err != nil {
			return err
		}
	}
	return r.Rename(ctx, id.marker(), id.marker()+".archived")
}
