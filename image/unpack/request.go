package unpack

import (
	"context"
	"fmt"
	"io"
	"os"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"berth/base/fault"
)

// What the worker asks for is checked here as if an image had asked, and done
// on descriptors: in the layer's folder, or read in those below it.

// answer does one request.
func (l *layer) answer(ctx context.Context, q *request) (r *reply) {
	r = &reply{}
	var err error
	name := string(q.Path)
	if tidy, cerr := clean(name, l.job.Limits.Depth); cerr != nil || tidy != name {
		err = fault.New(fault.Invalid, "a malformed name")
	} else {
		switch q.Op {
		case opNode:
			err = l.node(name, q)
		case opOpaque:
			err = l.opaque(name)
		case opHide:
			err = l.hide(ctx)
		case opParent:
			r.Attr, err = l.parent(ctx, name)
		default:
			err = fault.New(fault.Invalid, "an unknown request")
		}
	}
	if err != nil {
		r.Fail = toWire(err)
	}
	return r
}

// inDir calls do with the folder name of the layer.
func (l *layer) inDir(name string, do func(fd int) error) error {
	return control(l.job.Dir, func(root int) error {
		fd, err := openBeneath(root, name)
		if err != nil {
			return fmt.Errorf("open the folder %q: %w", name, err)
		}
		defer unix.Close(fd)
		return do(fd)
	})
}

// node makes a device node. EPERM is Unsupported: in a user namespace nobody may.
func (l *layer) node(name string, q *request) error {
	whiteout := q.Mode == unix.S_IFCHR && q.Major == 0 && q.Minor == 0
	if q.Mode != unix.S_IFCHR && q.Mode != unix.S_IFBLK || q.Major > maxMajor || q.Minor > maxMinor || whiteout || name == "" {
		return fault.New(fault.Invalid, "a malformed device node")
	}
	if l.nodes++; l.nodes > l.job.Limits.Entries {
		return fault.New(fault.Invalid, "more device nodes than entries are allowed")
	}
	dir, base := cut(name)
	return l.inDir(dir, func(fd int) error {
		err := unix.Mknodat(fd, base, q.Mode|0o600, int(unix.Mkdev(q.Major, q.Minor)))
		if err == unix.EPERM {
			return fault.New(fault.Unsupported, "make a device node: %w", err)
		}
		if err != nil {
			return fmt.Errorf("make a device node: %w", err)
		}
		return nil
	})
}

func (l *layer) opaque(name string) error {
	return l.inDir(name, setTrustedOpaque)
}

func setTrustedOpaque(fd int) error {
	if err := unix.Fsetxattr(fd, "trusted.overlay.opaque", []byte("y"), 0); err != nil {
		return fmt.Errorf("set the xattr trusted.overlay.opaque: %w", err)
	}
	return nil
}

// parents are the folders of the layers below.
func (l *layer) parents(ctx context.Context) ([]*os.File, error) {
	if !l.asked && l.job.Parents != nil {
		lower, err := l.job.Parents(ctx)
		if err != nil {
			return nil, fmt.Errorf("wait for the layers below: %w", err)
		}
		l.lower = lower
	}
	l.asked = true
	return l.lower, nil
}

// parent gives the attributes of the folder name in the newest layer below that
// has it; nil if none has, or if something in between hides it.
func (l *layer) parent(ctx context.Context, name string) (*attributes, error) {
	lower, err := l.parents(ctx)
	if err != nil {
		return nil, err
	}
	for _, f := range lower {
		var a *attributes
		below := false
		err := control(f, func(root int) error {
			fd, err := openBeneath(root, name)
			switch err {
			case nil:
				defer unix.Close(fd)
				a, err = attributesAt(fd)
			case unix.ENOENT:
				below = !hides(root, name)
				err = nil
			case unix.ENOTDIR, unix.ELOOP: // another thing, or a whiteout
				err = nil
			}
			return err
		})
		if err != nil {
			return nil, fmt.Errorf("read the folder in the layer %s below: %w", f.Name(), err)
		}
		if a != nil {
			a.UID, a.GID = inside(l.w.uids, a.UID), inside(l.w.gids, a.GID)
		}
		if a != nil || !below {
			return a, nil
		}
	}
	return nil, nil
}

// inside is what the makers call an id of ours. Root, where they have it not: with one
// id the owner is among the xattrs.
func inside(ids []syscall.SysProcIDMap, id int) int {
	for _, m := range ids {
		if id >= m.HostID && id-m.HostID < m.Size {
			return m.ContainerID + id - m.HostID
		}
	}
	return 0
}

// hides reports whether root has an opaque folder on the way to name, which it
// does not have itself.
func hides(root int, name string) bool {
	for i := 0; i < len(name); i++ {
		if name[i] != '/' {
			continue
		}
		fd, err := openBeneath(root, name[:i])
		if err != nil {
			return err != unix.ENOENT
		}
		opaque := isOpaque(fd)
		unix.Close(fd)
		if opaque {
			return true
		}
	}
	return false
}

func isOpaque(fd int) bool {
	var b [2]byte
	for _, name := range [...]string{"trusted.overlay.opaque", "user.overlay.opaque"} {
		if n, err := unix.Fgetxattr(fd, name, b[:]); err == nil && n == 1 && b[0] == 'y' {
			return true
		}
	}
	return false
}

// attributesAt reads what a folder in the middle takes from below.
func attributesAt(fd int) (*attributes, error) {
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return nil, err
	}
	a := &attributes{
		UID: int(st.Uid), GID: int(st.Gid), Mode: st.Mode & 0o7777, Timed: true,
		Atime: [2]int64{st.Atim.Sec, st.Atim.Nsec}, Mtime: [2]int64{st.Mtim.Sec, st.Mtim.Nsec},
	}
	names := make([]byte, unix.NAME_MAX*DefaultXattrs)
	n, err := unix.Flistxattr(fd, names)
	if err == unix.EOPNOTSUPP {
		return a, nil
	}
	if err != nil {
		return nil, fmt.Errorf("list its xattrs: %w", err)
	}
	value := make([]byte, DefaultXattrBytes)
	total := 0
	for name := range strings.SplitSeq(string(names[:n]), "\x00") {
		if name != overrideXattr && !keptXattr(name) {
			continue
		}
		n, err := unix.Fgetxattr(fd, name, value)
		if err != nil {
			return nil, fmt.Errorf("read its xattr %q: %w", name, err)
		}
		if total += len(name) + n; total > DefaultXattrBytes {
			return nil, fault.New(fault.Invalid, "its xattrs take more than %d bytes", DefaultXattrBytes)
		}
		a.Xattrs = append(a.Xattrs, xattr{name, append([]byte(nil), value[:n]...)})
	}
	return a, nil
}

// hide makes whiteouts for all that the layers below have in their root and
// this one has not, and makes those folders opaque that both have: overlay
// takes no xattr on a layer's root.
func (l *layer) hide(ctx context.Context) error {
	lower, err := l.parents(ctx)
	if err != nil {
		return err
	}
	return l.inDir("", func(root int) error {
		for _, f := range lower {
			names, err := rootNames(f)
			if err != nil {
				return fmt.Errorf("list the layer %s below: %w", f.Name(), err)
			}
			for _, name := range names {
				if err := l.hideName(root, name); err != nil {
					return fmt.Errorf("hide %q: %w", name, err)
				}
			}
		}
		return nil
	})
}

func (l *layer) hideName(root int, name string) error {
	err := unix.Mknodat(root, name, unix.S_IFCHR, 0)
	if err != unix.EEXIST {
		return err
	}
	fd, err := openBeneath(root, name)
	if err == unix.ENOTDIR || err == unix.ELOOP {
		return nil // hides what is below by itself
	}
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	if l.w.opts.UserXattr {
		return unix.Fsetxattr(fd, "user.overlay.opaque", []byte("y"), 0)
	}
	return setTrustedOpaque(fd)
}

// rootNames lists a folder; f may be open with O_PATH.
func rootNames(f *os.File) (names []string, err error) {
	fd := -1
	err = control(f, func(root int) (err error) {
		fd, err = openBeneath(root, "")
		return err
	})
	if err != nil {
		return nil, err
	}
	dir := os.NewFile(uintptr(fd), f.Name())
	defer dir.Close()
	names, err = dir.Readdirnames(maxRootNames + 1)
	if len(names) > maxRootNames {
		return nil, fault.New(fault.Invalid, "more than %d names", maxRootNames)
	}
	if err == io.EOF {
		err = nil
	}
	return names, err
}

// maxRootNames bounds what one opaque root hides in each layer below.
const maxRootNames = 100_000
