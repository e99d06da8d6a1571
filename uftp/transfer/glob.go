package transfer

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"
)

// HasGlob reports whether a name is a pattern for [Glob].
func HasGlob(pattern string) bool { return strings.ContainsAny(pattern, `*?[\`) }

// Glob returns the names that match a pattern as [path.Match] has it, sorted. As
// in a shell a name that begins with a dot must be asked for with a dot. The
// error is fs.ErrNotExist if nothing matches.
func Glob(ctx context.Context, t Tree, pattern string) ([]string, error) {
	if _, err := path.Match(pattern, ""); err != nil {
		return nil, fmt.Errorf("%w: pattern %q", fs.ErrInvalid, pattern)
	}
	found := []string{"."}
	components := strings.Split(path.Clean(pattern), "/")
	for i, component := range components {
		var next []string
		for _, dir := range found {
			names, err := expand(ctx, t, dir, component, i < len(components)-1)
			if err != nil {
				return nil, err
			}
			next = append(next, names...)
		}
		found = next
	}
	if len(found) == 0 {
		return nil, fmt.Errorf("%w: nothing matches %s", fs.ErrNotExist, t.Path(pattern))
	}
	return found, nil
}

// expand returns the entries of dir that match one component of a pattern.
func expand(ctx context.Context, t Tree, dir, component string, dirsOnly bool) ([]string, error) {
	if !HasGlob(component) {
		name := path.Join(dir, component)
		_, err := t.Stat(ctx, name)
		if errors.Is(err, fs.ErrNotExist) {
			return nil, nil
		}
		return []string{name}, err
	}
	infos, err := t.List(ctx, dir)
	if err != nil {
		return nil, err
	}
	var names []string
	for _, info := range infos {
		hidden := strings.HasPrefix(info.Name, ".") && !strings.HasPrefix(component, ".") && !strings.HasPrefix(component, `\.`)
		if hidden || isPart(info.Name) || dirsOnly && !info.IsDir() {
			continue
		}
		if ok, _ := path.Match(component, info.Name); ok {
			names = append(names, path.Join(dir, info.Name))
		}
	}
	slices.Sort(names)
	return names, nil
}
