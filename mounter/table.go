package mounter

import (
	"fmt"
	"path/filepath"

	"github.com/moby/sys/mountinfo"
)

// fsType is how our mounts are known in mountinfo.
const fsType = "fuse.uftp"

// table is what is mounted now, in the order it was mounted. It is read from
// mountinfo, never from the mounts.
type table []*mountinfo.Info

func readTable() (table, error) {
	t, err := mountinfo.GetMounts(nil)
	if err != nil {
		return nil, fmt.Errorf("mountinfo: %w", err)
	}
	return t, nil
}

func isOurs(i *mountinfo.Info) bool { return i.FSType == fsType }

func deviceNumber(i *mountinfo.Info) string { return fmt.Sprintf("%d:%d", i.Major, i.Minor) }

// at returns the mounts on a path, the uppermost last.
func (t table) at(path string) table {
	var found table
	for _, i := range t {
		if i.Mountpoint == path {
			found = append(found, i)
		}
	}
	return found
}

// top returns the uppermost mount on a path, or nil.
func (t table) top(path string) *mountinfo.Info {
	if found := t.at(path); len(found) > 0 {
		return found[len(found)-1]
	}
	return nil
}

// shows reports whether a path shows our mount with the device number dev.
func (t table) shows(path, dev string) bool {
	i := t.top(path)
	return i != nil && isOurs(i) && deviceNumber(i) == dev
}

// showsOurs reports whether a path shows a mount of ours now.
func showsOurs(path string) bool {
	t, err := readTable()
	i := t.top(path)
	return err == nil && i != nil && isOurs(i)
}

// sources returns our mounts directly in dir.
func (t table) sources(dir string) table {
	var found table
	for _, i := range t {
		if isOurs(i) && filepath.Dir(i.Mountpoint) == dir {
			found = append(found, i)
		}
	}
	return found
}

// mountedOn returns the places that show a superblock of ours.
func (t table) mountedOn(dev string) []string {
	var found []string
	for _, i := range t {
		if isOurs(i) && deviceNumber(i) == dev {
			found = append(found, i.Mountpoint)
		}
	}
	return found
}
