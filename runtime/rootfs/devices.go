package rootfs

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"berth/runtime/initproc"
	"berth/runtime/plan"
	"berth/sys/mount"
)

// defaultDevices are in every container: runtime-spec config-linux.md, "Default Devices".
var defaultDevices = []initproc.Device{
	{Path: "/dev/null", Mode: unix.S_IFCHR | 0o666, Major: 1, Minor: 3, Tree: initproc.NoFD},
	{Path: "/dev/zero", Mode: unix.S_IFCHR | 0o666, Major: 1, Minor: 5, Tree: initproc.NoFD},
	{Path: "/dev/full", Mode: unix.S_IFCHR | 0o666, Major: 1, Minor: 7, Tree: initproc.NoFD},
	{Path: "/dev/random", Mode: unix.S_IFCHR | 0o666, Major: 1, Minor: 8, Tree: initproc.NoFD},
	{Path: "/dev/urandom", Mode: unix.S_IFCHR | 0o666, Major: 1, Minor: 9, Tree: initproc.NoFD},
	{Path: "/dev/tty", Mode: unix.S_IFCHR | 0o666, Major: 5, Minor: 0, Tree: initproc.NoFD},
}

// devLinks are in every container: runtime-spec runtime-linux.md, "Dev symbolic
// links". ptmx leads to the container's own terminals, whatever the image has.
var devLinks = []initproc.Link{
	{Name: "fd", Target: "/proc/self/fd"},
	{Name: "stdin", Target: "/proc/self/fd/0"},
	{Name: "stdout", Target: "/proc/self/fd/1"},
	{Name: "stderr", Target: "/proc/self/fd/2"},
	{Name: "core", Target: "/proc/kcore"},
	{Name: "ptmx", Target: "pts/ptmx", Replace: true},
}

// devices plans the nodes and links that are not in p.dev.
func (p *planner) devices() {
	if !p.setupDev || !p.ownMounts {
		return // without a mount namespace nodes would stay on the host
	}
	for i := range p.nodes {
		d := &p.nodes[i]
		isNode := d.Mode&unix.S_IFMT != unix.S_IFIFO
		switch {
		case isNode && !p.o.Rights.Mount:
			d.Host = d.Path
		case isNode && (p.userns() || !p.o.Rights.Mknod):
			n := &hostNode{device: *d}
			d.Tree = p.b.File("device "+d.Path+" of the host", n.open)
		}
		p.b.Add(d)
	}
	if p.dev == nil {
		p.b.Add(&initproc.DevLinks{Dir: "/dev", Links: devLinks})
	}
}

// deviceList joins the default devices and the spec's, which replace them.
func deviceList(p *planner) ([]initproc.Device, error) {
	if len(p.linux.Devices) > maxDevices {
		return nil, fmt.Errorf("linux.devices: more than %d", maxDevices)
	}
	list := make([]initproc.Device, 0, len(defaultDevices)+len(p.linux.Devices))
	index := map[string]int{}
	for _, d := range defaultDevices {
		index[d.Path] = len(list)
		list = append(list, d)
	}
	for i := range p.linux.Devices {
		d, err := parseDevice(fmt.Sprintf("linux.devices[%d]", i), &p.linux.Devices[i])
		if err != nil {
			return nil, err
		}
		if d.Path == "/dev/ptmx" {
			continue // a link to the container's own
		}
		if at, ok := index[d.Path]; ok {
			list[at] = d
			continue
		}
		index[d.Path] = len(list)
		list = append(list, d)
	}
	return list, nil
}

func parseDevice(field string, s *specs.LinuxDevice) (initproc.Device, error) {
	d := initproc.Device{Path: filepath.Clean(s.Path), Mode: 0o666, Tree: initproc.NoFD}
	if !filepath.IsAbs(s.Path) || d.Path == "/" || strings.IndexByte(s.Path, 0) >= 0 || len(s.Path) >= unix.PathMax {
		return d, fmt.Errorf("%s.path: %q is not the absolute path of a file", field, s.Path)
	}
	if s.FileMode != nil {
		d.Mode = uint32(*s.FileMode) & 0o7777
	}
	switch s.Type {
	case "c", "u":
		d.Mode |= unix.S_IFCHR
	case "b":
		d.Mode |= unix.S_IFBLK
	case "p":
		d.Mode |= unix.S_IFIFO
	default:
		return d, fmt.Errorf("%s.type: %q is not one of c, u, b, p", field, s.Type)
	}
	if d.Mode&unix.S_IFMT != unix.S_IFIFO {
		// dev_t of the kernel: 12 bits and 20 bits.
		if s.Major < 0 || s.Major >= 1<<12 || s.Minor < 0 || s.Minor >= 1<<20 {
			return d, fmt.Errorf("%s.major, minor: %d:%d is out of range", field, s.Major, s.Minor)
		}
		d.Major, d.Minor = uint32(s.Major), uint32(s.Minor)
	}
	if s.UID != nil {
		d.UID = *s.UID
	}
	if s.GID != nil {
		d.GID = *s.GID
	}
	return d, nil
}

// hostNode is a node of the host to bind.
type hostNode struct{ device initproc.Device }

func (n *hostNode) open(*plan.Host) (*os.File, error) {
	d := &n.device
	fd, err := unix.Open(d.Path, unix.O_PATH|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("linux.devices: open %s, which stands in for mknod: %w", oneLine(d.Path), err)
	}
	defer unix.Close(fd)
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return nil, fmt.Errorf("linux.devices: stat %s: %w", oneLine(d.Path), err)
	}
	if st.Mode&unix.S_IFMT != d.Mode&unix.S_IFMT || st.Rdev != unix.Mkdev(d.Major, d.Minor) {
		return nil, fmt.Errorf("linux.devices: the host's %s is not device %d:%d", oneLine(d.Path), d.Major, d.Minor)
	}
	clone, err := mount.Clone(fd, false)
	if err == nil {
		err = mount.SetAttr(clone, mount.Attr{Propagation: unix.MS_PRIVATE}, false)
	}
	if err != nil {
		return nil, fmt.Errorf("linux.devices: clone %s: %w", oneLine(d.Path), err)
	}
	return os.NewFile(uintptr(clone), d.Path), nil
}
