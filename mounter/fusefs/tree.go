package fusefs

import (
	"hash/fnv"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/hanwen/go-fuse/v2/fuse"

	"github.com/csi-uftp/csi-uftp/uftp"
)

// tree is the inode table: which nodes there are, where they are and who needs
// them.
type tree struct {
	root *node

	mu    sync.Mutex // guards what follows, and the nodes' fields that say so
	nodes map[uint64]*node
	inos  map[uint64]*node
	last  uint64 // highest node id given out
}

func newTree(root uftp.Info) *tree {
	t := &tree{
		nodes: make(map[uint64]*node),
		inos:  make(map[uint64]*node),
		last:  fuse.FUSE_ROOT_ID,
	}
	t.root = newNode(fuse.FUSE_ROOT_ID, fuse.FUSE_ROOT_ID, true)
	t.root.info = root
	t.root.lookups = 1 // the kernel never forgets it
	t.nodes[t.root.id] = t.root
	t.inos[t.root.ino] = t.root
	return t
}

// get returns the node that the kernel knows by id, or nil.
func (t *tree) get(id uint64) *node {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.nodes[id]
}

// child returns the known node of that name, or nil.
func (t *tree) child(dir *node, name string) *node {
	t.mu.Lock()
	defer t.mu.Unlock()
	return dir.children[name]
}

// hidden returns the children of dir that are hidden, by name.
func (t *tree) hidden(dir *node) map[string]*node {
	t.mu.Lock()
	defer t.mu.Unlock()
	hidden := make(map[string]*node)
	for name, c := range dir.children {
		if c.place == Hidden {
			hidden[name] = c
		}
	}
	return hidden
}

// allHidden returns all files that are hidden.
func (t *tree) allHidden() (hidden []*node) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, n := range t.nodes {
		if t.placeOf(n) == Hidden {
			hidden = append(hidden, n)
		}
	}
	return hidden
}

// enter returns the child of dir called name, which the server described as
// info, counted: the kernel is about to be told of it. It adds one if there is
// none, and replaces one of another type.
func (t *tree) enter(dir *node, name string, info uftp.Info, tick uint64, now time.Time) (n *node, isNew bool, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	path, ok := t.pathOf(dir)
	if !ok {
		return nil, false, syscall.ESTALE
	}
	n = dir.children[name]
	if n != nil && n.dir != info.IsDir() {
		t.detach(n, Lost)
		n = nil
	}
	if n == nil {
		isNew = true
		t.last++
		n = newNode(t.last, t.freeIno(join(path, name), t.last), info.IsDir())
		n.info, n.at, n.asked = info, now, tick
		t.nodes[n.id] = n
		t.inos[n.ino] = n
		t.attach(n, dir, name)
		n.heir = dir.heirs[name]
	}
	n.lookups++
	return n, isNew, nil
}

// count notes that the kernel is about to be told of n, and reports whether n
// is still known.
func (t *tree) count(n *node) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.nodes[n.id] != n || n.place != Linked {
		return false
	}
	n.lookups++
	return true
}

// forget takes back what count and enter counted.
func (t *tree) forget(id, lookups uint64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	n := t.nodes[id]
	if n == nil || n == t.root {
		return
	}
	n.lookups -= min(lookups, n.lookups)
	t.dropUnused(n)
}

// ref keeps n known until unref.
func (t *tree) ref(n *node) {
	t.mu.Lock()
	defer t.mu.Unlock()
	n.refs++
}

func (t *tree) unref(n *node) {
	t.mu.Lock()
	defer t.mu.Unlock()
	n.refs--
	t.dropUnused(n)
}

// open is ref for a file handle, close unref. close returns how many are left,
// and n's place.
func (t *tree) open(n *node) {
	t.mu.Lock()
	defer t.mu.Unlock()
	n.opens++
	n.refs++
}

func (t *tree) close(n *node) (opens int, place Place) {
	t.mu.Lock()
	defer t.mu.Unlock()
	n.opens--
	n.refs--
	opens, place = n.opens, t.placeOf(n)
	t.dropUnused(n)
	return opens, place
}

// status returns how often n is open, and its place.
func (t *tree) status(n *node) (opens int, place Place) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return n.opens, t.placeOf(n)
}

// placeOf returns n's place: what lies below something lost is lost, too.
func (t *tree) placeOf(n *node) Place {
	if n.place == Removed {
		return Removed
	}
	for up := n; up != t.root; up = up.parent {
		if up == nil || up.parent == nil {
			return Lost
		}
	}
	return n.place
}

// move gives n another path. What has that path must be detached before.
func (t *tree) move(n, dir *node, name string, place Place) {
	t.mu.Lock()
	defer t.mu.Unlock()
	old := n.parent
	t.unlink(n)
	t.attach(n, dir, name)
	n.place, n.moved = place, true
	t.dropUnused(old)
}

// remove takes n's path away, because it was removed by us or by others.
func (t *tree) remove(n *node, place Place) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if n != t.root {
		t.detach(n, place)
	}
}

// maxHeirs bounds the names that a directory remembers; heirTime is for how long
// whoever takes such a name is an heir. The kernel may forget the first at once,
// and look the name up once more.
const (
	maxHeirs = 1000
	heirTime = 10 * time.Second
)

// giveUp is remove for a file whose name another node is to take at once. With
// heir that one can be told from others.
func (t *tree) giveUp(n *node, heir bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	dir, name := n.parent, n.name
	if n == t.root || dir == nil {
		return
	}
	t.detach(n, Removed)
	if !heir {
		return
	}
	if dir.heirs == nil || len(dir.heirs) >= maxHeirs {
		dir.heirs = make(map[string]time.Time)
	}
	dir.heirs[name] = time.Now()
}

func (t *tree) isHeir(n *node) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return time.Since(n.heir) < heirTime
}

func (t *tree) detach(n *node, place Place) {
	old := n.parent
	if old == nil {
		return
	}
	t.unlink(n)
	n.place = place
	t.dropUnused(n)
	t.dropUnused(old)
}

func (t *tree) attach(n, dir *node, name string) {
	n.parent, n.name = dir, name
	if dir.children == nil {
		dir.children = make(map[string]*node)
	}
	dir.children[name] = n
}

func (t *tree) unlink(n *node) {
	if n.parent != nil {
		delete(n.parent.children, n.name)
	}
	n.parent, n.name = nil, ""
}

// dropUnused forgets n, and directories above it, if nobody needs them.
func (t *tree) dropUnused(n *node) {
	for n != nil && n != t.root && n.lookups == 0 && n.refs == 0 && len(n.children) == 0 && t.nodes[n.id] == n {
		parent := n.parent
		t.unlink(n)
		delete(t.nodes, n.id)
		n.orders.Store(nil)
		if t.inos[n.ino] == n {
			delete(t.inos, n.ino)
		}
		n = parent
	}
}

// path returns where n is on the server, if it has a path.
func (t *tree) path(n *node) (path string, ok bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.pathOf(n)
}

// steadyPath is path for what had it when we first heard of it: neither n nor a
// directory above it was moved by us.
func (t *tree) steadyPath(n *node) (path string, ok bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for d := n; d != nil; d = d.parent {
		if d.moved {
			return "", false
		}
	}
	return t.pathOf(n)
}

// location returns the directory that n is in, nil if in none, and its name
// there.
func (t *tree) location(n *node) (dir *node, name string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return n.parent, n.name
}

// lineage returns the directories that n is in, from the root on, and n.
func (t *tree) lineage(n *node) (line []*node) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for ; n != nil; n = n.parent {
		line = append(line, n)
	}
	slices.Reverse(line)
	return line
}

func (t *tree) pathOf(n *node) (path string, ok bool) {
	var names []string
	for ; n != t.root; n = n.parent {
		if n == nil || n.parent == nil {
			return "", false
		}
		names = append(names, n.name)
	}
	slices.Reverse(names)
	return strings.Join(names, "/"), true
}

func join(dir, name string) string {
	if dir == "" {
		return name
	}
	return dir + "/" + name
}

// freeIno returns the inode number for a node at path: the same one whenever it
// can, since the server has none and programs such as git compare them over
// time. A file that still has it, moved away, keeps it.
func (t *tree) freeIno(path string, id uint64) uint64 {
	ino := inoOf(path)
	for t.inos[ino] != nil || ino <= fuse.FUSE_ROOT_ID {
		ino += id
	}
	return ino
}

func inoOf(path string) uint64 {
	h := fnv.New64a()
	h.Write([]byte(path))
	return h.Sum64()
}

// inoIn returns the inode number of an entry of dir, for listings.
func (t *tree) inoIn(dir *node, name string) uint64 {
	return t.inosIn(dir, []uftp.Info{{Name: name}})[0]
}

// inosIn is inoIn for many entries.
func (t *tree) inosIn(dir *node, entries []uftp.Info) []uint64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	inos := make([]uint64, len(entries))
	path, _ := t.pathOf(dir)
	for i, e := range entries {
		if c := dir.children[e.Name]; c != nil {
			inos[i] = c.ino
		} else {
			inos[i] = inoOf(join(path, e.Name))
		}
	}
	return inos
}

// len returns how many nodes are known.
func (t *tree) len() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.nodes)
}

// inoAbove returns the inode number of the directory above dir.
func (t *tree) inoAbove(dir *node) uint64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	if dir.parent != nil {
		return dir.parent.ino
	}
	return dir.ino
}
