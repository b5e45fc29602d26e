package tree

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"slices"
	"strings"
	"time"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"berth/base/fault"
)

// Limits of one tree.
const (
	maxDepth   = 512     // folders open at a time
	maxLinks   = 1 << 20 // files with several names that are remembered
	maxEntries = 10_000_000
	bufferSize = 256 << 10
)

const openFolder = unix.O_RDONLY | unix.O_DIRECTORY | unix.O_NOFOLLOW | unix.O_CLOEXEC

// Source says what becomes a tar.
type Source struct {
	Dir  int    // the folder that the entry is in
	Base string // the entry; "." for the folder itself, with all in it
	// Name is that of the entry in the tar; without, what is in the folder has
	// names of its own and the folder is not named.
	Name string
	// WholeSeconds leaves the fractions of times out: layers are made so.
	WholeSeconds bool
	// Layer turns overlay's whiteouts and opaque folders into those of a layer's
	// tar (image-spec layer.md), and what the host means by an xattr into what
	// an image means.
	Layer bool
	// UserXattr says that overlay marks opaque folders by user.overlay.*, not trusted.*.
	UserXattr bool
	// UIDs and GIDs map the ids in the tar to those of the files; none: they are the
	// same. What nobody inside has is the overflow id there, as for who looks from inside.
	UIDs, GIDs []specs.LinuxIDMapping
	// OthersAreRoots gives what has an owner without an id in the caller's user namespace
	// to root: of the host's files these are root's, nearly always.
	OthersAreRoots bool
}

// overflowID is what the kernel shows for an id that is not mapped, user_namespaces(7).
const overflowID = 65534

// inside is the id of a file's owner in the tar.
func (s *Source) inside(maps []specs.LinuxIDMapping, id uint32) int {
	if s.OthersAreRoots && id == overflowID {
		return 0
	}
	for _, m := range maps {
		if id >= m.HostID && id-m.HostID < m.Size {
			return int(m.ContainerID + id - m.HostID)
		}
	}
	if len(maps) > 0 {
		return overflowID
	}
	return int(id)
}

// inode names a file.
type inode struct{ dev, ino uint64 }

// packer writes one tar.
type packer struct {
	ctx   context.Context
	src   *Source
	tar   *tar.Writer
	links map[inode]string
	depth int
	buf   []byte
}

// Pack writes an entry and all below it as a tar. No link is followed. Files may
// change meanwhile: each has the size that it had when it was opened, and what
// vanishes is left out. Sockets have no place in a tar.
func Pack(ctx context.Context, w io.Writer, s *Source) error {
	p := &packer{ctx: ctx, src: s, tar: tar.NewWriter(w), links: map[inode]string{}, buf: make([]byte, bufferSize)}
	if err := p.entry(s.Dir, s.Base, s.Name); err != nil {
		return err
	}
	return p.tar.Close()
}

// entry writes what base in dir is; an error names it.
func (p *packer) entry(dir int, base, name string) error {
	err := p.ctx.Err()
	if err == nil {
		err = p.write(dir, base, name)
	}
	var said *entryError
	if err == nil || errors.As(err, &said) {
		return err
	}
	return &entryError{name, err}
}

// entryError is what failed with the entry of a tar.
type entryError struct {
	name string
	err  error
}

func (e *entryError) Error() string { return fmt.Sprintf("%.200s: %v", e.name, e.err) }
func (e *entryError) Unwrap() error { return e.err }

func (p *packer) write(dir int, base, name string) error {
	var st unix.Stat_t
	if err := unix.Fstatat(dir, base, &st, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return err
	}
	if st.Mode&unix.S_IFMT == unix.S_IFDIR {
		fd, err := unix.Openat(dir, base, openFolder, 0)
		if err != nil {
			return err
		}
		defer unix.Close(fd)
		return p.folder(fd, name)
	}
	if p.src.Layer && isWhiteout(&st) {
		return p.hide(name)
	}
	h := p.header(&st, name)
	if st.Nlink > 1 && h.Typeflag != 0 {
		id := inode{st.Dev, st.Ino}
		if first, ok := p.links[id]; ok {
			h.Typeflag, h.Linkname, h.Size = tar.TypeLink, first, 0
			return p.tar.WriteHeader(h)
		}
		if len(p.links) < maxLinks {
			p.links[id] = name
		}
	}
	switch h.Typeflag {
	case tar.TypeReg:
		return p.file(dir, base, name)
	case tar.TypeSymlink:
		target, err := readlink(dir, base)
		if err != nil {
			return err
		}
		h.Linkname = target
	case 0:
		return nil
	}
	return p.tar.WriteHeader(h)
}

// header is an entry's head as far as stat(2) tells; the type of a socket is 0.
func (p *packer) header(st *unix.Stat_t, name string) *tar.Header {
	h := &tar.Header{Name: name, Mode: int64(st.Mode & 0o7777), Uid: p.src.inside(p.src.UIDs, st.Uid), Gid: p.src.inside(p.src.GIDs, st.Gid),
		ModTime: time.Unix(st.Mtim.Unix()), Format: tar.FormatPAX}
	if p.src.WholeSeconds {
		h.ModTime = h.ModTime.Truncate(time.Second)
	}
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFDIR:
		h.Typeflag, h.Name = tar.TypeDir, strings.TrimSuffix(name, "/")+"/"
	case unix.S_IFREG:
		h.Typeflag, h.Size = tar.TypeReg, st.Size
	case unix.S_IFLNK:
		h.Typeflag = tar.TypeSymlink
	case unix.S_IFIFO:
		h.Typeflag = tar.TypeFifo
	case unix.S_IFCHR, unix.S_IFBLK:
		h.Typeflag = tar.TypeChar
		if st.Mode&unix.S_IFMT == unix.S_IFBLK {
			h.Typeflag = tar.TypeBlock
		}
		h.Devmajor, h.Devminor = int64(unix.Major(st.Rdev)), int64(unix.Minor(st.Rdev))
	}
	return h
}

// folder writes an open folder and what is in it, by name.
func (p *packer) folder(fd int, name string) error {
	if p.depth++; p.depth > maxDepth {
		return fault.New(fault.Invalid, "%.200q: folders more than %d deep", name, maxDepth)
	}
	defer func() { p.depth-- }()
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return err
	}
	if name != "" {
		h := p.header(&st, name)
		h.PAXRecords = p.xattrs(fd)
		if err := p.tar.WriteHeader(h); err != nil {
			return err
		}
	}
	if p.src.Layer {
		if err := p.opaque(fd, name); err != nil {
			return err
		}
	}
	names, err := list(fd)
	if err != nil {
		return fmt.Errorf("list %.200q: %w", name, err)
	}
	slices.Sort(names)
	for _, base := range names {
		below := path.Join(name, base)
		if name == "." || strings.HasPrefix(name, "./") { // Join drops it
			below = "./" + below
		}
		if err := p.entry(fd, base, below); err != nil && !isGone(err) {
			return err
		}
	}
	return nil
}

// isGone: whoever owns the tree changes it while we read.
func isGone(err error) bool {
	return errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENOTDIR) || errors.Is(err, unix.ELOOP)
}

// file writes a regular file; what it has become meanwhile is left out.
func (p *packer) file(dir int, base, name string) error {
	fd, err := unix.Openat(dir, base, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_NOCTTY|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	f := os.NewFile(uintptr(fd), name)
	defer f.Close()
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return err
	}
	if st.Mode&unix.S_IFMT != unix.S_IFREG {
		return unix.ENOENT
	}
	h := p.header(&st, name)
	h.PAXRecords = p.xattrs(fd)
	if err := p.tar.WriteHeader(h); err != nil {
		return err
	}
	return p.content(f, st.Size)
}

// content writes size bytes: of a file that grows the beginning, and one that
// shrinks is filled with zeros, as the size stands in its head.
func (p *packer) content(f *os.File, size int64) error {
	for size > 0 {
		if err := p.ctx.Err(); err != nil {
			return err
		}
		buf := p.buf[:min(size, bufferSize)]
		n, err := f.Read(buf)
		if err == io.EOF {
			clear(buf)
			n, err = len(buf), nil
		}
		if err != nil {
			return err
		}
		if _, err := p.tar.Write(buf[:n]); err != nil {
			return err
		}
		size -= int64(n)
	}
	return nil
}

// list names what is in a folder that stays open.
func list(dir int) ([]string, error) {
	fd, err := unix.Openat(dir, ".", openFolder, 0)
	if err != nil {
		return nil, err
	}
	d := os.NewFile(uintptr(fd), "folder")
	defer d.Close()
	return d.Readdirnames(-1)
}

func readlink(dir int, base string) (string, error) {
	var buf [unix.PathMax]byte
	n, err := unix.Readlinkat(dir, base, buf[:])
	if err != nil {
		return "", err
	}
	return string(buf[:n]), nil
}
