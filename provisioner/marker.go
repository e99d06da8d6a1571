package provisioner

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"time"

	"github.com/csi-uftp/csi-uftp/internal/volume"
)

// private is the directory below the base that is the driver's own.
const private = ".csi-uftp"

const markerVersion = 1

// maxMarker is far more than CSI's limits for names and attributes allow.
const maxMarker = 64 << 10

// marker says that this driver made a directory. It holds no secret: attributes
// are those of the table.
type marker struct {
	Version    int               `json:"version"`
	ID         string            `json:"id"`
	Name       string            `json:"name"`
	Directory  string            `json:"directory"`
	Size       int64             `json:"size,omitempty"` // bytes, 0 is unknown
	OnDelete   volume.OnDelete   `json:"onDelete"`
	Attributes map[string]string `json:"attributes"`
	Created    time.Time         `json:"created"`
}

// The places of a volume, below the base directory.
func (id volumeID) marker() string  { return private + "/" + id.directory + ".json" }
func (id volumeID) staging() string { return private + "/" + id.directory + ".new" }

// retained is the marker of a volume that is no more.
func (id volumeID) retained() string { return id.marker() + ".retained" }

// trash is beside the volume's directory, so that relative links in it do not
// lose what they point to: the server does not show links that lead nowhere.
func (id volumeID) trash() string { return private + "-trash-" + id.directory }

// readMarker returns the marker of the volume's directory, whosever it is; ok
// reports whether there is one.
func readMarker(ctx context.Context, r remote, id volumeID) (m marker, ok bool, err error) {
	buf := make([]byte, maxMarker)
	n, err := r.ReadAt(ctx, id.marker(), buf, 0)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		// The server says so of files that it may not read, too.
		if _, err := r.Stat(ctx, id.marker()); err == nil {
			return marker{}, false, fmt.Errorf("marker %s: %w", id.marker(), fs.ErrPermission)
		} else if !errors.Is(err, fs.ErrNotExist) {
			return marker{}, false, err
		}
		return marker{}, false, nil
	case err == nil:
		return marker{}, false, fmt.Errorf("marker %s has more than %d bytes: %w", id.marker(), maxMarker, volume.ErrConflict)
	case !errors.Is(err, io.EOF):
		return marker{}, false, err
	}
	if err := json.Unmarshal(buf[:n], &m); err != nil || m.Version != markerVersion || m.Directory != id.directory {
		return marker{}, false, fmt.Errorf("marker %s is damaged, or a newer driver's: %w", id.marker(), volume.ErrConflict)
	}
	return m, true, nil
}

// writeMarker puts the marker into place in one step.
func writeMarker(ctx context.Context, r remote, id volumeID, m marker) error {
	data, err := json.MarshalIndent(m, "", "  ")
	if err != nil {
		return fmt.Errorf("encode marker: %w", err)
	}
	tmp := id.marker() + ".tmp"
	if _, err := r.Create(ctx, tmp); err != nil { // also empties what a crash left
		return err
	}
	if _, err := r.WriteAt(ctx, tmp, append(data, '\n'), 0); err != nil {
		return err
	}
	return r.Rename(ctx, tmp, id.marker())
}
