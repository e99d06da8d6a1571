package main

import (
	"context"
	"os"
	"path/filepath"
	"syscall"

	"github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"
)

// dir is a directory; its content is made when the mount is.
type dir struct {
	fs.Inode
	source string
}

var _ = (fs.NodeOnAdder)((*dir)(nil))

// OnAdd implements [fs.NodeOnAdder].
func (d *dir) OnAdd(ctx context.Context) {
	entries, err := os.ReadDir(d.source)
	if err != nil {
		return
	}
	for _, e := range entries {
		path := filepath.Join(d.source, e.Name())
		if e.IsDir() {
			d.AddChild(e.Name(), d.NewPersistentInode(ctx, &dir{source: path}, fs.StableAttr{Mode: fuse.S_IFDIR}), true)
			continue
		}
		if f, err := newFile(path); err == nil {
			d.AddChild(e.Name(), d.NewPersistentInode(ctx, f, fs.StableAttr{Mode: fuse.S_IFREG}), true)
		}
	}
}

// file is a file, mapped into memory.
type file struct {
	fs.Inode
	data []byte
	attr fuse.Attr
}

var (
	_ = (fs.NodeGetattrer)((*file)(nil))
	_ = (fs.NodeOpener)((*file)(nil))
	_ = (fs.NodeReader)((*file)(nil))
)

func newFile(path string) (*file, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	n := &file{}
	n.attr.FromStat(info.Sys().(*syscall.Stat_t))
	if info.Size() > 0 {
		n.data, err = unix.Mmap(int(f.Fd()), 0, int(info.Size()), unix.PROT_READ, unix.MAP_SHARED)
	}
	return n, err
}

// Getattr implements [fs.NodeGetattrer].
func (f *file) Getattr(_ context.Context, _ fs.FileHandle, out *fuse.AttrOut) syscall.Errno {
	ino := out.Ino
	out.Attr = f.attr
	out.Ino = ino
	return 0
}

// Open implements [fs.NodeOpener].
func (f *file) Open(context.Context, uint32) (fs.FileHandle, uint32, syscall.Errno) {
	return nil, fuse.FOPEN_KEEP_CACHE, 0
}

// Read implements [fs.NodeReader].
func (f *file) Read(_ context.Context, _ fs.FileHandle, dest []byte, off int64) (fuse.ReadResult, syscall.Errno) {
	end := min(off+int64(len(dest)), int64(len(f.data)))
	return fuse.ReadResultData(f.data[min(off, end):end]), 0
}
