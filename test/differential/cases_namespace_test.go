package differential

import (
	"fmt"
	"strings"
	"syscall"

	"berth/test/bundle"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// q turns lines of a verb and its arguments into what the probe's do takes.
func q(lines ...string) []string {
	var words []string
	for i, line := range lines {
		if i > 0 {
			words = append(words, "--")
		}
		words = append(words, strings.Fields(line)...)
	}
	return words
}

// with is a case's bundle that needs nothing on the host.
func with(options ...bundle.Option) func(*host) []bundle.Option {
	return func(*host) []bundle.Option { return options }
}

func edit(f func(*specs.Spec)) func(*host) []bundle.Option { return with(bundle.Edit(f)) }

func namespaceCases() []scenario {
	join := func(kind specs.LinuxNamespaceType, name string, flag int) func(*host) []bundle.Option {
		return func(h *host) []bundle.Option {
			return []bundle.Option{bundle.Namespace(kind, h.namespace(name, flag))}
		}
	}
	return []scenario{
		{name: "default"},
		{name: "share-network", bundle: with(bundle.Share(specs.NetworkNamespace))},
		{name: "share-ipc", bundle: with(bundle.Share(specs.IPCNamespace))},
		{name: "share-uts", bundle: with(bundle.Share(specs.UTSNamespace),
			bundle.Edit(func(s *specs.Spec) { s.Hostname = "" }))},
		{name: "share-uts-with-hostname", fails: true, bundle: with(bundle.Share(specs.UTSNamespace))},
		{name: "share-pid", bundle: with(bundle.Share(specs.PIDNamespace))},
		{name: "share-cgroup", bundle: with(bundle.Share(specs.CgroupNamespace))},
		{name: "share-everything", bundle: with(bundle.Share(specs.NetworkNamespace, specs.IPCNamespace,
			specs.UTSNamespace, specs.PIDNamespace, specs.CgroupNamespace),
			bundle.Edit(func(s *specs.Spec) { s.Hostname = "" }))},
		{name: "join-network", bundle: join(specs.NetworkNamespace, "net", unix.CLONE_NEWNET)},
		{name: "join-ipc", bundle: join(specs.IPCNamespace, "ipc", unix.CLONE_NEWIPC)},
		{name: "join-uts", bundle: join(specs.UTSNamespace, "uts", unix.CLONE_NEWUTS)},
		{name: "join-pid", bundle: func(h *host) []bundle.Option {
			pid := h.process(&syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWPID})
			return []bundle.Option{bundle.Namespace(specs.PIDNamespace, fmt.Sprintf("/proc/%d/ns/pid", pid))}
		}},
		{name: "join-missing", fails: true, says: "/no-such-place",
			bundle: with(bundle.Namespace(specs.NetworkNamespace, "/no-such-place/ns"))},
		{name: "join-wrong-kind", fails: true, bundle: func(h *host) []bundle.Option {
			return []bundle.Option{bundle.Namespace(specs.NetworkNamespace, h.namespace("ipc", unix.CLONE_NEWIPC))}
		}},
		{name: "namespace-twice", fails: true, bundle: edit(func(s *specs.Spec) {
			s.Linux.Namespaces = append(s.Linux.Namespaces, specs.LinuxNamespace{Type: specs.IPCNamespace})
		})},
		{name: "no-mount-namespace", fails: true, bundle: with(bundle.Share(specs.MountNamespace))},
		{name: "new-network-has-loopback", do: q("links", "dgram 127.0.0.1:0")},
		{name: "hostname-changes", do: q("hostname other"), bundle: with(bundle.Caps("CAP_SYS_ADMIN"))},
		{name: "no-hostname", do: q("run /bin/hostname"), bundle: edit(func(s *specs.Spec) { s.Hostname = "" })},
	}
}

func userNamespaceCases() []scenario {
	return []scenario{
		{name: "userns", bundle: with(bundle.MapIDs(100000, 65536))},
		{name: "userns-user", bundle: with(bundle.MapIDs(100000, 65536), bundle.User(1000, 1000, 5))},
		{name: "userns-one-id", bundle: with(bundle.MapIDs(100000, 1), noDevptsGroup)},
		{name: "userns-several-ranges", bundle: with(bundle.MapIDs(100000, 65536), bundle.Edit(func(s *specs.Spec) {
			m := []specs.LinuxIDMapping{{ContainerID: 0, HostID: 100000, Size: 1000},
				{ContainerID: 1000, HostID: 200000, Size: 1}, {ContainerID: 5000, HostID: 300000, Size: 100}}
			s.Linux.UIDMappings, s.Linux.GIDMappings = m, m
		}))},
		{name: "userns-files", bundle: with(bundle.MapIDs(100000, 65536)),
			do: q("stat /", "stat /home/user", "create /made x", "stat /made", "chown /made 1000 1000", "stat /made",
				"chown /made 70000 0", "mknod /node c 1 3", "try-open /dev/null rw", "stat /dev",
				"stat /dev/pts", "stat /proc/1")},
		{name: "userns-unmapped-user", fails: true, bundle: with(bundle.MapIDs(100000, 10), noDevptsGroup,
			bundle.User(500, 0))},
		{name: "userns-without-map", fails: true, bundle: with(bundle.Namespace(specs.UserNamespace, ""))},
		{name: "map-without-userns", peer: written, fails: true, says: "uidMappings", bundle: edit(func(s *specs.Spec) {
			m := []specs.LinuxIDMapping{{ContainerID: 0, HostID: 100000, Size: 10}}
			s.Linux.UIDMappings, s.Linux.GIDMappings = m, m
		})},
		{name: "userns-caps", bundle: with(bundle.MapIDs(100000, 65536), bundle.Caps("CAP_SYS_ADMIN", "CAP_CHOWN"))},
		{name: "userns-share-network", bundle: with(bundle.MapIDs(100000, 65536), bundle.Share(specs.NetworkNamespace),
			bundle.Unmount("/sys"), bundle.Bind("/sys", "/sys", "rbind", "ro"), bundle.Unmount("/sys/fs/cgroup")),
			do: q("list /sys/class", "links")},
		{name: "userns-exec", bundle: with(bundle.MapIDs(100000, 65536)), exec: []string{"--user", "7:8"}},
		{name: "userns-tmpfs-owner", bundle: with(bundle.MapIDs(100000, 65536), bundle.Mount(specs.Mount{
			Destination: "/mnt", Type: "tmpfs", Source: "tmpfs", Options: []string{"uid=5", "gid=6", "mode=0710"}})),
			do: q("stat /mnt", "create /mnt/x y", "stat /mnt/x")},
		{name: "userns-low-port", bundle: with(bundle.MapIDs(100000, 65536)), do: q("dgram 127.0.0.1:80", "socket 2 3 1")},
	}
}

// noDevptsGroup takes out gid=5, which a small map cannot name.
func noDevptsGroup(b *bundle.Bundle) error {
	for i, m := range b.Spec.Mounts {
		if m.Type == "devpts" {
			b.Spec.Mounts[i].Options = []string{"nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620"}
		}
	}
	return nil
}
