package main

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
)

const cgroupRoot = "/sys/fs/cgroup"

// hierarchies returns the root of each cgroup hierarchy: one with cgroup v2, one
// for each controller with v1.
func hierarchies() (roots []string, unified bool, err error) {
	if _, err := os.Stat(filepath.Join(cgroupRoot, "cgroup.controllers")); err == nil {
		return []string{cgroupRoot}, true, nil
	}
	files, err := filepath.Glob(filepath.Join(cgroupRoot, "*", "cgroup.procs"))
	for i, file := range files {
		files[i] = filepath.Dir(file)
	}
	return files, false, err
}

// makeCgroups makes the cgroup that the kubelet makes the pods' in.
func makeCgroups(name string) error {
	roots, unified, err := hierarchies()
	if err != nil {
		return err
	}
	for _, root := range roots {
		dir := filepath.Join(root, name)
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return err
		}
		if unified {
			if err := delegate(root, dir); err != nil {
				return err
			}
			continue
		}
		for _, file := range []string{"cpuset.cpus", "cpuset.mems"} { // empty in a new cpuset of v1
			data, err := os.ReadFile(filepath.Join(root, file))
			if errors.Is(err, fs.ErrNotExist) {
				continue
			}
			if err == nil {
				err = os.WriteFile(filepath.Join(dir, file), data, 0)
			}
			if err != nil {
				return err
			}
		}
	}
	return nil
}

// delegate hands all controllers of cgroup v2 down to dir and its children.
func delegate(root, dir string) error {
	data, err := os.ReadFile(filepath.Join(root, "cgroup.controllers"))
	if err != nil {
		return err
	}
	for _, d := range []string{root, dir} {
		for controller := range strings.FieldsSeq(string(data)) {
			err := os.WriteFile(filepath.Join(d, "cgroup.subtree_control"), []byte("+"+controller), 0)
			if err != nil && controller != "cpuset" && controller != "cpu" && controller != "memory" && controller != "pids" {
				continue // the kubelet can do without
			}
			if err != nil {
				return err
			}
		}
	}
	return nil
}

// removeCgroups removes the cgroups of that name in every hierarchy, the deepest
// first. Those of processes that have just died take a moment to become empty.
func removeCgroups(name string) error {
	roots, _, err := hierarchies()
	if err != nil {
		return err
	}
	for _, root := range roots {
		var dirs []string
		walk := func(path string, d fs.DirEntry, err error) error {
			if err == nil && d.IsDir() {
				dirs = append(dirs, path)
			}
			return nil // gone already, or not there at all
		}
		if err := filepath.WalkDir(filepath.Join(root, name), walk); err != nil {
			return err
		}
		for _, dir := range slices.Backward(dirs) {
			err := until(context.Background(), 10*time.Second, "end of cgroup "+dir, func(context.Context) error {
				if err := syscall.Rmdir(dir); !errors.Is(err, fs.ErrNotExist) {
					return err
				}
				return nil
			})
			if err != nil {
				return err
			}
		}
	}
	return nil
}
