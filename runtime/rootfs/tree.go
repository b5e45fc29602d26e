package rootfs

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"unicode"

	"golang.org/x/sys/unix"

	"berth/runtime/plan"
	"berth/sys/mount"
	"berth/sys/safepath"
)

// tree is a detached copy of a mount tree of the host, opened by the parent.
type tree struct {
	field    string // for errors: "mounts[3].source"
	path     string
	rec      bool
	dir      bool // must be a directory
	nofollow bool
	link     bool   // a symbolic link is passed on as it is
	sub      string // a path below it that is taken instead; no link leads out
	nearest  bool   // of a path that is missing, take the nearest parent
	attr     mount.Attr
	recAttr  mount.Attr
	props    []mount.Propagation
	ids      *mapping
}

// String describes the tree in listings of a plan.
func (t *tree) String() string {
	var s strings.Builder
	s.WriteString("tree of " + t.path)
	if t.sub != "" {
		s.WriteString(", of it " + t.sub)
	}
	if t.rec {
		s.WriteString(" and below")
	}
	for _, w := range []struct{ what, words string }{{"", t.attr.String()}, {"all ", t.recAttr.String()}} {
		if w.words != "" {
			s.WriteString(", " + w.what + w.words)
		}
	}
	for _, p := range t.props {
		s.WriteString(", " + p.String())
	}
	if t.ids != nil {
		s.WriteString(", " + t.ids.String())
	}
	return s.String()
}

func (t *tree) fail(what string, err error) error {
	if what == "" {
		what = "open"
	}
	return fmt.Errorf("%s: %s %s: %w", t.field, what, oneLine(t.path), err)
}

// oneLine is a path for an error: as it is, or quoted if it would break the line.
func oneLine(path string) string {
	if strings.ContainsFunc(path, unicode.IsControl) {
		return strconv.Quote(path)
	}
	return path
}

// open is the plan's Opener.
func (t *tree) open(h *plan.Host) (*os.File, error) {
	src, err := t.source()
	if err == nil && t.sub != "" {
		whole := src
		src, err = safepath.OpenBeneath(whole, t.sub, unix.O_PATH)
		unix.Close(whole)
	}
	if err != nil {
		return nil, t.fail("", err)
	}
	if t.link && isLink(src) {
		return os.NewFile(uintptr(src), t.path), nil
	}
	fd, err := mount.Clone(src, t.rec)
	unix.Close(src)
	if err != nil {
		if err == unix.EINVAL {
			err = errors.New("it is on an unbindable mount, or has mounts below that may not be uncovered (use rbind)")
		}
		return nil, t.fail("clone", err)
	}
	f := os.NewFile(uintptr(fd), t.path)
	if err := t.prepare(fd, h); err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

func (t *tree) source() (int, error) {
	flags := unix.O_PATH | unix.O_CLOEXEC
	if t.dir {
		flags |= unix.O_DIRECTORY
	}
	if t.nofollow || t.link {
		fd, err := unix.Open(t.path, flags|unix.O_NOFOLLOW, 0)
		if err != nil || t.nofollow || isLink(fd) {
			return fd, err
		}
		unix.Close(fd)
	}
	fd, err := unix.Open(t.path, flags, 0)
	for path := t.path; t.nearest && err == unix.ENOENT && path != "/"; {
		path = filepath.Dir(path)
		fd, err = unix.Open(path, flags, 0)
	}
	return fd, err
}

func isLink(fd int) bool {
	var st unix.Stat_t
	return unix.Fstat(fd, &st) == nil && st.Mode&unix.S_IFMT == unix.S_IFLNK
}

// prepare gives the tree its attributes, with as few calls as possible.
func (t *tree) prepare(fd int, h *plan.Host) error {
	props := t.props
	rec := t.recAttr
	if len(props) > 0 && props[0].Rec && rec.Propagation == 0 {
		rec.Propagation, props = props[0].Type, props[1:]
	}
	if !rec.Empty() {
		if err := mount.SetAttr(fd, rec, true); err != nil {
			return t.fail("set attributes of all mounts at", err)
		}
	}
	if !t.attr.Empty() {
		if err := mount.SetAttr(fd, t.attr, false); err != nil {
			return t.fail("set attributes of", err)
		}
	}
	for _, p := range props {
		if err := mount.SetAttr(fd, mount.Attr{Propagation: p.Type}, p.Rec); err != nil {
			return t.fail("change the propagation of", err)
		}
	}
	if t.ids == nil {
		return nil
	}
	if err := t.ids.apply(fd, h); err != nil {
		return t.fail("id-map", err)
	}
	return nil
}

// openNull opens the host's null device as a tree, for masks. The first process
// checks once more that it is one.
func openNull(*plan.Host) (*os.File, error) {
	fd, err := unix.Open("/dev/null", unix.O_PATH|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("linux.maskedPaths: open /dev/null: %w", err)
	}
	defer unix.Close(fd)
	clone, err := mount.Clone(fd, false)
	if err == nil {
		err = mount.SetAttr(clone, mount.Attr{Propagation: unix.MS_PRIVATE}, false)
	}
	if err != nil {
		return nil, fmt.Errorf("linux.maskedPaths: clone /dev/null: %w", err)
	}
	return os.NewFile(uintptr(clone), "/dev/null"), nil
}
