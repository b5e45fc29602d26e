package initproc

import (
	"errors"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"berth/sys/mount"
	"berth/sys/safepath"
)

// openHidden opens a path to be masked or made read-only. What lies in /proc
// and /sys is looked up from the mounts that our own steps made there, and
// cannot be led elsewhere (security class V4).
func (p *process) openHidden(path string) (int, error) {
	if guardProcFD {
		for _, m := range [...]struct {
			prefix string
			fd     int
		}{{"/proc/", p.rootState.proc}, {"/sys/", p.rootState.sys}} {
			if rest, ok := strings.CutPrefix(path, m.prefix); ok && m.fd > 0 {
				return safepath.OpenBeneath(m.fd, rest, unix.O_PATH)
			}
		}
	}
	return safepath.OpenInRoot(p.root, path, unix.O_PATH)
}

// MaskPaths hides files behind the null device and directories behind one empty
// read-only directory. Missing paths are left alone.
type MaskPaths struct {
	Paths []string
	// Null is a detached tree of the host's null device, or NoFD if OpenRoot
	// cloned one.
	Null FD
	// Label is a parameter context= for the empty directory, "" for none.
	Label string
}

func (s *MaskPaths) Name() string { return "mask paths" }
func (s *MaskPaths) op() op       { return opMaskPaths }
func (s *MaskPaths) wire(c *coder) {
	c.Strs(&s.Paths)
	wireFD(c, &s.Null)
	c.Str(&s.Label)
}

func (s *MaskPaths) do(p *process) error {
	m := masker{}
	null, err := s.null(p)
	if err != nil {
		return err
	}
	m.null.tree = null
	for _, path := range s.Paths {
		if err := m.mask(p, s, path); err != nil {
			return fail(lineOf(path), err)
		}
	}
	return nil
}

// null is the tree that hides files. A tree that is not the null device is
// refused: it may be a link's target that the container chose.
func (s *MaskPaths) null(p *process) (int, error) {
	if !guardMaskFD {
		// What engines did: whatever the container calls /dev/null.
		fd, err := unix.Open("/dev/null", unix.O_PATH|unix.O_CLOEXEC, 0)
		if err != nil {
			return -1, err
		}
		return mount.Clone(fd, false)
	}
	fd := p.rootState.null
	if s.Null != NoFD {
		var err error
		if fd, err = p.fd(s.Null); err != nil {
			return -1, err
		}
	}
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return -1, err
	}
	if st.Mode&unix.S_IFMT != unix.S_IFCHR || st.Rdev != unix.Mkdev(1, 3) {
		return -1, errors.New("the host's /dev/null is not the null device")
	}
	return fd, nil
}

// cover is a tree to attach in several places: itself first, then clones of it,
// as a tree can be cloned only where it is attached (before kernel 6.15).
type cover struct {
	tree int
	used bool
}

func (c *cover) attach(target int) error {
	if !c.used {
		c.used = true
		return mount.Attach(c.tree, target)
	}
	tree, err := mount.Clone(c.tree, false)
	if err != nil {
		return err
	}
	defer unix.Close(tree)
	return mount.Attach(tree, target)
}

type masker struct{ null, empty cover }

func (m *masker) mask(p *process, s *MaskPaths, path string) error {
	target, err := p.openHidden(path)
	if err == unix.ENOENT || err == unix.ENOTDIR {
		return nil
	}
	if err != nil {
		return err
	}
	defer unix.Close(target)
	if !isDir(target) {
		return m.null.attach(target)
	}
	if m.empty.tree == 0 {
		if m.empty.tree, err = emptyDir(s.Label); err != nil {
			return err
		}
	}
	return m.empty.attach(target)
}

// emptyDir is a file system that holds an empty directory and can hold no more.
func emptyDir(label string) (int, error) {
	params := []mount.Param{
		{Key: "ro", Flag: true}, {Key: "nr_blocks", Value: "1"}, {Key: "nr_inodes", Value: "1"}, {Key: "mode", Value: "555"},
	}
	if label != "" {
		params = append(params, mount.Param{Key: "context", Value: label})
	}
	return mount.New("tmpfs", "tmpfs", params,
		unix.MOUNT_ATTR_RDONLY|unix.MOUNT_ATTR_NOSUID|unix.MOUNT_ATTR_NODEV|unix.MOUNT_ATTR_NOEXEC)
}

// ReadonlyPath makes a path and all below it read-only; other attributes of
// its mounts stay. A missing path is left alone.
type ReadonlyPath struct{ Path string }

func (s *ReadonlyPath) Name() string  { return "make " + strconv.Quote(s.Path) + " read-only" }
func (s *ReadonlyPath) op() op        { return opReadonlyPath }
func (s *ReadonlyPath) wire(c *coder) { c.Str(&s.Path) }

func (s *ReadonlyPath) do(p *process) error {
	target, err := p.openHidden(s.Path)
	if err == unix.ENOENT || err == unix.ENOTDIR {
		return nil
	}
	if err != nil {
		return err
	}
	defer unix.Close(target)
	tree, err := mount.Clone(target, true)
	if err != nil {
		return fail("clone it", err)
	}
	defer unix.Close(tree)
	if err := mount.SetAttr(tree, mount.Attr{Set: unix.MOUNT_ATTR_RDONLY}, true); err != nil {
		return fail("set its attributes", err)
	}
	return mount.Attach(tree, target)
}
