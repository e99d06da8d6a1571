package fusefs

import (
	"errors"
	"fmt"
)

// CheckTree returns what is wrong with the inode table.
func CheckTree(fs *FS) error {
	t := fs.tree
	t.mu.Lock()
	defer t.mu.Unlock()
	var errs []error
	wrong := func(n *node, what string) {
		errs = append(errs, fmt.Errorf("node %d (%q, place %d): %s", n.id, n.name, n.place, what))
	}
	for id, n := range t.nodes {
		if n.id != id || id > t.last {
			wrong(n, fmt.Sprintf("known as %d of %d", id, t.last))
		}
		if n == t.root {
			continue
		}
		if t.inos[n.ino] != n {
			wrong(n, "another one has its inode number")
		}
		if n.lookups == 0 && n.refs == 0 && len(n.children) == 0 {
			wrong(n, "nobody needs it")
		}
		if named := n.place == Linked || n.place == Hidden; named != (n.name != "") || named != (n.parent != nil) {
			wrong(n, "place and name do not agree")
		}
		if up := n.parent; up != nil && (t.nodes[up.id] != up || up.children[n.name] != n) {
			wrong(n, "the directory above does not have it")
		}
		for name, c := range n.children {
			if c.parent != n || c.name != name {
				wrong(n, "has a child that is elsewhere: "+name)
			}
		}
	}
	return errors.Join(errs...)
}

// PathOf returns where the kernel's node is.
func PathOf(fs *FS, id uint64) (path string, ok bool) {
	n, err := fs.node(id)
	if err != nil {
		return "", false
	}
	return fs.tree.path(n)
}
