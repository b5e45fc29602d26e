package rootfs

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"slices"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"berth/runtime/idmap"
	"berth/runtime/plan"
	"berth/sys/clone"
	"berth/sys/mount"
)

// mapping is the id mapping of one mount: files of an inside id on the file
// system appear to belong to the outside id of the host.
type mapping struct {
	// uids, gids are the maps; without, those of the container's user namespace.
	uids, gids []specs.LinuxIDMapping
	rec        bool
}

func (m *mapping) String() string {
	s := "id-mapped"
	if m.rec {
		s += " with all below"
	}
	if len(m.uids) == 0 {
		return s + " as the container"
	}
	return s + fmt.Sprintf(" uids %v gids %v", m.uids, m.gids)
}

// mapping returns the one that an entry asks for, nil for none.
func (p *planner) mapping(e *entry) *mapping {
	m := &mapping{uids: e.spec.UIDMappings, gids: e.spec.GIDMappings, rec: e.opt.IDMapRec}
	if len(m.uids) == 0 && !e.opt.IDMap {
		return nil
	}
	if len(m.uids) == 0 {
		m.uids, m.gids = toMappings(e.opt.UIDs), toMappings(e.opt.GIDs)
	}
	// One namespace less to make.
	if p.fresh(specs.UserNamespace) && slices.Equal(m.uids, p.linux.UIDMappings) && slices.Equal(m.gids, p.linux.GIDMappings) {
		m.uids, m.gids = nil, nil
	}
	return m
}

func toMappings(ranges []mount.Range) []specs.LinuxIDMapping {
	var maps []specs.LinuxIDMapping
	for _, r := range ranges {
		maps = append(maps, specs.LinuxIDMapping{ContainerID: r.Inside, HostID: r.Outside, Size: r.Size})
	}
	return maps
}

// apply maps the ids of a detached tree.
func (m *mapping) apply(fd int, h *plan.Host) error {
	ns := h.Userns
	if len(m.uids) > 0 {
		own, err := makeUserns(m.uids, m.gids)
		if err != nil {
			return fmt.Errorf("make a user namespace for its maps: %w", err)
		}
		defer own.Close()
		ns = own
	}
	if ns == nil {
		return errors.New("the container has no user namespace of its own")
	}
	err := mount.SetIDMap(fd, int(ns.Fd()), m.rec)
	runtime.KeepAlive(ns)
	switch err {
	case unix.EINVAL:
		return fmt.Errorf("%w: its file system (%s), or one below, does not support id-mapped mounts", err, fsName(fd))
	case unix.EPERM:
		return fmt.Errorf("%w: it is id-mapped already, or its file system belongs to another user namespace", err)
	}
	return err
}

// makeUserns makes a user namespace with the given maps that no process is in:
// a child makes it and ends.
func makeUserns(uids, gids []specs.LinuxIDMapping) (_ *os.File, err error) {
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, os.NewSyscallError("socketpair", err)
	}
	defer unix.Close(pair[0])
	defer unix.Close(pair[1]) // shared with the child, which reads its order there
	pid, _, err := clone.Start(&clone.Attr{New: unix.CLONE_NEWUSER, CgroupDir: -1, Program: -1, Argv: []string{"userns"}, Sock: pair[1]})
	if err != nil {
		return nil, err
	}
	defer endChild(pid, pair[0])
	if err := (&idmap.Maps{UID: uids, GID: gids}).Write(pid); err != nil {
		return nil, err
	}
	return os.Open(fmt.Sprintf("/proc/%d/ns/user", pid))
}

// endChild ends a child of package clone that got no order: it sees the end of
// its socket, and if not that, a signal. Then it is reaped.
func endChild(pid, sock int) {
	_ = unix.Shutdown(sock, unix.SHUT_RDWR)
	_ = unix.Kill(pid, unix.SIGKILL)
	for {
		if _, err := unix.Wait4(pid, nil, 0, nil); err != unix.EINTR {
			return
		}
	}
}

// fsName names the type of the file system that fd is on, for errors.
func fsName(fd int) string {
	var st unix.Statfs_t
	if err := unix.Fstatfs(fd, &st); err != nil {
		return "unknown"
	}
	names := map[int64]string{
		unix.OVERLAYFS_SUPER_MAGIC: "overlay", unix.TMPFS_MAGIC: "tmpfs", unix.NFS_SUPER_MAGIC: "nfs", unix.FUSE_SUPER_MAGIC: "fuse",
		unix.PROC_SUPER_MAGIC: "proc", unix.SYSFS_MAGIC: "sysfs", unix.EXT4_SUPER_MAGIC: "ext4", unix.XFS_SUPER_MAGIC: "xfs",
		unix.BTRFS_SUPER_MAGIC: "btrfs", unix.CGROUP_SUPER_MAGIC: "cgroup", unix.CGROUP2_SUPER_MAGIC: "cgroup2", unix.V9FS_MAGIC: "9p",
	}
	if name := names[int64(st.Type)]; name != "" {
		return name
	}
	return fmt.Sprintf("%#x", st.Type)
}
