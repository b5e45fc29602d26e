package rootfs

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"berth/base/fault"
	"berth/runtime/idmap"
	"berth/runtime/plan"
	"berth/sys/mount"
	"berth/sys/thread"
)

// Overlay is a container's root made of a store's layers.
//
// In a private user namespace the store is id-mapped once and lies over its own
// path in the container's mount namespace, so that the layers' paths are the
// real ones and belong to the container's ids (docs/decisions/0008).
type Overlay struct {
	// Store is the folder, on one file system, that all layers lie in. It is
	// absolute and clean, as all paths here are.
	Store string
	// Lower are the layers, the topmost first. There may be none with an Upper.
	Lower []string
	// Upper and Work take what the container writes; "" for a read-only root.
	Upper, Work string
	// Options are further ones of overlay: "index=off", "volatile".
	Options []string
	// Owned layers belong to the container's ids on disk: nothing is id-mapped.
	Owned bool
	// Sub is a path inside that is mounted instead of the whole, "" for none; links
	// that lead out of it are refused.
	Sub string
}

// maxLayers is how many layers overlay takes (OVL_MAX_STACK of the kernel).
const maxLayers = 500

// check refuses paths that could be others than they say, and what overlay
// cannot mount. Errors have kind Invalid.
func (o *Overlay) check() error {
	if (o.Upper == "") != (o.Work == "") || len(o.Lower) == 0 && o.Upper == "" || len(o.Lower) > maxLayers {
		return fault.New(fault.Invalid, "overlay root: %d layers, upper folder %q with work folder %q", len(o.Lower), o.Upper, o.Work)
	}
	if o.Sub != "" && !filepath.IsLocal(o.Sub) {
		return fault.New(fault.Invalid, "overlay root: %q is no path inside it", o.Sub)
	}
	for _, path := range append([]string{o.Store, o.Upper, o.Work}, o.Lower...) {
		switch {
		case path == "" && path != o.Store:
		case !filepath.IsAbs(path) || filepath.Clean(path) != path || strings.ContainsAny(path, ",:\\\x00\n"):
			return fault.New(fault.Invalid, "overlay root: %q is not an absolute and clean path without , : and \\", path)
		case !below(path, o.Store):
			return fault.New(fault.Invalid, "overlay root: %s is not in the store %s", path, o.Store)
		}
	}
	return nil
}

// layers is an overlay root of a plan.
type layers struct {
	o    *Overlay
	opt  *mount.Options
	uids []specs.LinuxIDMapping // of a new user namespace
	gids []specs.LinuxIDMapping
	user bool // in a user namespace, new or joined, whose ids are mapped
}

// overlay returns the opener of the root and its name in listings.
func (p *planner) overlay() (string, plan.Opener, error) {
	return p.layers("overlay root", p.o.Overlay)
}

// layers returns the opener of a mount of the store's layers.
func (p *planner) layers(field string, o *Overlay) (string, plan.Opener, error) {
	if err := o.check(); err != nil {
		return "", nil, err
	}
	if !p.fresh(specs.MountNamespace) || !p.o.Rights.Mount {
		return "", nil, fault.New(fault.Invalid, "%s: needs a new mount namespace, and rights over the caller's own", field)
	}
	opt, err := mount.Parse(o.Options)
	if err != nil {
		return "", nil, fault.New(fault.Invalid, "%s: %v", field, err)
	}
	if one := o.single(); one != "" {
		t := &tree{field: field, path: one, dir: true, sub: o.Sub, attr: opt.Attr, recAttr: mount.Attr{Propagation: unix.MS_PRIVATE}}
		if o.Upper == "" {
			t.attr.Set |= unix.MOUNT_ATTR_RDONLY
		}
		if p.userns() && !o.Owned {
			t.ids = &mapping{}
		}
		return t.String(), t.open, nil
	}
	opt.Data = labelled(opt.Data, p.linux.MountLabel)
	if o.Upper != "" {
		opt.Data = append(opt.Data, mount.Param{Key: "upperdir", Value: o.Upper}, mount.Param{Key: "workdir", Value: o.Work})
	}
	l := &layers{o: o, opt: opt, user: p.userns() && !o.Owned}
	if p.fresh(specs.UserNamespace) {
		l.uids, l.gids = p.linux.UIDMappings, p.linux.GIDMappings
	}
	return l.String(), l.open, nil
}

// layersOf reads an overlay mount of the spec whose folders are in the store of
// the root: an image's. Others are the first process's to make, nil.
func layersOf(root *Overlay, e *entry) *Overlay {
	if root == nil || e.fs != "overlay" {
		return nil
	}
	o := &Overlay{Store: root.Store, Owned: root.Owned}
	for _, word := range e.spec.Options {
		key, value, _ := strings.Cut(word, "=")
		switch key {
		case "lowerdir":
			o.Lower = strings.Split(value, ":")
		case "upperdir":
			o.Upper = value
		case "workdir":
			o.Work = value
		case "subpath":
			o.Sub = value
		default:
			o.Options = append(o.Options, word)
		}
	}
	if o.check() != nil {
		return nil
	}
	return o
}

// single is the one folder of a root that takes no overlay.
func (o *Overlay) single() string {
	switch {
	case len(o.Lower) == 0:
		return o.Upper
	case len(o.Lower) == 1 && o.Upper == "":
		return o.Lower[0]
	}
	return ""
}

// String describes the root in listings of a plan.
func (l *layers) String() string {
	s := "overlay of " + strings.Join(l.o.Lower, ":")
	if l.o.Upper != "" {
		s += " below " + l.o.Upper
	}
	if words := mount.Data(append(l.opt.Data[:len(l.opt.Data):len(l.opt.Data)], l.opt.Flags...)); words != "" {
		s += ", " + words
	}
	if l.o.Sub != "" {
		s += ", of it " + l.o.Sub
	}
	if l.user {
		s += ", " + l.o.Store + " id-mapped as the container"
	}
	return s
}

// open is the plan's Opener: it returns the mount, detached.
func (l *layers) open(h *plan.Host) (*os.File, error) {
	fd := -1
	var err error
	if !l.user {
		fd, err = l.mount()
		if mount.NeedsOldOverlay(err) {
			fd, err = mount.OldOverlayApart(l.o.Store, l.o.Lower, l.params(), l.opt.Attr.Set)
		}
	} else {
		thread.Apart(func() { fd, err = l.mountMapped(h) })
	}
	if err == nil && l.o.Sub != "" {
		fd, err = l.sub(fd)
	}
	if err != nil {
		return nil, fmt.Errorf("overlay root: %w", err)
	}
	return os.NewFile(uintptr(fd), "overlay root"), nil
}

// sub is the path of the mount that was asked for.
func (l *layers) sub(whole int) (int, error) {
	defer unix.Close(whole)
	fd, err := mount.Sub(whole, l.o.Sub)
	if err != nil {
		return -1, fmt.Errorf("open %s in it: %w", oneLine(l.o.Sub), err)
	}
	return fd, nil
}

// mountOverlay is replaced by tests that play an old kernel.
var mountOverlay = mount.Overlay

func (l *layers) mount() (int, error) {
	return mountOverlay(l.o.Lower, l.params(), l.opt.Attr.Set)
}

func (l *layers) mountOld() (int, error) {
	return mount.OldOverlay(l.o.Store, l.o.Lower, l.params(), l.opt.Attr.Set)
}

func (l *layers) params() []mount.Param {
	return append(l.opt.Data[:len(l.opt.Data):len(l.opt.Data)], l.opt.Flags...)
}

// mountMapped mounts in the container's mount namespace, whose mounts the kernel
// has made slaves of the host's, as the namespace is another user namespace's:
// nothing of it shows outside. The mount belongs to the first user namespace,
// whose rights the layers' xattrs (trusted.*) need.
func (l *layers) mountMapped(h *plan.Host) (int, error) {
	if h.Userns == nil {
		return -1, errors.New("the container has no user namespace of its own")
	}
	store, err := mount.ClonePath(l.o.Store, false)
	if err != nil {
		return -1, fmt.Errorf("clone the store %s: %w", l.o.Store, err)
	}
	defer unix.Close(store)
	if err := (&mapping{}).apply(store, h); err != nil {
		return -1, fmt.Errorf("id-map the store %s: %w", l.o.Store, err)
	}
	// The clone is its original's peer: what is mounted on it would show on the host.
	if err := mount.SetAttr(store, mount.Attr{Propagation: unix.MS_PRIVATE}, false); err != nil {
		return -1, fmt.Errorf("make the store %s private: %w", l.o.Store, err)
	}
	ns, err := unix.Open("/proc/"+strconv.Itoa(h.PID)+"/ns/mnt", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return -1, fmt.Errorf("open the container's mount namespace: %w", err)
	}
	defer unix.Close(ns)
	uid, gid, err := l.root(h)
	if err != nil {
		return -1, err
	}
	if err := unix.Unshare(unix.CLONE_FS); err != nil {
		return -1, fmt.Errorf("unshare the working directory: %w", err)
	}
	if err := unix.Setns(ns, unix.CLONE_NEWNS); err != nil {
		return -1, fmt.Errorf("enter the container's mount namespace: %w", err)
	}
	if err := cover(l.o.Store, store); err != nil {
		return -1, fmt.Errorf("mount the id-mapped store on %s: %w", l.o.Store, err)
	}
	if err := actAs(uid, gid); err != nil {
		return -1, err
	}
	fd, err := l.mount()
	if mount.NeedsOldOverlay(err) {
		fd, err = l.mountOld()
	}
	return fd, err
}

// root returns the host's ids of the container's root.
func (l *layers) root(h *plan.Host) (uid, gid uint32, err error) {
	maps := &idmap.Maps{UID: l.uids, GID: l.gids}
	if len(l.uids) == 0 {
		if maps, err = idmap.Read(h.PID); err != nil {
			return 0, 0, err
		}
	}
	uid, uok := idmap.Host(maps.UID, 0)
	gid, gok := idmap.Host(maps.GID, 0)
	if !uok || !gok {
		return 0, 0, errors.New("the container's user namespace has no root")
	}
	return uid, gid, nil
}

// cover attaches a detached tree on path.
func cover(path string, tree int) error {
	target, err := unix.Open(path, unix.O_PATH|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(target)
	return mount.Attach(tree, target)
}

// actAs makes files of this thread belong to uid and gid, and keeps its rights:
// overlay works on the layers with those of whoever mounts it. With an owner
// whom the id-mapped upper folder does not know, the kernel would mount it
// read-only.
func actAs(uid, gid uint32) error {
	// They tell nothing but the id before, and -1 changes nothing: setfsuid(2).
	unix.Setfsgid(int(gid))
	unix.Setfsuid(int(uid))
	if now, _ := unix.SetfsgidRetGid(-1); now != int(gid) {
		return fmt.Errorf("set the group for files to %d: it stays %d", gid, now)
	}
	if now, _ := unix.SetfsuidRetUid(-1); now != int(uid) {
		return fmt.Errorf("set the user for files to %d: it stays %d", uid, now)
	}
	hdr := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var caps [2]unix.CapUserData
	if err := unix.Capget(&hdr, &caps[0]); err != nil {
		return fmt.Errorf("read the capabilities: %w", err)
	}
	for i := range caps { // setfsuid(2) takes those that concern files
		caps[i].Effective = caps[i].Permitted
	}
	if err := unix.Capset(&hdr, &caps[0]); err != nil {
		return fmt.Errorf("keep the capabilities: %w", err)
	}
	return nil
}
