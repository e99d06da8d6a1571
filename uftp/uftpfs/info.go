package uftpfs

import (
	"fmt"
	"io/fs"
	"path"
	"time"

	"github.com/csi-uftp/csi-uftp/uftp"
)

// fileInfo is an [fs.FileInfo] of what the server said.
type fileInfo struct{ info uftp.Info }

// named returns the attributes under the name by which they were asked for.
func named(info uftp.Info, name string) fileInfo {
	info.Name = path.Base(name)
	return fileInfo{info}
}

func (i fileInfo) Name() string       { return i.info.Name }
func (i fileInfo) Size() int64        { return i.info.Size }
func (i fileInfo) Mode() fs.FileMode  { return i.info.Mode }
func (i fileInfo) ModTime() time.Time { return i.info.ModTime }
func (i fileInfo) IsDir() bool        { return i.info.IsDir() }
func (i fileInfo) Sys() any           { return i.info }
func (i fileInfo) String() string     { return fmt.Sprintf("%q: %s", i.info.Name, fs.FormatFileInfo(i)) }
