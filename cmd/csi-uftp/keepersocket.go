package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/csi-uftp/csi-uftp/mounter/keeper"
)

// errNoKeeper means that this machine's keeper does not run, or not yet.
var errNoKeeper = errors.New("no keeper answers")

// keeperSocket finds the keeper's socket: at a path, or at the newest of several
// that match a pattern and answer. In Kubernetes the keeper's pod has it in an
// emptyDir, which the node sees below the kubelet's directory under the pod's
// uid, which nobody knows beforehand.
type keeperSocket struct {
	pattern string
	// namespace, if set, is the only one whose pods are believed to be keepers.
	// Any pod can have a volume and a socket of the right name; credentials would
	// go to it. But only the kubelet makes the directories in podLogs, and their
	// names, NAMESPACE_NAME_UID, say whose a pod is.
	namespace string
	podLogs   string
}

var podUID = regexp.MustCompile(`/pods/([0-9a-zA-Z-]+)/`)

// dial connects to the keeper.
func (k keeperSocket) dial(ctx context.Context) (*keeper.Client, error) {
	paths, err := k.candidates()
	if err != nil {
		return nil, err
	}
	errs := []error{fmt.Errorf("%w at %s", errNoKeeper, k.pattern)}
	for _, path := range paths {
		c, err := keeper.Dial(ctx, path)
		if err == nil {
			return c, nil
		}
		errs = append(errs, err)
	}
	return nil, errors.Join(errs...)
}

// candidates are the sockets that match, the newest first.
func (k keeperSocket) candidates() ([]string, error) {
	matches, err := k.matches()
	if err != nil {
		return nil, fmt.Errorf("keeper socket %q: %w", k.pattern, err)
	}
	type candidate struct {
		path string
		info fs.FileInfo
	}
	var found []candidate
	for _, path := range matches {
		// Lstat: in a pod's volume the pod decides what is a link, and to what.
		info, err := os.Lstat(path)
		if err != nil || info.Mode().Type() != fs.ModeSocket || !k.trusted(path) {
			continue
		}
		found = append(found, candidate{path, info})
	}
	slices.SortFunc(found, func(a, b candidate) int {
		return cmp.Or(b.info.ModTime().Compare(a.info.ModTime()), cmp.Compare(a.path, b.path))
	})
	paths := make([]string, len(found))
	for i, c := range found {
		paths[i] = c.path
	}
	return paths, nil
}

// matches are the paths that fit the pattern; there may be nothing at them. Behind the
// last wildcard no directory is listed, as [filepath.Glob] would do: any pod may have a
// volume of the right name, and millions of files in it.
func (k keeperSocket) matches() ([]string, error) {
	const wildcards = `*?[\`
	head, tail := filepath.Clean(k.pattern), ""
	for head != filepath.Dir(head) && !strings.ContainsAny(filepath.Base(head), wildcards) {
		head, tail = filepath.Dir(head), filepath.Join(filepath.Base(head), tail)
	}
	paths, err := filepath.Glob(head)
	for i, path := range paths {
		paths[i] = filepath.Join(path, tail)
	}
	return paths, err
}

// trusted tells whether the socket is in a volume of a pod of the namespace.
func (k keeperSocket) trusted(path string) bool {
	if k.namespace == "" {
		return true
	}
	uid := podUID.FindStringSubmatch(path)
	if uid == nil {
		return false
	}
	// Names of Kubernetes hold no underscores and no characters of patterns.
	logs, err := filepath.Glob(filepath.Join(k.podLogs, k.namespace+"_*_"+uid[1]))
	return err == nil && len(logs) == 1 && strings.Count(filepath.Base(logs[0]), "_") == 2
}
