package uftp

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"time"
)

// opPut is the Op of errors of putting whole files.
const opPut = "put"

// A group of files that are put together has at most maxPut files and, unless it
// is one file, maxPutBytes.
const (
	maxPut      = 128
	maxPutBytes = 4 << 20
)

// A NewFile is a whole file for [Client.PutFiles].
type NewFile struct {
	Path string
	// Part is the file's name while it is not whole, in the same directory.
	Part string
	Data []byte // the client's until PutFiles returns
	// Mode has the permission bits, if SetMode; else the server chooses.
	Mode    fs.FileMode
	SetMode bool
	ModTime time.Time // to the second; zero is now
	// Hash, if not "", is the name of an algorithm, as for [Client.Hash], and Sum
	// the hash of Data by it, in lower-case hexadecimal digits. What the server has
	// got is compared with that; [ErrCorrupt] means that it differs.
	Hash, Sum string
}

// PutFiles puts many small files, making them or replacing what is there, without
// waiting for the server between them: two round trips for a hundred. It returns
// an error, or nil, for each. A file is written under its Part, and gets its name
// when size, mode, time and hash are right; after an error it has not, and there is no
// Part. Names may not be given twice.
//
// Once the server cannot be reached in spite of all patience, or refuses the
// credential, or ctx ends, what is left is not tried.
func (c *Client) PutFiles(ctx context.Context, files []NewFile) []error {
	errs := make([]error, len(files))
	p := putJob{c: c}
	for i := range files {
		item, err := newPutItem(&files[i], &errs[i])
		if err != nil {
			errs[i] = wrapError(opPut, files[i].Path, err)
			continue
		}
		p.add(ctx, item)
	}
	p.flush(ctx)
	p.tidy(ctx)
	return errs
}

// putItem is one file on its way.
type putItem struct {
	*NewFile
	path, part string // clean
	err        *error
	started    bool // there may be a Part
	over       bool
	stored     bool  // under Part, with size, mode, time and hash right
	zone       int64 // seconds that the server's local time is ahead of UTC, we think
	late       bool  // it was not
}

func newPutItem(f *NewFile, err *error) (*putItem, error) {
	it := &putItem{NewFile: f, err: err}
	var perr error
	if it.path, perr = namedPath(f.Path); perr != nil {
		return nil, perr
	}
	if it.part, perr = namedPath(f.Part); perr != nil {
		return nil, perr
	}
	if y := f.ModTime.Year(); !f.ModTime.IsZero() && (y < 2 || y > 9998) {
		return nil, fmt.Errorf("%w: year %d", fs.ErrInvalid, y)
	}
	return it, nil
}

// alone reports whether the protocol cannot carry what is wanted in one packet:
// see [Client.Chmod].
func (it *putItem) alone() bool {
	return (it.SetMode || !it.ModTime.IsZero()) && strings.Contains(wirePath(it.part), " ")
}

// corrupt compares the hash that the server has computed with the right one.
func (it *putItem) corrupt(sum string) error {
	if sum == it.Sum {
		return nil
	}
	return wrapError(opPut, it.Path, fmt.Errorf("%w: %s is %s at the source and %s in the copy", ErrCorrupt, it.Hash, it.Sum, sum))
}

// fail ends an item with an error.
func (it *putItem) fail(err error) {
	it.over = true
	*it.err = wrapError(opPut, it.Path, err)
}

// putJob is one call of PutFiles.
type putJob struct {
	c     *Client
	group []*putItem
	bytes int
	left  []*putItem // failed, with a Part perhaps
	stop  error      // nothing more is tried
}

// add puts an item in the group, which goes out when it is full.
func (p *putJob) add(ctx context.Context, it *putItem) {
	if len(p.group) == maxPut || len(p.group) > 0 && p.bytes+len(it.Data) > maxPutBytes {
		p.flush(ctx)
	}
	p.group = append(p.group, it)
	p.bytes += len(it.Data)
}

// flush puts the group. What a refusal has left in doubt is put again.
func (p *putJob) flush(ctx context.Context) {
	todo := p.group
	p.group, p.bytes = nil, 0
	var rest []*putItem // one by one
	for len(todo) > 0 && p.stop == nil {
		group := todo[:0]
		for _, it := range todo {
			if it.alone() {
				rest = append(rest, it)
			} else {
				group = append(group, it)
			}
		}
		before := len(group)
		if before > 0 {
			p.together(ctx, group)
		}
		if todo = unfinished(group); len(todo) == before && p.stop == nil {
			rest = append(rest, todo...) // it does not go together
			todo = nil
		}
	}
	for _, it := range append(rest, todo...) {
		switch {
		case it.over:
		case p.stop == nil:
			p.single(ctx, it)
		default:
			it.fail(p.stop)
			p.leaves(it)
		}
	}
}

func unfinished(items []*putItem) []*putItem {
	var left []*putItem
	for _, it := range items {
		if !it.over {
			left = append(left, it)
		}
	}
	return left
}

// together puts a group in one session.
func (p *putJob) together(ctx context.Context, group []*putItem) {
	op := operation{name: opPut, path: group[0].Path, data: true, writes: true}
	err := p.c.do(ctx, op, func(s *session) error {
		if s.codec != nil || !s.keepAlive {
			return nil
		}
		for _, it := range group {
			if err := s.late.wait(ctx, it.part); err != nil {
				return err
			}
		}
		return s.putGroup(p.c, group)
	})
	p.note(ctx, err)
	for _, it := range group {
		if it.over && *it.err != nil {
			p.leaves(it)
		}
	}
}

// leaves notes that an item failed, for tidy.
func (p *putJob) leaves(it *putItem) {
	if it.started {
		p.left = append(p.left, it)
	}
}

// note remembers an error after which nothing else is worth trying.
func (p *putJob) note(ctx context.Context, err error) {
	if err != nil && (ctx.Err() != nil || errors.Is(err, ErrAuth) || errors.Is(err, ErrUnavailable) || errors.Is(err, ErrBusy)) {
		if e, ok := errors.AsType[*Error](err); ok {
			err = e.Err // about another file
		}
		p.stop = err
	}
}

// single puts one file with one operation after another.
func (p *putJob) single(ctx context.Context, it *putItem) {
	it.started = true
	_, err := p.c.Create(ctx, it.part) // what an earlier attempt has left there goes
	if err == nil && len(it.Data) > 0 {
		_, err = p.c.WriteAt(ctx, it.part, it.Data, 0)
	}
	if err == nil && it.SetMode {
		err = p.c.Chmod(ctx, it.part, it.Mode)
	}
	if err == nil && !it.ModTime.IsZero() {
		err = p.c.Chtimes(ctx, it.part, it.ModTime)
	}
	if err == nil && it.Hash != "" {
		var sum string
		if sum, err = p.c.Hash(ctx, it.part, it.Hash, 0, -1); err == nil {
			err = it.corrupt(sum)
		}
	}
	if err == nil {
		err = p.c.Rename(ctx, it.part, it.path)
	}
	it.over = true
	if err != nil {
		p.note(ctx, err)
		if e, ok := errors.AsType[*Error](err); ok {
			e.Path = it.Path
		}
		*it.err = err
		p.leaves(it)
	}
}

// putCleanup bounds the removal of parts.
const putCleanup = 10 * time.Second

// tidy removes the parts of files that failed.
func (p *putJob) tidy(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), putCleanup)
	defer cancel()
	for _, it := range p.left {
		if err := p.c.Remove(ctx, it.part); err != nil && ctx.Err() != nil {
			return
		}
	}
}
