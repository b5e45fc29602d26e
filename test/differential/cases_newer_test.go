package differential

import (
	"berth/test/bundle"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// newerCases are what Debian's runc 1.1 does not know: compared with crun
// where that does, else with what is written here.
func newerCases() []scenario {
	mapped := func(kind string) func(*host) []bundle.Option {
		return func(h *host) []bundle.Option {
			dir := h.folder("source")
			m := []specs.LinuxIDMapping{{ContainerID: 0, HostID: 5000, Size: 100}}
			return []bundle.Option{bundle.Mount(specs.Mount{Destination: "/mnt", Type: "bind", Source: dir,
				Options: []string{"rbind", kind}, UIDMappings: m, GIDMappings: m})}
		}
	}
	return []scenario{
		{name: "idmap", peer: written, bundle: mapped("idmap"), do: q("stat /mnt/inside", "stat /mnt"),
			want: []string{"-rw-r--r-- 5000:5000 6", "drwxr-xr-x 5000:5000 -"}},
		{name: "ridmap-submount", peer: written, bundle: func(h *host) []bundle.Option {
			options := mapped("ridmap")(h)
			h.tmpfs("source/sub", "mode=0711", 0)
			return options
		}, do: q("stat /mnt/sub"), want: []string{"drwx--x--x 5000:5000 -"}},
		{name: "idmap-submount-stays", peer: written, bundle: func(h *host) []bundle.Option {
			options := mapped("idmap")(h)
			h.tmpfs("source/sub", "mode=0711", 0)
			return options
		}, do: q("stat /mnt/sub"), want: []string{"drwx--x--x 0:0 -"}},
		{name: "idmap-with-userns", peer: written, bundle: func(h *host) []bundle.Option {
			dir := h.folder("source")
			m := []specs.LinuxIDMapping{{ContainerID: 0, HostID: 100000, Size: 65536}}
			return []bundle.Option{bundle.MapIDs(100000, 65536), bundle.Mount(specs.Mount{Destination: "/mnt", Type: "bind",
				Source: dir, Options: []string{"rbind", "idmap"}, UIDMappings: m, GIDMappings: m})}
		}, do: q("stat /mnt/inside", "create /mnt/new x", "stat /mnt/new"),
			want: []string{"-rw-r--r-- 0:0 6", "ok", "-rw-r--r-- 0:0 1"}},
		{name: "idmap-without-maps", peer: written, fails: true, bundle: func(h *host) []bundle.Option {
			return []bundle.Option{bundle.Bind(h.folder("s"), "/mnt", "rbind", "idmap")}
		}},
		{name: "time-offsets", peer: written, do: q("read /proc/self/timens_offsets"), bundle: edit(func(s *specs.Spec) {
			s.Linux.Namespaces = append(s.Linux.Namespaces, specs.LinuxNamespace{Type: specs.TimeNamespace})
			s.Linux.TimeOffsets = map[string]specs.LinuxTimeOffset{"boottime": {Secs: 1337, Nanosecs: 3141519}, "monotonic": {Secs: 7881}}
		}), want: []string{"monotonic        7881         0\nboottime         1337   3141519"}},
		{name: "time-offsets-without-namespace", peer: written, fails: true, bundle: edit(func(s *specs.Spec) {
			s.Linux.TimeOffsets = map[string]specs.LinuxTimeOffset{"monotonic": {Secs: 7881}}
		})},
		{name: "domainname", peer: written, do: q("run /bin/sh -c cat</proc/sys/kernel/domainname"),
			bundle: edit(func(s *specs.Spec) { s.Domainname = "example.org" }), want: []string{"example.org"}},
		{name: "scheduler", peer: written, bundle: with(bundle.Edit(func(s *specs.Spec) {
			s.Process.Scheduler = &specs.Scheduler{Policy: specs.SchedBatch, Nice: 7}
		})), do: q("try-syscall 145 0", "try-syscall 140 0 0"), want: []string{"ok 3", "ok 13"}},
		{name: "io-priority", peer: written, bundle: with(bundle.Edit(func(s *specs.Spec) {
			s.Process.IOPriority = &specs.LinuxIOPriority{Class: specs.IOPRIO_CLASS_BE, Priority: 6}
		})), do: q("try-syscall 252 1 0"), want: []string{"ok 16390"}},
		{name: "exec-affinity", peer: written, exec: []string{"--process", `{"user": {"uid": 0, "gid": 0}, "cwd": "/",
			"args": ["/probe", "do", "run", "/bin/sh", "-c", "grep Cpus_allowed_list /proc/self/status"],
			"execCPUAffinity": {"initial": "0", "final": "0"}}`}, do: q("echo unused"), want: []string{"Cpus_allowed_list:\t0"}},
		{name: "exec-oom-score", peer: written, exec: []string{"--process", `{"user": {"uid": 0, "gid": 0}, "cwd": "/",
			"args": ["/probe", "do", "read", "/proc/self/oom_score_adj"], "oomScoreAdj": 200}`}, do: q("echo unused"), want: []string{"200"}},
		{name: "exec-umask", peer: written, exec: []string{}, do: q("run /bin/sh -c umask"), want: []string{"0077"},
			bundle: edit(func(s *specs.Spec) { m := uint32(0o077); s.Process.User.Umask = &m })},
		{name: "exec-open-files", peer: written, exec: []string{"--process", `{"user": {"uid": 0, "gid": 0}, "cwd": "/",
			"args": ["/probe", "do", "run", "/bin/sh", "-c", "ulimit -Sn; ulimit -Hn"],
			"rlimits": [{"type": "RLIMIT_NOFILE", "soft": 55, "hard": 66}]}`}, do: q("echo unused"), want: []string{"55\n66"}},
		{name: "nosymfollow", peer: written, bundle: func(h *host) []bundle.Option {
			return []bundle.Option{tmpfs("/mnt", "nosymfollow")}
		}, do: q("run /bin/ln -s /etc/passwd /mnt/link", "try-open /mnt/link", "readlink /mnt/link"),
			want: []string{"", "!ELOOP", "/etc/passwd"}},
		{name: "crun-default", peer: crun, do: q("list /", "stat /dev/null", "read /proc/self/setgroups", "links",
			"try-open /proc/sys/kernel/hostname w", "list /sys/firmware", "stat /dev/shm")},
		{name: "crun-recursive-read-only", peer: crun, bundle: func(h *host) []bundle.Option {
			dir := h.folder("source")
			h.tmpfs("source/sub", "mode=0755", 0)
			return []bundle.Option{bundle.Bind(dir, "/mnt", "rbind", "rro")}
		}, do: q("try-open /mnt/sub/x create", "try-open /mnt/x create")},
		{name: "crun-tmpcopyup", peer: crun, bundle: with(bundle.File("/data/a", "text", 0o640), tmpfs("/data", "tmpcopyup")),
			do: q("read /data/a", "stat /data/a")},
		{name: "crun-userns", peer: crun, bundle: with(bundle.MapIDs(100000, 65536)), do: q("stat /",
			"try-open /dev/null rw", "read /proc/self/uid_map", "mknod /x c 1 3")},
		{name: "crun-caps-user", peer: crun, bundle: with(bundle.User(1000, 1000)),
			do: q("run /bin/sh -c grep</proc/self/status^Cap", "try-open /etc/shadow r", "chown /tmp 1 1")},
	}
}
