package diff

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"

	"golang.org/x/sys/unix"

	"berth/base/fault"
	"berth/sys/safepath"
)

// root is one folder of a tree. One folder is one root, however often it was
// opened: roots are compared by pointer.
type root struct {
	file *os.File
}

// walker is one comparison under way.
type walker struct {
	ctx    context.Context
	opaque string
	known  map[[2]uint64]*root // by device and inode
	left   int                 // files that may still be looked at
	named  map[string]bool     // podman: folders that have a line
	out    []Change
}

func (r Rules) walker(ctx context.Context) (*walker, error) {
	if r.Opaque == "" {
		r.Opaque = "trusted.overlay.opaque"
	}
	return &walker{ctx: ctx, opaque: r.Opaque, known: map[[2]uint64]*root{}, left: MaxFiles, named: map[string]bool{}}, ctx.Err()
}

func (w *walker) roots(files []*os.File) ([]*root, error) {
	out := make([]*root, 0, len(files))
	for _, f := range files {
		var st unix.Stat_t
		if err := unix.Fstat(int(f.Fd()), &st); err != nil {
			return nil, fmt.Errorf("look at layer %s: %w", f.Name(), err)
		}
		key := [2]uint64{st.Dev, st.Ino}
		if w.known[key] == nil {
			w.known[key] = &root{f}
		}
		out = append(out, w.known[key])
	}
	return out, nil
}

// entry is one name in one folder of one root.
type entry struct {
	name string
	stat unix.Stat_t
}

func (e *entry) isDir() bool { return e.stat.Mode&unix.S_IFMT == unix.S_IFDIR }

func (e *entry) isWhiteout() bool { return e.stat.Mode&unix.S_IFMT == unix.S_IFCHR && e.stat.Rdev == 0 }

// child is one name in one folder of a tree.
type child struct {
	entry         // the newest
	from  *root   // that has it
	dirs  []*root // that make up a folder, newest first
}

// listing is one folder of one root, by name.
type listing struct {
	entries []entry
	opaque  bool
}

// merge lays the folders dir of roots over each other. seen keeps what was read
// already.
func (w *walker) merge(dir string, roots []*root, seen map[*root]*listing) ([]child, error) {
	var out []child
	at := map[string]int{}      // in out
	closed := map[string]bool{} // what is below does not show
	for i, r := range roots {
		l := seen[r]
		if l == nil {
			var err error
			if l, err = w.list(r, dir); err != nil {
				return nil, err
			}
			seen[r] = l
		}
		for _, e := range l.entries {
			if closed[e.name] {
				continue
			}
			j, above := at[e.name]
			switch {
			case e.isDir() && above:
				out[j].dirs = append(out[j].dirs, r)
			case e.isDir():
				at[e.name] = len(out)
				out = append(out, child{e, r, []*root{r}})
			default:
				closed[e.name] = true
				if !above && !e.isWhiteout() {
					out = append(out, child{e, r, nil})
				}
			}
		}
		if l.opaque && i < len(roots)-1 {
			break
		}
	}
	slices.SortFunc(out, func(a, b child) int { return cmp.Compare(a.name, b.name) })
	return out, nil
}

// batch is how many names are read at once.
const batch = 1024

// list reads one folder of a root. One that is gone is empty.
func (w *walker) list(r *root, dir string) (*listing, error) {
	if err := w.ctx.Err(); err != nil {
		return nil, err
	}
	l := &listing{}
	f, err := openIn(r, dir, unix.O_RDONLY|unix.O_DIRECTORY)
	if isGone(err) {
		return l, nil
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if l.opaque, err = w.opaqueFile(f, dir); err != nil {
		return nil, err
	}
	for {
		names, err := f.Readdirnames(batch)
		if w.left -= len(names); w.left < 0 {
			return nil, fault.New(fault.Invalid, "more than %d files", MaxFiles)
		}
		for _, name := range names {
			e := entry{name: name}
			err := unix.Fstatat(int(f.Fd()), name, &e.stat, unix.AT_SYMLINK_NOFOLLOW)
			if err == unix.ENOENT {
				continue
			}
			if err != nil {
				return nil, fmt.Errorf("look at /%s/%s: %w", dir, name, err)
			}
			l.entries = append(l.entries, e)
		}
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, fmt.Errorf("read folder /%s: %w", dir, err)
		}
	}
	slices.SortFunc(l.entries, func(a, b entry) int { return cmp.Compare(a.name, b.name) })
	return l, nil
}

// isOpaque looks at a folder that is not read yet.
func (w *walker) isOpaque(r *root, dir string) (bool, error) {
	f, err := openIn(r, dir, unix.O_RDONLY|unix.O_DIRECTORY)
	if isGone(err) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	defer f.Close()
	return w.opaqueFile(f, dir)
}

func (w *walker) opaqueFile(f *os.File, dir string) (bool, error) {
	value, err := xattr(f, w.opaque)
	if err != nil {
		return false, fmt.Errorf("read xattr %s of /%s: %w", w.opaque, dir, err)
	}
	return value == "y", nil
}

// capability of a regular file; "" without one.
func capability(r *root, name string) (string, error) {
	f, err := openIn(r, name, unix.O_RDONLY|unix.O_NONBLOCK)
	if isGone(err) {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	defer f.Close()
	value, err := xattr(f, "security.capability")
	if err != nil {
		return "", fmt.Errorf("read capabilities of /%s: %w", name, err)
	}
	return value, nil
}

// xattr reads a short xattr, "" if there is none.
func xattr(f *os.File, name string) (string, error) {
	var buf [64]byte
	n, err := unix.Fgetxattr(int(f.Fd()), name, buf[:])
	switch err {
	case nil:
		return string(buf[:n]), nil
	case unix.ENODATA, unix.EOPNOTSUPP, unix.ERANGE:
		return "", nil
	}
	return "", err
}

// openIn opens a file of a root; a link anywhere in the name is ELOOP.
func openIn(r *root, name string, flags int) (*os.File, error) {
	fd, err := safepath.OpenInRootNoLinks(int(r.file.Fd()), cmp.Or(name, "."), flags|unix.O_NOFOLLOW)
	if err != nil {
		return nil, fmt.Errorf("open /%s in layer %s: %w", name, r.file.Name(), err)
	}
	return os.NewFile(uintptr(fd), "/"+name), nil
}

// isGone: somebody changes a running container's folder while we look.
func isGone(err error) bool {
	return errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENOTDIR) || errors.Is(err, unix.ELOOP)
}
