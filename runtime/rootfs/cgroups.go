package rootfs

import (
	"path"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"berth/runtime/initproc"
	"berth/sys/mount"
)

// cgroup plans a mount of type cgroup or cgroup2.
func (p *planner) cgroup(e *entry) error {
	if p.o.Cgroup.Unified || e.fs == "cgroup2" {
		p.cgroup2(e)
		return nil
	}
	if len(p.o.Cgroup.V1) == 0 {
		return e.fault("type", "no cgroup hierarchy is mounted on the host")
	}
	p.cgroup1(e)
	return nil
}

// cgroup2 shows the unified hierarchy, from the container's cgroup on if it has
// a cgroup namespace. Where the kernel refuses a new mount (the user namespace
// does not own the cgroup namespace), a bind of the container's cgroup stands in.
func (p *planner) cgroup2(e *entry) {
	s := p.step(e)
	s.FS = "cgroup2"
	s.Params = nil
	for _, param := range e.opt.Data {
		// Names of v1 controllers mean nothing here.
		if strings.HasPrefix(param.Key, "memory_") || param.Key == "nsdelegate" || param.Key == "favordynmods" {
			s.Params = append(s.Params, param)
		}
	}
	s.Else = p.o.Cgroup.Path
	s.Flags |= initproc.MountNearest
	p.b.Add(s)
}

// cgroupAttr is what every mount of the v1 tree gets.
const cgroupAttr = unix.MOUNT_ATTR_NOSUID | unix.MOUNT_ATTR_NODEV | unix.MOUNT_ATTR_NOEXEC

// cgroup1 shows the v1 hierarchies as directories of a tmpfs, with links for
// controllers that share one.
func (p *planner) cgroup1(e *entry) {
	attr := mount.Attr{Set: e.opt.Attr.Set | cgroupAttr}
	tmpfs := mount.Attr{Set: attr.Set &^ unix.MOUNT_ATTR_RDONLY}
	p.b.Add(&initproc.Mount{
		Dest: e.dest, FS: "tmpfs", Source: "tmpfs", Tree: initproc.NoFD, Attr: tmpfs,
		Params: []mount.Param{{Key: "mode", Value: "755"}}, Propagation: e.opt.Propagation,
	})
	var links []initproc.Link
	for _, h := range p.o.Cgroup.V1 {
		p.b.Add(p.hierarchy(e, &h, attr))
		if strings.Contains(h.Name, ",") {
			for name := range strings.SplitSeq(h.Name, ",") {
				links = append(links, initproc.Link{Name: name, Target: h.Name})
			}
		}
	}
	if len(links) > 0 {
		p.b.Add(&initproc.DevLinks{Dir: e.dest, Links: links})
	}
	if attr.Set&unix.MOUNT_ATTR_RDONLY != 0 || !e.opt.RecAttr.Empty() {
		p.b.Add(&initproc.Mount{
			Dest: e.dest, Tree: initproc.NoFD, Flags: initproc.MountRemount,
			Attr: mount.Attr{Set: attr.Set & unix.MOUNT_ATTR_RDONLY}, RecAttr: e.opt.RecAttr,
		})
	}
}

// hierarchy shows one of them: with a cgroup namespace as a mount of its own,
// which starts at the container's cgroup; else by a bind of that directory, or,
// if an ordinary user could not make it, of the nearest one above.
func (p *planner) hierarchy(e *entry, h *Hierarchy, attr mount.Attr) *initproc.Mount {
	dest := path.Join(e.dest, h.Name)
	if _, ok := p.ns[specs.CgroupNamespace]; ok {
		s := &initproc.Mount{Dest: dest, FS: "cgroup", Source: "cgroup", Tree: initproc.NoFD, Attr: attr, Propagation: e.opt.Propagation}
		for word := range strings.SplitSeq(h.Data, ",") {
			key, value, ok := strings.Cut(word, "=")
			s.Params = append(s.Params, mount.Param{Key: key, Value: value, Flag: !ok})
		}
		s.Else = h.Path
		s.Flags |= initproc.MountNearest
		return s
	}
	if !p.o.Rights.Mount {
		return &initproc.Mount{
			Dest: dest, Source: h.Path, Tree: initproc.NoFD, Attr: attr, Propagation: p.propagation(e.opt.Propagation),
			Flags: initproc.MountRec | initproc.MountNearest,
		}
	}
	t := &tree{field: e.field, path: h.Path, rec: true, nearest: true, attr: attr, props: p.propagation(e.opt.Propagation)}
	return &initproc.Mount{Dest: dest, Source: h.Path, Tree: p.b.File(t.String(), t.open)}
}
