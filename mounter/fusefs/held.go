package fusefs

// What is held in the heap for each file that the kernel remembers and for each
// entry of a listing, in bytes, with a part for what the collector cannot use.
const (
	nodeBytes  = 1280
	entryBytes = 128
)

// Held returns about how many bytes of the heap are taken by what grows with the
// files that programs look at: those that the kernel remembers, which say when it
// forgets them, and listings. All else has a bound.
func (fs *FS) Held() int64 {
	return int64(fs.tree.len())*nodeBytes + int64(fs.ahead.listed()+fs.handles.listed())*entryBytes
}

// listed returns how many entries the orders have, and what was listed ahead.
func (a *ahead) listed() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.listedLocked() + a.entries
}

func (a *ahead) listedLocked() int {
	sum := 0
	for _, n := range a.orders {
		if o := n.orders.Load(); o != nil {
			sum += len(o.entries)
		}
	}
	return sum
}

// listed returns how many entries open directories have.
func (t *handles) listed() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	sum := 0
	for _, d := range t.dirs {
		sum += int(d.listedEntries.Load())
	}
	return sum
}
