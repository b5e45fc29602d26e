package rootfs

import (
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"berth/runtime/idmap"
	"berth/runtime/initproc"
	"berth/runtime/plan"
	"berth/sys/mount"
)

// settleDev decides who makes /dev: a tmpfs planned for it is made, complete
// with nodes and links, by a parent that may make nodes. It is then a file
// system of the host's user namespace, on which nodes can be opened.
func (p *planner) settleDev(entries []entry) (err error) {
	if p.nodes, err = deviceList(p); err != nil {
		return err
	}
	p.setupDev = true
	for i := range entries {
		e := &entries[i]
		switch {
		case e.dest != "/dev" || e.opt.Remount:
		case e.fs == "":
			// The host's /dev, or one that somebody prepared: it stays as it is.
			p.setupDev, p.dev = false, nil
			return nil
		case e.fs == "tmpfs" && p.o.Rights.Mount && p.o.Rights.Mknod && !e.opt.CopyUp && !e.opt.DestNoFollow &&
			hasParam(e.opt.Data, "mode") && !mount.TooLong(e.opt.Data):
			p.dev = &devTree{entry: e}
		default:
			p.dev = nil // the last one counts
		}
	}
	if p.dev == nil {
		return nil
	}
	// What is mounted below /dev covers its own part of it.
	for i := range entries {
		e := &entries[i]
		name, ok := strings.CutPrefix(e.dest, "/dev/")
		if !ok {
			continue
		}
		p.dev.covered = append(p.dev.covered, e.dest)
		if e.fs != "" && !strings.Contains(name, "/") {
			p.dev.dirs = append(p.dev.dirs, name)
		}
	}
	p.dev.maps = &idmap.Maps{}
	if p.fresh(specs.UserNamespace) {
		p.dev.maps.UID, p.dev.maps.GID = p.linux.UIDMappings, p.linux.GIDMappings
	}
	p.dev.userns = p.userns()
	p.nodes = slices.DeleteFunc(p.nodes, p.dev.take)
	return nil
}

// devTree is a /dev made by the parent.
type devTree struct {
	entry   *entry
	covered []string // destinations of mounts below it
	dirs    []string // names of those that are directories
	nodes   []initproc.Device
	params  []mount.Param
	userns  bool
	maps    *idmap.Maps // of the container; read from the process if empty
}

// take adds a device that belongs on this tree.
func (t *devTree) take(d initproc.Device) bool {
	if !strings.HasPrefix(d.Path, "/dev/") {
		return false
	}
	for _, c := range t.covered {
		if d.Path == c || strings.HasPrefix(d.Path, c+"/") {
			return false
		}
	}
	t.nodes = append(t.nodes, d)
	return true
}

// step is the attachment of the tree.
func (t *devTree) step(p *planner) *initproc.Mount {
	s := p.step(t.entry)
	t.params = s.Params
	name := "tmpfs for /dev, " + t.entry.opt.Attr.String() + ", with links and nodes"
	for i := range t.nodes {
		name += " " + strings.TrimPrefix(t.nodes[i].Path, "/dev/")
	}
	return &initproc.Mount{Dest: "/dev", FS: "tmpfs", Source: s.Source, Tree: p.b.File(name, t.open), Flags: initproc.MountRenew}
}

func (t *devTree) fail(err error) error {
	return fmt.Errorf("%s: make tmpfs for /dev: %w", t.entry.field, err)
}

// open makes the file system.
func (t *devTree) open(h *plan.Host) (_ *os.File, err error) {
	if t.userns && len(t.maps.UID) == 0 {
		if t.maps, err = idmap.Read(h.PID); err != nil {
			return nil, t.fail(err)
		}
	}
	params, err := t.mapped()
	if err != nil {
		return nil, t.fail(err)
	}
	o := t.entry.opt
	fd, err := mount.New("tmpfs", t.entry.spec.Source, params, o.Attr.Set&^unix.MOUNT_ATTR_RDONLY)
	if err != nil {
		return nil, t.fail(err)
	}
	f := os.NewFile(uintptr(fd), "/dev")
	if err := t.fill(fd); err != nil {
		f.Close()
		return nil, t.fail(err)
	}
	late := tree{field: t.entry.field, path: "/dev", recAttr: o.RecAttr, props: o.Propagation}
	late.attr.Set = o.Attr.Set & unix.MOUNT_ATTR_RDONLY
	if err := late.prepare(fd, h); err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// id translates an id of the container for the host's user namespace.
func (t *devTree) id(list []specs.LinuxIDMapping, id uint32) (int, error) {
	if !t.userns {
		return int(id), nil
	}
	host, err := hostID(list, id)
	return int(host), err
}

func hostID(list []specs.LinuxIDMapping, id uint32) (uint32, error) {
	host, ok := idmap.Host(list, id)
	if !ok {
		return 0, fmt.Errorf("id %d is not mapped in the container's user namespace", id)
	}
	return host, nil
}

// mapped is the parameters with ids of the host.
func (t *devTree) mapped() ([]mount.Param, error) {
	if !t.userns {
		return t.params, nil
	}
	return mappedOwner(t.params, t.maps)
}

// mappedOwner translates the owner that a tmpfs is to have, the container's root if
// it says nothing, to ids of the host.
func mappedOwner(from []mount.Param, maps *idmap.Maps) ([]mount.Param, error) {
	ids := map[string]uint64{"uid": 0, "gid": 0}
	var params []mount.Param
	for _, p := range from {
		if _, ok := ids[p.Key]; !ok {
			params = append(params, p)
			continue
		}
		v, err := strconv.ParseUint(p.Value, 10, 32)
		if err != nil {
			return nil, fmt.Errorf("option %s: not a number", p.String())
		}
		ids[p.Key] = v
	}
	for _, k := range []struct {
		key  string
		list []specs.LinuxIDMapping
	}{{"uid", maps.UID}, {"gid", maps.GID}} {
		id, err := hostID(k.list, uint32(ids[k.key]))
		if err != nil {
			return nil, err
		}
		params = append(params, mount.Param{Key: k.key, Value: strconv.FormatUint(uint64(id), 10)})
	}
	return params, nil
}

// fill makes nodes and links. Nobody else can reach the file system yet.
func (t *devTree) fill(fd int) error {
	for i := range t.nodes {
		if err := t.node(fd, &t.nodes[i]); err != nil {
			return fmt.Errorf("%s: %w", oneLine(t.nodes[i].Path), err)
		}
	}
	for _, name := range t.dirs {
		if err := t.mkdir(fd, name); err != nil {
			return fmt.Errorf("make directory %s: %w", oneLine(name), err)
		}
	}
	for _, l := range devLinks {
		err := unix.Symlinkat(l.Target, fd, l.Name)
		if err == unix.EEXIST {
			continue // a device of that name was asked for
		}
		if err == nil && t.userns {
			err = t.own(fd, l.Name, 0, 0)
		}
		if err != nil {
			return fmt.Errorf("link %s: %w", l.Name, err)
		}
	}
	return nil
}

func (t *devTree) own(dir int, name string, uid, gid uint32) error {
	u, err := t.id(t.maps.UID, uid)
	if err != nil {
		return err
	}
	g, err := t.id(t.maps.GID, gid)
	if err != nil {
		return err
	}
	return unix.Fchownat(dir, name, u, g, unix.AT_SYMLINK_NOFOLLOW)
}

func (t *devTree) mkdir(fd int, name string) error {
	err := unix.Mkdirat(fd, name, 0o755)
	if err == nil {
		err = unix.Fchmodat(fd, name, 0o755, 0) // whatever the umask took
	}
	if err == nil && t.userns {
		err = t.own(fd, name, 0, 0)
	}
	if err == unix.EEXIST {
		return nil
	}
	return err
}

func (t *devTree) node(fd int, d *initproc.Device) error {
	name := strings.TrimPrefix(d.Path, "/dev/")
	for i, c := range name {
		if c != '/' {
			continue
		}
		if err := t.mkdir(fd, name[:i]); err != nil {
			return err
		}
	}
	if err := unix.Mknodat(fd, name, d.Mode, int(unix.Mkdev(d.Major, d.Minor))); err != nil {
		return os.NewSyscallError("mknod", err)
	}
	if t.userns || d.UID != 0 || d.GID != 0 {
		if err := t.own(fd, name, d.UID, d.GID); err != nil {
			return err
		}
	}
	// The caller's umask took bits away. The name is a node made just now.
	return unix.Fchmodat(fd, name, d.Mode&0o7777, 0)
}
