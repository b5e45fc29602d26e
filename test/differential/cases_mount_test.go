package differential

import (
	"os"

	"berth/test/bundle"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// tmpfs is a mount of one with the options.
func tmpfs(target string, options ...string) bundle.Option {
	return bundle.Mount(specs.Mount{Destination: target, Type: "tmpfs", Source: "tmpfs", Options: options})
}

// bound binds a fresh host folder (one file, "inside") to a target.
func bound(target string, options ...string) func(*host) []bundle.Option {
	return func(h *host) []bundle.Option {
		return []bundle.Option{bundle.Bind(h.folder("source"), target, options...)}
	}
}

func mountCases() []scenario {
	return []scenario{
		{name: "bind", bundle: bound("/mnt", "bind"), do: q("list /mnt", "write /mnt/inside x", "read /mnt/inside")},
		{name: "bind-missing-target", bundle: bound("/not/there/yet", "rbind"), do: q("list /not/there/yet", "stat /not")},
		{name: "bind-file", bundle: func(h *host) []bundle.Option {
			return []bundle.Option{bundle.Bind(h.file("f", "text", 0o644), "/etc/bound/file")}
		}, do: q("read /etc/bound/file", "stat /etc/bound/file")},
		{name: "bind-file-over-file", bundle: func(h *host) []bundle.Option {
			return []bundle.Option{bundle.Bind(h.file("f", "text", 0o644), "/etc/passwd", "bind", "ro")}
		}, do: q("read /etc/passwd", "write /etc/passwd x")},
		{name: "bind-relative-source", bundle: func(h *host) []bundle.Option {
			return []bundle.Option{bundle.Bind("data", "/mnt"), func(b *bundle.Bundle) error {
				return os.Mkdir(b.Dir+"/data", 0o711)
			}}
		}, do: q("stat /mnt")},
		{name: "bind-missing-source", fails: true, says: "/no-such-place", bundle: with(bundle.Bind("/no-such-place", "/mnt"))},
		{name: "bind-over-symlink", bundle: func(h *host) []bundle.Option {
			return []bundle.Option{bundle.Dir("/run/lock", 0o755), bundle.Symlink("/run", "/var/run"),
				bundle.Bind(h.folder("source"), "/var/run/lock")}
		}, do: q("list /run/lock", "readlink /var/run")},
		{name: "nested", bundle: func(h *host) []bundle.Option {
			return []bundle.Option{tmpfs("/a"), tmpfs("/a/b/c"), bundle.Bind(h.folder("s"), "/a/b/c/d"), tmpfs("/a/b/e", "ro")}
		}, do: q("list /a/b", "list /a/b/c/d", "try-open /a/b/e/x create")},
		{name: "two-on-one-target", peer: written, want: []string{"drwx-w--w- 0:0 -"}, bundle: with(tmpfs("/mnt", "mode=0711"), tmpfs("/mnt", "mode=0722")), do: q("stat /mnt")},
		{name: "rbind-carries-submounts", bundle: func(h *host) []bundle.Option {
			dir := h.folder("source")
			h.tmpfs("source/sub", "mode=0711", 0)
			return []bundle.Option{bundle.Bind(dir, "/mnt", "rbind")}
		}, do: q("stat /mnt/sub", "list /mnt")},
		{name: "bind-leaves-submounts", bundle: func(h *host) []bundle.Option {
			dir := h.folder("source")
			h.tmpfs("source/sub", "mode=0711", 0)
			return []bundle.Option{bundle.Bind(dir, "/mnt", "bind")}
		}, do: q("stat /mnt/sub")},
		{name: "tmpfs-size-mode", bundle: with(tmpfs("/mnt", "size=64k", "mode=0751", "nosuid", "nodev", "noexec"))},
		{name: "tmpfs-default-mode", bundle: with(bundle.Dir("/keep", 0o1751), tmpfs("/keep"), tmpfs("/fresh")),
			do: q("stat /keep", "stat /fresh")},
		{name: "tmpcopyup", bundle: with(bundle.File("/data/a/b", "text", 0o640), tmpfs("/data", "tmpcopyup")),
			do: q("read /data/a/b", "stat /data/a/b", "write /data/a/b changed", "statfs /data")},
		{name: "tmpfs-read-only", bundle: with(tmpfs("/mnt", "ro")), do: q("try-open /mnt/x create")},
		{name: "no-dev-mount", bundle: with(bundle.Unmount("/dev"), bundle.Unmount("/dev/pts"), bundle.Unmount("/dev/shm"),
			bundle.Unmount("/dev/mqueue")), do: q("stat /dev/null", "try-open /dev/null rw", "readlink /dev/fd")},
		{name: "dev-bind", bundle: with(bundle.Unmount("/dev"), bundle.Unmount("/dev/pts"), bundle.Unmount("/dev/shm"),
			bundle.Unmount("/dev/mqueue"), bundle.Bind("/dev", "/dev", "rbind", "rslave")),
			do: q("try-open /dev/null rw", "try-open /dev/kmsg r")},
		{name: "no-proc", peer: written, want: []string{""}, bundle: with(bundle.Unmount("/proc"), bundle.Edit(func(s *specs.Spec) {
			s.Linux.MaskedPaths, s.Linux.ReadonlyPaths = nil, nil
		})), do: q("list /proc")},
		{name: "proc-hidepid", bundle: with(bundle.Unmount("/proc"), bundle.Mount(specs.Mount{Destination: "/proc",
			Type: "proc", Source: "proc", Options: []string{"hidepid=2"}}))},
		{name: "proc-subset", peer: written, bundle: with(bundle.Unmount("/proc"), bundle.Mount(specs.Mount{
			Destination: "/proc", Type: "proc", Source: "proc", Options: []string{"subset=pid"}}),
			bundle.Edit(func(s *specs.Spec) { s.Linux.MaskedPaths, s.Linux.ReadonlyPaths = nil, nil })),
			do: q("try-open /proc/meminfo", "try-open /proc/1/status"), want: []string{"!ENOENT", "ok"}},
		{name: "sys-writable", bundle: with(bundle.Unmount("/sys"), bundle.Unmount("/sys/fs/cgroup"), bundle.Mount(
			specs.Mount{Destination: "/sys", Type: "sysfs", Source: "sysfs"}))},
		{name: "cgroup-writable", bundle: with(bundle.Unmount("/sys/fs/cgroup"), bundle.Mount(specs.Mount{
			Destination: "/sys/fs/cgroup", Type: "cgroup", Source: "cgroup"})),
			do: q("list /sys/fs/cgroup", "mkdir /sys/fs/cgroup/pids/below", "remove /sys/fs/cgroup/pids/below")},
		{name: "cgroup-read-only", do: q("list /sys/fs/cgroup", "mkdir /sys/fs/cgroup/pids/below",
			"read /sys/fs/cgroup/pids/cgroup.procs", "readlink /sys/fs/cgroup/cpu")},
		{name: "cgroup-without-namespace", bundle: with(bundle.Share(specs.CgroupNamespace)),
			do: q("list /sys/fs/cgroup", "read /sys/fs/cgroup/pids/cgroup.procs", "mkdir /sys/fs/cgroup/pids/below")},
		{name: "overlay", bundle: func(h *host) []bundle.Option {
			lower := h.folder("lower")
			return []bundle.Option{bundle.Mount(specs.Mount{Destination: "/mnt", Type: "overlay", Source: "overlay",
				Options: []string{"lowerdir=" + lower + ":" + h.folder("lower2")}})}
		}, do: q("list /mnt", "try-open /mnt/x create")},
		{name: "root-read-only", bundle: with(bundle.Readonly())},
		{name: "root-read-only-with-tmp", bundle: with(bundle.Readonly(), tmpfs("/tmp", "mode=1777")),
			do: q("try-open /x create", "try-open /tmp/x create", "try-open /dev/x create", "mkdir /y", "times /etc/passwd")},
		{name: "unknown-type", fails: true, says: "nosuchfs", bundle: with(bundle.Mount(specs.Mount{
			Destination: "/mnt", Type: "nosuchfs", Source: "x"}))},
		{name: "unknown-option", fails: true, bundle: with(tmpfs("/mnt", "nosuchoption"))},
		{name: "empty-rootfs-path", fails: true, bundle: edit(func(s *specs.Spec) { s.Root.Path = "" })},
		{name: "mqueue", do: q("statfs /dev/mqueue", "stat /dev/mqueue", "stat /dev/shm")},
	}
}

// mountFlagCases are about the flags of a mount and its propagation: the
// report has them all.
func mountFlagCases() []scenario {
	cases := []scenario{
		{name: "rootfs-propagation-slave", bundle: edit(func(s *specs.Spec) { s.Linux.RootfsPropagation = "slave" })},
		{name: "rootfs-propagation-rprivate", bundle: edit(func(s *specs.Spec) { s.Linux.RootfsPropagation = "rprivate" })},
		{name: "rootfs-propagation-rshared", peer: written, do: q("propagation /", "propagation /dev"), want: []string{"shared", "shared"}, bundle: edit(func(s *specs.Spec) { s.Linux.RootfsPropagation = "rshared" })},
		{name: "rootfs-propagation-unbindable", peer: written, do: q("echo ok"), want: []string{"ok"},
			bundle: edit(func(s *specs.Spec) { s.Linux.RootfsPropagation = "unbindable" })},
		{name: "bind-keeps-flags", peer: written, do: q("statfs /mnt"), want: []string{"0x1021994 ro,nosuid,nodev,noexec,relatime"}, bundle: func(h *host) []bundle.Option {
			dir := h.tmpfs("locked", "mode=0755", 0x2|0x4|0x8) // nosuid, nodev, noexec
			return []bundle.Option{bundle.Bind(dir, "/mnt", "rbind", "ro")}
		}},
		{name: "bind-clears-flags", peer: written, do: q("statfs /mnt"), want: []string{"0x1021994 relatime"}, bundle: func(h *host) []bundle.Option {
			dir := h.tmpfs("locked", "mode=0755", 0x2|0x8)
			return []bundle.Option{bundle.Bind(dir, "/mnt", "rbind", "suid", "exec")}
		}},
		{name: "remount-same-target", bundle: func(h *host) []bundle.Option {
			return []bundle.Option{bundle.Bind(h.folder("s"), "/mnt", "bind"),
				bundle.Mount(specs.Mount{Destination: "/mnt", Type: "bind", Source: "/mnt", Options: []string{"remount", "bind", "ro"}})}
		}, do: q("try-open /mnt/x create")},
		{name: "recursive-read-only", bundle: func(h *host) []bundle.Option {
			dir := h.folder("source")
			h.tmpfs("source/sub", "mode=0755", 0)
			return []bundle.Option{bundle.Bind(dir, "/mnt", "rbind", "rro")}
		}, do: q("try-open /mnt/x create", "try-open /mnt/sub/x create")},
		{name: "plain-read-only-is-not-recursive", bundle: func(h *host) []bundle.Option {
			dir := h.folder("source")
			h.tmpfs("source/sub", "mode=0755", 0)
			return []bundle.Option{bundle.Bind(dir, "/mnt", "rbind", "ro")}
		}, do: q("try-open /mnt/x create", "try-open /mnt/sub/x create")},
		{name: "recursive-flags", bundle: func(h *host) []bundle.Option {
			dir := h.folder("source")
			h.tmpfs("source/sub", "mode=0755", 0)
			return []bundle.Option{bundle.Bind(dir, "/mnt", "rbind", "rnoexec", "rnosuid", "rnodev", "rnoatime")}
		}},
		{name: "propagation-reaches-in", bundle: func(h *host) []bundle.Option {
			return []bundle.Option{bundle.Bind(h.folder("s"), "/mnt", "rbind", "rslave")}
		}},
		{name: "symlinked-target-outside", peer: written, do: q("list /mnt/target"), want: []string{"inside"},
			bundle: func(h *host) []bundle.Option {
				// A link that leads out of the root when followed on the host.
				return []bundle.Option{bundle.Dir("/mnt", 0o755), bundle.Symlink("../../../../../../mnt", "/link"),
					bundle.Bind(h.folder("s"), "/link/target")}
			}},
	}
	for _, option := range []string{"ro", "nosuid", "nodev", "noexec", "noatime", "nodiratime", "relatime", "strictatime",
		"sync", "dirsync", "private", "rprivate", "shared", "rshared", "slave", "rslave", "unbindable", "runbindable"} {
		cases = append(cases, scenario{name: "bind-" + option, bundle: bound("/mnt", "rbind", option)})
	}
	for _, option := range []string{"nosuid", "noatime", "nodiratime", "sync", "dirsync", "mand", "nr_inodes=77"} {
		cases = append(cases, scenario{name: "tmpfs-" + option, bundle: with(tmpfs("/mnt", option))})
	}
	return cases
}
