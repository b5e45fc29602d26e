package unpack

import (
	"archive/tar"
	"errors"
	"fmt"
	"io"

	"golang.org/x/sys/unix"

	"berth/base/fault"
)

// extractor makes one layer's files. It belongs to one goroutine.
type extractor struct {
	opened
	tally
	stamp
	small     filler
	limits    Limits
	userXattr bool
	// ask puts a request to the caller's process; the reply may be nil.
	ask     func(request, *reply) error
	folders map[string]*folder // all folders of the layer, by clean name
	buf     []byte
	// What there is so far; bytes are those of files with their holes.
	entries, bytes, skipped int64
}

// bufferSize is the size of most writes.
const bufferSize = 256 << 10

func newExtractor(root int, o *order, ask func(request, *reply) error) *extractor {
	return &extractor{
		opened: opened{root: root, open: make(map[string]int, openFolders)}, tally: tally{inodes: 1}, stamp: stamp{oneID: o.OneID}, small: filler{stamp: stamp{oneID: o.OneID}},
		limits: o.Limits, userXattr: o.UserXattr, ask: ask, folders: map[string]*folder{"": {}}, buf: make([]byte, bufferSize),
	}
}

// entryError names the entry; %q keeps it on one line.
func entryError(name string, err error) error {
	if len(name) > 256 {
		name = name[:256] + "…"
	}
	return fmt.Errorf("entry %q: %w", name, err)
}

// run extracts the tar stream r to its end marker and finishes the folders.
func (x *extractor) run(r io.Reader) error {
	defer x.forgetOpen()
	if err := x.prepare(); err != nil {
		return err
	}
	tr := tar.NewReader(r)
	last := ""
	for {
		h, err := tr.Next()
		if err == io.EOF {
			return nil
		}
		if err != nil && (h == nil || !errors.Is(err, tar.ErrInsecurePath)) {
			return afterEntry(last, err)
		}
		if x.entries++; x.entries > x.limits.Entries {
			return fault.New(fault.Invalid, "the layer has more than %d entries", x.limits.Entries)
		}
		last = h.Name
		if h.Typeflag == tar.TypeXGlobalHeader {
			continue
		}
		if err := x.entry(h, tr); err != nil {
			return entryError(h.Name, err)
		}
	}
}

// afterEntry is the error of a header that could not be read.
func afterEntry(last string, err error) error {
	if fault.KindOf(err) == fault.Unknown && !errors.Is(err, errStopped) {
		err = fault.Wrap(fault.Invalid, err)
	}
	if last == "" {
		return fmt.Errorf("read the first header of the tar: %w", err)
	}
	return fmt.Errorf("read the header of the tar after %q: %w", last, err)
}

// prepare checks the layer's folder and makes it the worker's alone.
func (x *extractor) prepare() error {
	fd, err := x.find("")
	if err != nil {
		return fmt.Errorf("open the layer's folder: %w", err)
	}
	names, err := list(fd)
	if err != nil {
		return fmt.Errorf("list the layer's folder: %w", err)
	}
	if len(names) > 0 {
		return fault.New(fault.Exists, "the layer's folder is not empty: it has %q", names[0])
	}
	if err := unix.Fchmod(fd, 0o700); err != nil {
		return fmt.Errorf("change the mode of the layer's folder: %w", err)
	}
	return nil
}

// entry makes what one header says.
func (x *extractor) entry(h *tar.Header, r io.Reader) error {
	name, err := clean(h.Name, x.limits.Depth)
	if err != nil {
		return err
	}
	m, name, err := marked(name)
	switch {
	case err != nil:
		return err
	case m == markIgnore:
		return nil
	case m == markHide:
		return x.whiteout(name)
	case m == markOpaque:
		return x.opaque(name)
	}
	a, err := x.attributesOf(h, &x.limits)
	if err != nil {
		return err
	}
	if h.Typeflag == tar.TypeDir {
		return x.folder(name, a)
	}
	if name == "" {
		return fault.New(fault.Invalid, "the layer's root is not a folder there")
	}
	dir, base, real, err := x.parent(name)
	if err != nil {
		return fmt.Errorf("open the folder that it is in: %w", err)
	}
	switch h.Typeflag {
	case tar.TypeReg, 0, tar.TypeCont, tar.TypeGNUSparse: // 0 is how old tars write a file
		return x.regular(dir, base, h, a, r)
	case tar.TypeLink:
		return x.link(name, real, h.Linkname, a)
	case tar.TypeSymlink:
		return x.symlink(dir, base, h.Linkname, a)
	case tar.TypeFifo:
		return x.fifo(dir, base, a)
	case tar.TypeChar, tar.TypeBlock:
		return x.device(dir, base, real, h, a)
	}
	return fault.New(fault.Unsupported, "tar entries of the type %q are not supported", h.Typeflag)
}

// folder makes or merges a folder that an entry names.
func (x *extractor) folder(name string, a *attributes) error {
	f := &folder{attributes: *a, named: true}
	if name == "" {
		x.folders[""] = f.merge(x.folders[""])
		return nil
	}
	parent, base, real, err := x.parent(name)
	if err != nil {
		return fmt.Errorf("open the folder that it is in: %w", err)
	}
	err = x.mkdir(parent, real, base, f)
	if err != unix.EEXIST {
		return err
	}
	var st unix.Stat_t
	if err := unix.Fstatat(parent, base, &st, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return err
	}
	if st.Mode&unix.S_IFMT == unix.S_IFDIR {
		x.folders[real] = f.merge(x.folders[real])
		return nil
	}
	if isWhiteout(&st) {
		return x.replaceWhiteout(parent, real, base, f)
	}
	if err := x.remove(parent, base); err != nil {
		return err
	}
	return x.mkdir(parent, real, base, f)
}

// whiteout hides name of the layers below. What this layer has there stays.
func (x *extractor) whiteout(name string) error {
	parent, base, real, err := x.parent(name)
	if err != nil {
		return fmt.Errorf("open the folder that it is in: %w", err)
	}
	if err = unix.Mknodat(parent, base, unix.S_IFCHR, 0); err == nil {
		x.inodes++
		return nil
	}
	if err != unix.EEXIST {
		return fmt.Errorf("make a whiteout: %w", err)
	}
	var st unix.Stat_t
	if err := unix.Fstatat(parent, base, &st, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return err
	}
	if f := x.folders[real]; st.Mode&unix.S_IFMT == unix.S_IFDIR && f != nil {
		f.opaque, f.fresh = true, true
	}
	return nil
}

// opaque hides what the layers below have in the folder name.
func (x *extractor) opaque(name string) error {
	if name == "" {
		x.folders[""].opaque = true
		return nil
	}
	_, _, real, err := x.parent(below(name, opaqueName))
	if err != nil {
		return fmt.Errorf("open the folder: %w", err)
	}
	dir, _ := cut(real)
	x.folders[dir].opaque = true
	return nil
}

// isWhiteout tells overlay's whiteout: a character device 0:0.
func isWhiteout(st *unix.Stat_t) bool {
	return st.Mode&unix.S_IFMT == unix.S_IFCHR && st.Rdev == 0
}
