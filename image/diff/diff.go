// Package diff tells what a layer, or the writable folder of a container,
// changed in the tree below it: docker's and podman's `diff`. It looks only
// at folders in overlay's form (whiteouts are character devices 0/0, an opaque
// folder has an xattr), by descriptors, and mounts nothing; which folders make
// up an image is the caller's knowledge. Row 3 (image).
//
// The two engines do not mean the same by it, and Rules knows both:
//
//	docker   compares two whole trees: a file is changed if its mode, owner,
//	         device, size, time or capabilities are others; a folder if its mode
//	         or owner is another, or something below it changed; what vanished
//	         is named once, at its top
//	podman   reads the layer: each file in it is changed, if it was there
//	         before, and each folder whose mode, size or time is another; an
//	         opaque folder is deleted, and what is below it is still named
//
// Both are given in the order of a walk: a folder, then what is in it, by name.
package diff

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"path"
	"slices"

	"golang.org/x/sys/unix"
)

// The kinds of a Change.
const (
	Added   byte = 'A'
	Changed byte = 'C'
	Deleted byte = 'D'
)

// Change is one line of a diff.
type Change struct {
	Kind byte   // Added, Changed or Deleted
	Path string // absolute in the tree, "/" is never one
}

// Rules says how to compare. The zero value is docker's way on a store of
// the host's root.
type Rules struct {
	Podman bool   // podman's way
	Opaque string // the xattr of opaque folders; default trusted.overlay.opaque
}

// MaxFiles bounds how many files one comparison looks at.
const MaxFiles = 1 << 22

// Changes compares the folder upper, laid over the folders lower (newest
// first, may be none), with lower alone, by docker's rules. See Rules.Changes.
func Changes(ctx context.Context, upper *os.File, lower []*os.File) ([]Change, error) {
	return Rules{}.Changes(ctx, upper, lower)
}

// Changes tells what upper changed in what lower, newest first, make up. What
// somebody changes in upper meanwhile is seen or not. Links are never followed.
// Errors are those of the kernel, of kind Invalid for more than MaxFiles files.
func (r Rules) Changes(ctx context.Context, upper *os.File, lower []*os.File) ([]Change, error) {
	if !r.Podman {
		return r.Between(ctx, append([]*os.File{upper}, lower...), lower)
	}
	w, err := r.walker(ctx)
	if err != nil {
		return nil, err
	}
	up, err := w.roots([]*os.File{upper})
	if err != nil {
		return nil, err
	}
	low, err := w.roots(lower)
	if err != nil {
		return nil, err
	}
	if err := w.layer("", up[0], low); err != nil {
		return nil, fmt.Errorf("compare layer %s with what is below it: %w", upper.Name(), err)
	}
	return slices.DeleteFunc(w.out, func(c Change) bool { return mountPoint(c.Path) }), nil
}

// Between compares any two trees, each given as its folders, newest first: what
// must be done to base to get now. Folders that both have in common at the
// bottom cost nothing. Both engines answer this question docker's way.
func (r Rules) Between(ctx context.Context, now, base []*os.File) ([]Change, error) {
	w, err := r.walker(ctx)
	if err != nil {
		return nil, err
	}
	a, err := w.roots(now)
	if err != nil {
		return nil, err
	}
	b, err := w.roots(base)
	if err != nil {
		return nil, err
	}
	if err := w.trees("", a, b); err != nil {
		return nil, fmt.Errorf("compare trees: %w", err)
	}
	if r.Podman {
		w.out = slices.DeleteFunc(w.out, func(c Change) bool { return mountPoint(c.Path) })
	}
	return w.out, nil
}

// mountPoint: podman never names what it mounts something on in each container.
func mountPoint(name string) bool {
	switch name {
	case "/dev", "/proc", "/sys", "/run", "/run/notify", "/run/.containerenv", "/run/secrets",
		"/etc/hostname", "/etc/hosts", "/etc/resolv.conf", "/etc/mtab":
		return true
	}
	return false
}

// trees is docker's comparison of one folder of both trees: now and base are
// those of the roots that have it.
func (w *walker) trees(dir string, now, base []*root) error {
	if slices.Equal(now, base) {
		return nil
	}
	seen := map[*root]*listing{}
	a, err := w.merge(dir, now, seen)
	if err != nil {
		return err
	}
	b, err := w.merge(dir, base, seen)
	if err != nil {
		return err
	}
	for i, j := 0, 0; i < len(a) || j < len(b); {
		order := -1
		switch {
		case i == len(a):
			order = 1
		case j < len(b):
			order = cmp.Compare(a[i].name, b[j].name)
		}
		switch {
		case order > 0:
			w.tell(Deleted, path.Join(dir, b[j].name))
			j++
		case order < 0:
			err = w.both(dir, a[i], nil)
			i++
		default:
			err = w.both(dir, a[i], &b[j])
			i, j = i+1, j+1
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// both compares one file of the new tree with the one of its name before.
func (w *walker) both(dir string, now child, was *child) error {
	name := path.Join(dir, now.name)
	at, kept := len(w.out), false
	var below []*root
	switch {
	case was == nil:
		w.tell(Added, name)
		kept = true
	case !now.isDir() && now.from == was.from:
		return nil // one and the same
	default:
		differ, err := w.differ(dir, now, *was)
		if err != nil {
			return err
		}
		w.tell(Changed, name)
		kept, below = differ, was.dirs
	}
	if now.isDir() {
		if err := w.trees(name, now.dirs, below); err != nil {
			return err
		}
	}
	if !kept && len(w.out) == at+1 {
		w.out = w.out[:at] // nothing in it changed either
	}
	return nil
}

// differ compares what the kernel says of two files.
func (w *walker) differ(dir string, a, b child) (bool, error) {
	x, y := &a.stat, &b.stat
	if x.Mode != y.Mode || x.Uid != y.Uid || x.Gid != y.Gid || x.Rdev != y.Rdev {
		return true, nil
	}
	if a.isDir() {
		return false, nil
	}
	if x.Size != y.Size || !sameTime(x.Mtim, y.Mtim) {
		return true, nil
	}
	if x.Mode&unix.S_IFMT != unix.S_IFREG {
		return false, nil
	}
	left, err := capability(a.from, path.Join(dir, a.name))
	if err != nil {
		return false, err
	}
	right, err := capability(b.from, path.Join(dir, b.name))
	return left != right, err
}

// sameTime: a tar may have cut off what is less than a second.
func sameTime(a, b unix.Timespec) bool {
	return a.Sec == b.Sec && (a.Nsec == b.Nsec || a.Nsec == 0 || b.Nsec == 0)
}

// layer is podman's reading of one folder of a layer.
func (w *walker) layer(dir string, up *root, low []*root) error {
	own, err := w.list(up, dir)
	if err != nil {
		return err
	}
	below, err := w.merge(dir, low, map[*root]*listing{})
	if err != nil {
		return err
	}
	for _, e := range own.entries {
		name := path.Join(dir, e.name)
		var was *child
		if i, ok := slices.BinarySearchFunc(below, e.name, func(c child, name string) int { return cmp.Compare(c.name, name) }); ok {
			was = &below[i]
		}
		if err := w.entry(name, up, e, was); err != nil {
			return err
		}
	}
	return nil
}

func (w *walker) entry(name string, up *root, e entry, was *child) error {
	kind := Added
	if was != nil {
		kind = Changed
	}
	if e.isWhiteout() {
		kind = Deleted
	}
	same := false
	var below []*root
	if e.isDir() && was != nil {
		below = was.dirs
		opaque, err := w.isOpaque(up, name)
		switch {
		case err != nil:
			return err
		case opaque:
			kind = Deleted
		default:
			same = was.isDir() && e.stat.Mode == was.stat.Mode && e.stat.Size == was.stat.Size && sameTime(e.stat.Mtim, was.stat.Mtim)
		}
	}
	if !same {
		if e.isDir() {
			w.named[name] = true
		}
		if kind != Changed {
			w.parents(name)
		}
		w.tell(kind, name)
	}
	if !e.isDir() {
		return nil
	}
	return w.layer(name, up, below)
}

// parents names the folders above what came or went, once each.
func (w *walker) parents(name string) {
	at := len(w.out)
	for dir := path.Dir(name); dir != "."; dir = path.Dir(dir) {
		if w.named[dir] {
			continue
		}
		w.named[dir] = true
		w.out = slices.Insert(w.out, at, Change{Changed, "/" + dir})
	}
}

func (w *walker) tell(kind byte, name string) {
	w.out = append(w.out, Change{kind, "/" + name})
}
