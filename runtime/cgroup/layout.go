package cgroup

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// Mode is how the machine mounts its control groups.
type Mode int

const (
	V1     Mode = iota + 1 // v1 hierarchies only
	Hybrid                 // v1 hierarchies and a unified one beside them
	V2                     // the unified hierarchy only
)

// String returns "v1", "hybrid" or "v2", the words of State.Mode.
func (m Mode) String() string {
	switch m {
	case V1:
		return "v1"
	case Hybrid:
		return "hybrid"
	case V2:
		return "v2"
	}
	return "none"
}

const (
	standardMount = "/sys/fs/cgroup"
	// fileCap bounds every file read here. mountinfo of a host with 10,000
	// containers stays below it; cgroup files are far smaller.
	fileCap = 16 << 20
)

// hierarchy is one mounted cgroup tree.
type hierarchy struct {
	// label names it in plans, errors and State: "memory", "cpu,cpuacct",
	// "name=systemd", "unified".
	label       string
	controllers []string // v1 only; a named hierarchy holds its "name=…"
	mount       string   // where it is mounted
	root        string   // the cgroup that is mounted there, "/" or unknown ""
	fd          int      // O_PATH of mount, -1 while not opened
}

// v2Label is the label of the unified hierarchy.
const v2Label = "unified"

// Layout is what Detect found. It holds one O_PATH descriptor for each
// hierarchy; Close gives them back. It is read-only after Detect but for two
// lazily read facts, therefore not safe for concurrent use.
type Layout struct {
	Mode Mode
	v1   []hierarchy
	v2   *hierarchy

	own     map[string]string // lazily: label of v1 controller or "" → own cgroup
	v2ctrls []string          // lazily: cgroup.controllers of the v2 mount
	v2known bool
}

// known holds every controller that a v1 hierarchy may carry.
var known = []string{
	"cpu", "cpuacct", "cpuset", "memory", "devices", "freezer", "blkio", "pids", "net_cls", "net_prio", "perf_event", "hugetlb",
	"rdma", "misc", "dmem", "debug",
}

// namedDirs are directories below /sys/fs/cgroup that hold a named hierarchy.
var namedDirs = []string{"systemd", "elogind", "openrc"}

// errUnusual sends Detect to /proc/self/mountinfo.
var errUnusual = errors.New("not the usual layout")

// Detect finds the mounted hierarchies. The usual layout (/sys/fs/cgroup being
// cgroup2, or a tmpfs with one directory for each hierarchy) costs a directory
// listing and one statfs(2) each, whatever the number of mounts; anything else
// is read from /proc/self/mountinfo. Errors: no cgroup file system is mounted.
func Detect() (*Layout, error) {
	l, err := detectDir(standardMount)
	if err == nil {
		return l, nil
	}
	text, rerr := readCapped("/proc/self/mountinfo")
	if rerr != nil {
		return nil, fmt.Errorf("find control groups: %w", rerr)
	}
	l, err = Parse(text, nil)
	if err != nil {
		return nil, err
	}
	if err := l.open(); err != nil {
		l.Close()
		return nil, err
	}
	return l, nil
}

// detectDir reads the usual layout below dir.
func detectDir(dir string) (*Layout, error) {
	fd, err := openat(unix.AT_FDCWD, dir, unix.O_RDONLY|unix.O_DIRECTORY)
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", dir, err)
	}
	magic, err := fsMagic(fd)
	if err != nil {
		unix.Close(fd)
		return nil, fmt.Errorf("statfs %s: %w", dir, err)
	}
	if magic == unix.CGROUP2_SUPER_MAGIC {
		return &Layout{Mode: V2, v2: &hierarchy{label: v2Label, mount: dir, fd: fd}}, nil
	}
	defer unix.Close(fd)
	names, err := dirNames(fd, 256)
	if err != nil {
		return nil, fmt.Errorf("list %s: %w", dir, err)
	}
	l := &Layout{}
	for _, name := range names {
		if err := l.addDir(fd, dir, name); err != nil {
			l.Close()
			return nil, err
		}
	}
	if err := l.settle(); err != nil {
		l.Close()
		return nil, err
	}
	return l, nil
}

// addDir opens dir/name and, if a hierarchy is mounted there, adds it.
func (l *Layout) addDir(parent int, dir, name string) error {
	fd, err := openat(parent, name, unix.O_PATH|unix.O_DIRECTORY|unix.O_NOFOLLOW)
	switch {
	case errors.Is(err, unix.ENOTDIR), errors.Is(err, unix.ELOOP), errors.Is(err, unix.ENOENT), errors.Is(err, unix.EACCES):
		return nil // a file, a link to "cpu,cpuacct", or not ours to enter
	case err != nil:
		// Without it a hierarchy would be left out, and its limits with it.
		return fmt.Errorf("open %s/%s: %w", dir, name, err)
	}
	magic, err := fsMagic(fd)
	if err != nil || (magic != unix.CGROUP_SUPER_MAGIC && magic != unix.CGROUP2_SUPER_MAGIC) {
		unix.Close(fd)
		return err
	}
	h := hierarchy{label: name, mount: dir + "/" + name, fd: fd}
	if magic == unix.CGROUP2_SUPER_MAGIC {
		h.label = v2Label
		return l.add(h)
	}
	if slices.Contains(namedDirs, name) {
		h.label = "name=" + name
		h.controllers = []string{h.label}
		return l.add(h)
	}
	h.controllers = strings.Split(name, ",")
	for _, c := range h.controllers {
		if !slices.Contains(known, c) {
			unix.Close(fd)
			return errUnusual // the name does not tell what is mounted
		}
	}
	return l.add(h)
}

// add takes h unless all it carries is already there (a second mount).
func (l *Layout) add(h hierarchy) error {
	if h.label == v2Label {
		if l.v2 != nil {
			h.close()
			return nil
		}
		l.v2 = &h
		return nil
	}
	for _, c := range h.controllers {
		if l.find(c) == nil {
			l.v1 = append(l.v1, h)
			return nil
		}
	}
	h.close()
	return nil
}

// settle decides the mode.
func (l *Layout) settle() error {
	switch {
	case len(l.v1) == 0 && l.v2 == nil:
		return fmt.Errorf("find control groups: no cgroup file system is mounted below %s", standardMount)
	case len(l.v1) == 0:
		l.Mode = V2
	case l.v2 == nil:
		l.Mode = V1
	default:
		l.Mode = Hybrid
	}
	return nil
}

// find returns the v1 hierarchy that carries the controller, or nil.
func (l *Layout) find(controller string) *hierarchy {
	for i := range l.v1 {
		for _, c := range l.v1[i].controllers {
			if c == controller {
				return &l.v1[i]
			}
		}
	}
	return nil
}

// Controllers returns the controllers that can be limited here, v1 and v2
// together, named hierarchies left out. For `features` and `info`.
func (l *Layout) Controllers() []string {
	var out []string
	for i := range l.v1 {
		for _, c := range l.v1[i].controllers {
			if !strings.HasPrefix(c, "name=") {
				out = append(out, c)
			}
		}
	}
	return append(out, l.unified()...)
}

// unified returns the controllers of the v2 mount's root, read once.
func (l *Layout) unified() []string {
	if l.v2 == nil || l.v2known {
		return l.v2ctrls
	}
	l.v2known = true
	if b, err := l.v2.read("", "cgroup.controllers", 4096); err == nil {
		l.v2ctrls = strings.Fields(string(b))
	}
	return l.v2ctrls
}

// ownPath returns the caller's own cgroup in h as a path below its mount.
// Errors: the caller's cgroup lies outside of what is mounted.
func (l *Layout) ownPath(h *hierarchy) (string, error) {
	if l.own == nil {
		text, err := readCapped("/proc/self/cgroup")
		if err != nil {
			return "", err
		}
		if l.own, err = parseProcCgroup(text); err != nil {
			return "", err
		}
	}
	key := ""
	if h != l.v2 {
		key = h.controllers[0]
	}
	p, ok := l.own[key]
	if !ok || strings.HasPrefix(p, "/..") {
		return "", fmt.Errorf("own cgroup in %s is not below %s", h.label, h.mount)
	}
	if h.root != "" && h.root != "/" {
		if p != h.root && !strings.HasPrefix(p, h.root+"/") {
			return "", fmt.Errorf("own cgroup %s in %s is not below %s", p, h.label, h.mount)
		}
		p = p[len(h.root):]
	}
	return strings.Trim(p, "/"), nil
}

// open opens what Parse only named.
func (l *Layout) open() error {
	for i := range l.v1 {
		if err := l.v1[i].open(unix.CGROUP_SUPER_MAGIC); err != nil {
			return err
		}
	}
	if l.v2 != nil {
		return l.v2.open(unix.CGROUP2_SUPER_MAGIC)
	}
	return nil
}

func (h *hierarchy) open(magic int64) error {
	if h.fd >= 0 {
		return nil
	}
	fd, err := openat(unix.AT_FDCWD, h.mount, unix.O_PATH|unix.O_DIRECTORY)
	if err != nil {
		return fmt.Errorf("open %s: %w", h.mount, err)
	}
	if m, err := fsMagic(fd); err != nil || m != magic {
		unix.Close(fd)
		return fmt.Errorf("open %s: not the cgroup file system that mountinfo names there", h.mount)
	}
	h.fd = fd
	return nil
}

func (h *hierarchy) close() {
	if h.fd >= 0 {
		unix.Close(h.fd)
		h.fd = -1
	}
}

// Close gives the descriptors back. A Cgroup made from l must not be used
// afterwards.
func (l *Layout) Close() error {
	for i := range l.v1 {
		l.v1[i].close()
	}
	if l.v2 != nil {
		l.v2.close()
	}
	return nil
}

func fsMagic(fd int) (int64, error) {
	var st unix.Statfs_t
	for {
		err := unix.Fstatfs(fd, &st)
		if err != unix.EINTR {
			return int64(st.Type), err
		}
	}
}

// readCapped reads a proc file of at most fileCap bytes.
func readCapped(name string) ([]byte, error) {
	fd, err := openat(unix.AT_FDCWD, name, unix.O_RDONLY)
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", name, err)
	}
	defer unix.Close(fd)
	b, err := readFD(fd, fileCap)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", name, err)
	}
	return bytes.TrimRight(b, "\n"), nil
}
