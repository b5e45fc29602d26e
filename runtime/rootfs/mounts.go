package rootfs

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"berth/runtime/idmap"
	"berth/runtime/initproc"
	"berth/runtime/plan"
	"berth/sys/mount"
)

// Limits of what one spec may ask for.
const (
	maxMounts  = 10_000
	maxDevices = 10_000
	maxPaths   = 10_000
)

// entry is one element of mounts, parsed.
type entry struct {
	field string // "mounts[3]"
	spec  *specs.Mount
	dest  string // absolute and clean
	fs    string // type, "" for a bind
	opt   *mount.Options
}

// fault names the field of an entry that is wrong.
func (e *entry) fault(field, format string, args ...any) error {
	return fmt.Errorf("%s.%s: %w", e.field, field, fmt.Errorf(format, args...))
}

func (p *planner) openRoot() error {
	s := &initproc.OpenRoot{Path: p.root, Tree: initproc.NoFD, Mounts: p.ownMounts}
	if p.o.Overlay != nil {
		name, open, err := p.overlay()
		if err != nil {
			return err
		}
		s.Tree = p.b.File(name, open)
	} else if p.ownMounts {
		base := p.base()
		if base.Type == 0 {
			// Mounts of the container would appear on the host.
			base.Type = unix.MS_SLAVE
		}
		if p.o.Rights.Mount {
			t := &tree{field: "root.path", path: p.root, rec: true, dir: true, recAttr: mount.Attr{Propagation: base.Type}}
			s.Tree = p.b.File(t.String(), t.open)
		} else {
			s.Propagation = base.Type
			if len(p.linux.MaskedPaths) > 0 {
				s.Null = "/dev/null"
			}
		}
	} else if len(p.spec.Mounts) > 0 {
		// Only the container sees what is mounted in a detached tree, and it
		// goes with the last process.
		t := &tree{field: "root.path", path: p.root, rec: true, dir: true, recAttr: mount.Attr{Propagation: unix.MS_PRIVATE}}
		s.Tree = p.b.File(t.String(), t.open)
	}
	p.b.Add(s)
	return nil
}

// base is the propagation that every tree of the host gets before its own
// options: what the tree would have had in a mount namespace whose "/" was
// changed as rootfsPropagation says. It reaches all mounts below, also for the
// words without r. With shared, trees stay with their peers on the host, so
// that a volume can be shared.
func (p *planner) base() mount.Propagation {
	switch p.rootPropagation.Type {
	case unix.MS_SHARED:
		return mount.Propagation{}
	case unix.MS_PRIVATE:
		return mount.Propagation{Type: unix.MS_PRIVATE, Rec: true}
	}
	return mount.Propagation{Type: unix.MS_SLAVE, Rec: true}
}

func (p *planner) mounts() error {
	if len(p.spec.Mounts) > maxMounts {
		return fmt.Errorf("mounts: more than %d", maxMounts)
	}
	entries := make([]entry, len(p.spec.Mounts))
	for i := range p.spec.Mounts {
		entries[i].field = fmt.Sprintf("mounts[%d]", i)
		if err := p.parse(&entries[i], &p.spec.Mounts[i]); err != nil {
			return err
		}
	}
	if len(entries) > 0 && !p.ownMounts && (p.userns() || !p.o.Rights.Mount) {
		return errors.New("mounts: need a mount namespace")
	}
	if err := p.settleDev(entries); err != nil {
		return err
	}
	for i := range entries {
		if err := p.mount(&entries[i]); err != nil {
			return err
		}
	}
	return nil
}

func (p *planner) parse(e *entry, m *specs.Mount) (err error) {
	e.spec = m
	if m.Destination == "" {
		return e.fault("destination", "missing")
	}
	if strings.IndexByte(m.Destination, 0) >= 0 || strings.IndexByte(m.Source, 0) >= 0 {
		return e.fault("destination", "zero byte in a path")
	}
	if !filepath.IsAbs(m.Destination) {
		p.o.Warn("%s.destination: %q is not absolute, taken as %q", e.field, m.Destination, "/"+m.Destination)
	}
	e.dest = filepath.Clean("/" + m.Destination)
	if len(e.dest) >= unix.PathMax {
		return e.fault("destination", "longer than %d bytes", unix.PathMax-1)
	}
	if e.opt, err = mount.Parse(m.Options); err != nil {
		return e.fault("options", "%w", err)
	}
	e.fs = m.Type
	if e.opt.Bind || m.Type == "bind" || m.Type == "rbind" {
		e.fs = ""
		e.opt.Rec = e.opt.Rec || m.Type == "rbind"
	} else if !e.opt.Remount && (m.Type == "" || m.Type == "none") {
		return e.fault("type", "missing")
	}
	if !initproc.MayCover(e.dest, e.fs) {
		if e.dest == "/proc" {
			return e.fault("destination", "%q may only get a file system of type proc", e.dest)
		}
		return e.fault("destination", "%q is inside procfs and may not be covered", e.dest)
	}
	return p.checkIDMap(e)
}

func (p *planner) checkIDMap(e *entry) error {
	m := e.spec
	if (len(m.UIDMappings) == 0) != (len(m.GIDMappings) == 0) {
		return e.fault("uidMappings", "uidMappings and gidMappings go together")
	}
	if len(m.UIDMappings) == 0 && !e.opt.IDMap {
		return nil
	}
	for field, list := range map[string][]specs.LinuxIDMapping{"uidMappings": m.UIDMappings, "gidMappings": m.GIDMappings} {
		if err := idmap.Check(e.field+"."+field, list); err != nil {
			return err
		}
	}
	switch {
	case e.fs != "":
		return e.fault("options", "only bind mounts can be id-mapped")
	case !p.o.Rights.Mount:
		return e.fault("options", "id-mapped mounts need root's rights over the file system")
	case len(m.UIDMappings) == 0 && len(e.opt.UIDs) == 0 && !p.userns():
		return e.fault("options", "idmap needs uidMappings and gidMappings, or a user namespace")
	}
	return nil
}

// mount plans one entry.
func (p *planner) mount(e *entry) error {
	switch {
	case e.opt.Remount:
		p.b.Add(p.step(e))
		return nil
	case e.fs == "":
		return p.bind(e)
	case e.fs == "cgroup" || e.fs == "cgroup2":
		return p.cgroup(e)
	case p.dev != nil && p.dev.entry == e:
		p.b.Add(p.dev.step(p))
		return nil
	}
	if o := layersOf(p.o.Overlay, e); o != nil {
		name, open, err := p.layers(e.field, o)
		if err != nil {
			return err
		}
		p.b.Add(&initproc.Mount{Dest: e.dest, Source: "overlay", Tree: p.b.File(name, open)})
		return nil
	}
	s := p.step(e)
	switch e.fs {
	case "proc":
		if p.confined() && !p.fresh(specs.PIDNamespace) {
			s.Else = "/proc"
		}
	case "sysfs":
		if p.confined() && !p.fresh(specs.NetworkNamespace) {
			s.Else = "/sys"
		}
	case "mqueue":
		if p.confined() && !p.fresh(specs.IPCNamespace) {
			s.Else = "/dev/mqueue"
		}
	case "devpts":
		if p.confined() {
			s.Flags |= initproc.MountDropGID
		}
	case "tmpfs":
		if !hasParam(s.Params, "mode") {
			s.Flags |= initproc.MountTargetMode
		}
		if e.opt.CopyUp {
			s.Flags |= initproc.MountCopyUp
		}
	}
	p.b.Add(s)
	return nil
}

// step is the plain step of an entry.
func (p *planner) step(e *entry) *initproc.Mount {
	s := &initproc.Mount{
		Dest: e.dest, FS: e.fs, Source: e.spec.Source, Tree: initproc.NoFD,
		Attr: e.opt.Attr, RecAttr: e.opt.RecAttr, Propagation: e.opt.Propagation,
	}
	s.Params = append(append(s.Params, e.opt.Flags...), e.opt.Data...)
	if e.opt.Remount {
		s.Flags |= initproc.MountRemount
	}
	if e.opt.DestNoFollow {
		s.Flags |= initproc.MountNoFollow
	}
	if e.fs == "" || e.opt.Remount {
		return s
	}
	// What holds for a new mount cannot need clearing.
	s.Attr.Clear = 0
	if e.opt.Attr.Set&unix.MOUNT_ATTR_RDONLY != 0 && !virtual(e.fs) {
		s.Params = append(s.Params, mount.Param{Key: "ro", Flag: true})
	}
	if !unlabelled(e.fs) {
		s.Params = labelled(s.Params, p.linux.MountLabel)
	}
	return s
}

// virtual file systems are read-only by mount, not as a whole: some of their
// instances are shared with others.
func virtual(fs string) bool {
	switch fs {
	case "proc", "sysfs", "tmpfs", "devpts", "mqueue", "cgroup", "cgroup2",
		"bpf", "debugfs", "tracefs", "securityfs", "hugetlbfs", "fusectl", "devtmpfs":
		return true
	}
	return false
}

// unlabelled file systems do not take a context= of the container's.
func unlabelled(fs string) bool {
	switch fs {
	case "proc", "sysfs", "mqueue", "cgroup", "cgroup2":
		return true
	}
	return false
}

// labelled gives a new mount the label of the container's files, "" for none.
func labelled(params []mount.Param, label string) []mount.Param {
	if label == "" || hasParam(params, "context") {
		return params
	}
	return append(params, mount.Param{Key: "context", Value: label})
}

func hasParam(params []mount.Param, key string) bool {
	for i := range params {
		if params[i].Key == key {
			return true
		}
	}
	return false
}

// bind plans a bind mount. The host's side is opened by whoever can reach it.
func (p *planner) bind(e *entry) error {
	if e.spec.Source == "" {
		return e.fault("source", "missing")
	}
	if len(e.opt.Data) > 0 {
		// Ignored, as mount(2) does.
		p.o.Warn("%s.options: a bind mount has no file system options such as %q", e.field, e.opt.Data[0].String())
	}
	if tree := p.o.Trees[e.spec.Source]; tree != nil {
		p.b.Add(&initproc.Mount{Dest: e.dest, Source: e.spec.Source, Tree: p.b.File("tree of "+e.spec.Source, plan.Copy(tree))})
		return nil
	}
	source := p.hostPath(e.spec.Source)
	props := p.propagation(e.opt.Propagation)
	if !p.o.Rights.Mount || p.inOrder(e) {
		s := p.step(e)
		s.Source, s.Params, s.Propagation = source, nil, props
		s.Flags |= flagIf(e.opt.Rec, initproc.MountRec) | flagIf(e.opt.SrcNoFollow, initproc.MountSrcNoFollow) |
			flagIf(e.opt.CopySymlink, initproc.MountLink)
		p.b.Add(s)
		return nil
	}
	t := &tree{
		field: e.field + ".source", path: source, rec: e.opt.Rec, nofollow: e.opt.SrcNoFollow, link: e.opt.CopySymlink,
		attr: e.opt.Attr, recAttr: e.opt.RecAttr, props: props, ids: p.mapping(e),
	}
	p.b.Add(&initproc.Mount{
		Dest: e.dest, Source: source, Tree: p.b.File(t.String(), t.open),
		Flags: flagIf(e.opt.DestNoFollow, initproc.MountNoFollow) | flagIf(e.opt.CopySymlink, initproc.MountLink),
	})
	return nil
}

// inOrder reports whether the first process makes a bind itself although the
// parent could: its mounts are then made, and listed in mountinfo since Linux
// 6.8, in the order of the spec. It must have the parent's rights and see what
// the parent sees: not so in procfs, around the container's root, which is
// attached by then, and where a tree is to stay with its peers on the host.
func (p *planner) inOrder(e *entry) bool {
	if !p.fresh(specs.MountNamespace) || p.userns() || p.base().Type == 0 || p.mapping(e) != nil {
		return false
	}
	source := p.hostPath(e.spec.Source)
	return !below(source, "/proc") && !below(source, p.root) && !below(p.root, source)
}

// below reports whether a clean path is dir or below it.
func below(path, dir string) bool {
	return path == dir || dir == "/" || strings.HasPrefix(path, dir+"/")
}

func flagIf(on bool, flag int) int {
	if on {
		return flag
	}
	return 0
}

// propagation puts the base before an entry's own changes unless those undo it.
func (p *planner) propagation(own []mount.Propagation) []mount.Propagation {
	base := p.base()
	if base.Type == 0 || len(own) > 0 && own[0].Rec && own[0].Type != unix.MS_SHARED {
		return own
	}
	return append([]mount.Propagation{base}, own...)
}
