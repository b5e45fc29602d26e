package rootfs

import (
	"fmt"
	"os"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"berth/runtime/idmap"
	"berth/runtime/initproc"
	"berth/runtime/plan"
	"berth/sys/mount"
)

// Live makes the detached tree of one mount for a container that runs already: a
// bind or a tmpfs, with the attributes and the id mapping that a start gives it.
func Live(m *specs.Mount, h *plan.Host) (*os.File, error) {
	p := &planner{linux: &specs.Linux{}, o: Options{Warn: func(string, ...any) {}, Rights: Rights{Mount: true}}}
	if h.Userns != nil {
		p.ns = map[specs.LinuxNamespaceType]string{specs.UserNamespace: h.Userns.Name()}
	}
	e := &entry{field: "mount"}
	if err := p.parse(e, m); err != nil {
		return nil, err
	}
	if e.dest == "/" || e.dest == "/proc" || e.opt.Remount {
		return nil, e.fault("destination", "%q cannot get another mount while the container runs", e.dest)
	}
	switch e.fs {
	case "":
		t := &tree{field: "mount.source", path: m.Source, rec: e.opt.Rec, nofollow: e.opt.SrcNoFollow, attr: e.opt.Attr, recAttr: e.opt.RecAttr,
			props: e.opt.Propagation, ids: p.mapping(e)}
		return t.open(h)
	case "tmpfs":
		return liveTmpfs(p.step(e), h)
	}
	return nil, e.fault("type", "%q cannot be mounted while the container runs", e.fs)
}

// liveTmpfs is a tmpfs whose owner is the container's.
func liveTmpfs(s *initproc.Mount, h *plan.Host) (*os.File, error) {
	params := s.Params
	if !hasParam(params, "mode") {
		params = append(params, mount.Param{Key: "mode", Value: "1777"}) // tmpfs(5)
	}
	if h.Userns != nil {
		maps, err := idmap.Read(h.PID)
		if err != nil {
			return nil, err
		}
		if params, err = mappedOwner(params, maps); err != nil {
			return nil, fmt.Errorf("mount.options: %w", err)
		}
	}
	fd, err := mount.New("tmpfs", s.Source, params, s.Attr.Set)
	if err != nil {
		return nil, fmt.Errorf("make a tmpfs for %s: %w", oneLine(s.Dest), err)
	}
	f := os.NewFile(uintptr(fd), s.Dest)
	if err := mount.SetAttr(fd, mount.Attr{Propagation: unix.MS_PRIVATE}, false); err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// Node is a device for a container that runs already.
type Node struct{ initproc.Device }

// LiveDevice checks a device. Errors name the field.
func LiveDevice(d *specs.LinuxDevice) (*Node, error) {
	device, err := parseDevice("device", d)
	if err == nil && device.Mode&unix.S_IFMT == unix.S_IFIFO {
		err = fmt.Errorf("device.type: %q is no device's", d.Type)
	}
	return &Node{device}, err
}

// Tree is the host's node of that path, which stands in for one that cannot be made.
func (n *Node) Tree() (*os.File, error) { return (&hostNode{n.Device}).open(nil) }
