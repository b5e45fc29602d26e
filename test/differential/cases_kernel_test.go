package differential

//lint:file-ignore SA1019 prestart hooks are deprecated, and engines still give them

import (
	"os"
	"path/filepath"

	"berth/test/bundle"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

func sysctl(pairs ...string) func(*host) []bundle.Option {
	return edit(func(s *specs.Spec) {
		s.Linux.Sysctl = map[string]string{}
		for i := 0; i < len(pairs); i += 2 {
			s.Linux.Sysctl[pairs[i]] = pairs[i+1]
		}
	})
}

func resources(f func(*specs.LinuxResources)) func(*host) []bundle.Option {
	return with(bundle.Resources(f))
}

func ptr[T any](v T) *T { return &v }

//house:allow params a device node has that many properties
func device(path, kind string, major, minor int64, mode os.FileMode, id uint32) bundle.Option {
	return bundle.Edit(func(s *specs.Spec) {
		s.Linux.Devices = append(s.Linux.Devices, specs.LinuxDevice{Path: path, Type: kind, Major: major, Minor: minor,
			FileMode: &mode, UID: &id, GID: &id})
	})
}

// cgroupFile reads one of the container's own, on v1 below the controller.
func cgroupFile(controller, name string) string {
	return "read /sys/fs/cgroup/" + controller + "/" + name
}

// kernelCases are about sysctls, devices and limits.
func kernelCases() []scenario {
	return []scenario{
		{name: "sysctl-net", bundle: sysctl("net.ipv4.ip_unprivileged_port_start", "0", "net.ipv4.ping_group_range", "0 5"),
			do: q("read /proc/sys/net/ipv4/ip_unprivileged_port_start", "read /proc/sys/net/ipv4/ping_group_range")},
		{name: "sysctl-ipc", bundle: sysctl("kernel.msgmax", "65536", "fs.mqueue.msg_max", "12", "kernel.shm_rmid_forced", "1"),
			do: q("read /proc/sys/kernel/msgmax", "read /proc/sys/fs/mqueue/msg_max", "read /proc/sys/kernel/shm_rmid_forced")},
		{name: "sysctl-slashes", bundle: sysctl("net/ipv4/ip_forward", "1"), do: q("read /proc/sys/net/ipv4/ip_forward")},
		{name: "sysctl-of-host", fails: true, says: "kernel.panic", bundle: sysctl("kernel.panic", "5")},
		{name: "sysctl-host-network", fails: true, bundle: func(h *host) []bundle.Option {
			return append(sysctl("net.ipv4.ip_forward", "1")(h), bundle.Share(specs.NetworkNamespace))
		}},
		{name: "sysctl-host-ipc", fails: true, bundle: func(h *host) []bundle.Option {
			return append(sysctl("kernel.msgmax", "65536")(h), bundle.Share(specs.IPCNamespace))
		}},
		{name: "sysctl-hostname", fails: true, bundle: sysctl("kernel.hostname", "x")},
		{name: "device", bundle: with(device("/dev/fuse", "c", 10, 229, 0o640, 7), device("/dev/below/null2", "c", 1, 3, 0o666, 0)),
			do: q("stat /dev/fuse", "stat /dev/below/null2", "try-open /dev/below/null2 rw", "stat /dev/below")},
		{name: "device-fifo", bundle: with(device("/dev/pipe", "p", 0, 0, 0o622, 3)), do: q("stat /dev/pipe")},
		{name: "device-denied", bundle: with(device("/dev/mem2", "c", 1, 1, 0o666, 0), bundle.Caps("CAP_SYS_RAWIO", "CAP_MKNOD")),
			do: q("stat /dev/mem2", "try-open /dev/mem2 r", "mknod /tmp/kmsg c 1 11", "try-open /tmp/kmsg r")},
		{name: "device-allowed", bundle: with(bundle.Resources(func(r *specs.LinuxResources) {
			r.Devices = append(r.Devices, specs.LinuxDeviceCgroup{Allow: true, Type: "c", Major: ptr[int64](1), Minor: ptr[int64](11), Access: "r"})
		}), bundle.Caps("CAP_MKNOD", "CAP_SYSLOG")), do: q("mknod /tmp/kmsg c 1 11", "try-open /tmp/kmsg r", "try-open /tmp/kmsg w")},
		{name: "device-mknod-denied", bundle: resources(func(r *specs.LinuxResources) {
			r.Devices = []specs.LinuxDeviceCgroup{{Allow: false, Access: "rwm"}}
		}), do: q("mknod /tmp/x c 1 11", "mknod /tmp/null c 1 3", "try-open /dev/null rw")},
		{name: "device-all-allowed", bundle: resources(func(r *specs.LinuxResources) {
			r.Devices = []specs.LinuxDeviceCgroup{{Allow: true, Access: "rwm"}}
		}), do: q("mknod /tmp/kmsg c 1 11", "try-open /tmp/kmsg r")},
		{name: "device-bad-type", fails: true, bundle: with(device("/dev/x", "z", 1, 3, 0o666, 0))},
		{name: "default-devices", do: q("stat /dev/null", "stat /dev/zero", "stat /dev/full", "stat /dev/tty", "stat /dev/urandom",
			"stat /dev/random", "readlink /dev/fd", "readlink /dev/stdin", "readlink /dev/ptmx", "stat /dev/console")},
		{name: "memory", bundle: resources(func(r *specs.LinuxResources) {
			r.Memory = &specs.LinuxMemory{Limit: ptr[int64](64 << 20), Reservation: ptr[int64](32 << 20), Swap: ptr[int64](96 << 20)}
		}), do: q(cgroupFile("memory", "memory.limit_in_bytes"), cgroupFile("memory", "memory.soft_limit_in_bytes"),
			cgroupFile("memory", "memory.memsw.limit_in_bytes"))},
		{name: "memory-swappiness", bundle: resources(func(r *specs.LinuxResources) {
			r.Memory = &specs.LinuxMemory{Limit: ptr[int64](64 << 20), Swappiness: ptr[uint64](10), DisableOOMKiller: ptr(true)}
		}), do: q(cgroupFile("memory", "memory.swappiness"), cgroupFile("memory", "memory.oom_control"))},
		{name: "memory-eaten", bundle: with(bundle.Resources(func(r *specs.LinuxResources) {
			r.Memory = &specs.LinuxMemory{Limit: ptr[int64](32 << 20), Swap: ptr[int64](32 << 20)}
		}), bundle.Args("/bin/sh", "-c", "/probe eat 134217728 >/dev/null; exec /probe do echo $?")), do: q("echo unused")},
		{name: "pids", bundle: resources(func(r *specs.LinuxResources) { r.Pids = &specs.LinuxPids{Limit: ptr[int64](33)} }),
			do: q(cgroupFile("pids", "pids.max"))},
		{name: "pids-unlimited", bundle: resources(func(r *specs.LinuxResources) { r.Pids = &specs.LinuxPids{Limit: ptr[int64](-1)} }),
			do: q(cgroupFile("pids", "pids.max"))},
		{name: "cpu", bundle: resources(func(r *specs.LinuxResources) {
			r.CPU = &specs.LinuxCPU{Shares: ptr[uint64](333), Quota: ptr[int64](20000), Period: ptr[uint64](50000)}
		}), do: q(cgroupFile("cpu", "cpu.shares"), cgroupFile("cpu", "cpu.cfs_quota_us"), cgroupFile("cpu", "cpu.cfs_period_us"))},
		{name: "cpu-quota-only", bundle: resources(func(r *specs.LinuxResources) { r.CPU = &specs.LinuxCPU{Quota: ptr[int64](20000)} }),
			do: q(cgroupFile("cpu", "cpu.cfs_quota_us"), cgroupFile("cpu", "cpu.cfs_period_us"))},
		{name: "cpuset", bundle: resources(func(r *specs.LinuxResources) { r.CPU = &specs.LinuxCPU{Cpus: "0", Mems: "0"} })},
		{name: "cpuset-wrong", fails: true, bundle: resources(func(r *specs.LinuxResources) { r.CPU = &specs.LinuxCPU{Cpus: "900"} })},
		{name: "hugetlb-unknown-size", fails: true, bundle: resources(func(r *specs.LinuxResources) {
			r.HugepageLimits = []specs.LinuxHugepageLimit{{Pagesize: "3KB", Limit: 1}}
		})},
		{name: "blkio", bundle: resources(func(r *specs.LinuxResources) {
			r.BlockIO = &specs.LinuxBlockIO{ThrottleReadBpsDevice: []specs.LinuxThrottleDevice{throttle(254, 0, 1<<20)}}
		}), do: q(cgroupFile("blkio", "blkio.throttle.read_bps_device"))},
		{name: "cgroup-path-relative", bundle: func(h *host) []bundle.Option {
			return []bundle.Option{func(b *bundle.Bundle) error {
				b.Spec.Linux.CgroupsPath = filepath.Base(b.Spec.Linux.CgroupsPath)
				return nil
			}}
		}, do: q("read /proc/self/cgroup")},
		{name: "personality", peer: written, want: []string{"i686"}, bundle: edit(func(s *specs.Spec) {
			s.Linux.Personality = &specs.LinuxPersonality{Domain: specs.PerLinux32}
		}), do: q("run /bin/uname -m")},
	}
}

func throttle(major, minor int64, rate uint64) specs.LinuxThrottleDevice {
	d := specs.LinuxThrottleDevice{Rate: rate}
	d.Major, d.Minor = major, minor
	return d
}

// hookLine is a hook that appends a line to the case's record: its name, the
// state's status, its environment and folder. It leaves out what runc 1.1
// does in its own way: a createContainer hook's folder (the root file system)
// and the status that a poststart hook is told ("created").
func hookLine(h *host, name string) specs.Hook {
	show, cwd := `"status":"[a-z]*"`, " cwd=$(pwd)"
	if name == "poststart" || name == "5" {
		show = "no status"
	}
	if name == "createContainer" || name == "4" {
		cwd = ""
	}
	script := `read -r state; state=$(echo "$state" | tr -d ' \n\t' | grep -o '` + show + `\|"id":"[^"]*"\|"bundle":"[^"]*"' | sort | tr '\n' ' ')
echo "` + name + ` $state` + cwd + ` A=$A home=$HOME path=$PATH" >> ` + h.dir + `/record`
	return specs.Hook{Path: "/bin/sh", Args: []string{"sh", "-c", script}, Env: []string{"A=" + name}}
}

func hookCases() []scenario {
	one := func(name string, set func(*specs.Hooks, specs.Hook)) scenario {
		return scenario{name: "hook-" + name, do: q("echo ran"), bundle: func(h *host) []bundle.Option {
			return []bundle.Option{bundle.Edit(func(s *specs.Spec) {
				s.Hooks = &specs.Hooks{}
				set(s.Hooks, hookLine(h, name))
			})}
		}}
	}
	fail := specs.Hook{Path: "/bin/false"}
	return []scenario{
		one("prestart", func(k *specs.Hooks, x specs.Hook) { k.Prestart = append(k.Prestart, x) }), //nolint:staticcheck // the spec has it
		one("createRuntime", func(k *specs.Hooks, x specs.Hook) { k.CreateRuntime = append(k.CreateRuntime, x) }),
		one("createContainer", func(k *specs.Hooks, x specs.Hook) { k.CreateContainer = append(k.CreateContainer, x) }),
		one("poststart", func(k *specs.Hooks, x specs.Hook) { k.Poststart = append(k.Poststart, x) }),
		one("poststop", func(k *specs.Hooks, x specs.Hook) { k.Poststop = append(k.Poststop, x) }),
		{name: "hook-order", do: q("echo ran"), bundle: func(h *host) []bundle.Option {
			return []bundle.Option{bundle.Edit(func(s *specs.Spec) {
				s.Hooks = &specs.Hooks{
					Prestart:        []specs.Hook{hookLine(h, "1"), hookLine(h, "2")}, //nolint:staticcheck // the spec has it
					CreateRuntime:   []specs.Hook{hookLine(h, "3")},
					CreateContainer: []specs.Hook{hookLine(h, "4")},
					Poststart:       []specs.Hook{hookLine(h, "5")},
					Poststop:        []specs.Hook{hookLine(h, "6"), hookLine(h, "7")},
				}
			})}
		}},
		{name: "hook-startContainer", do: q("read /record"), bundle: edit(func(s *specs.Spec) {
			s.Hooks = &specs.Hooks{StartContainer: []specs.Hook{{Path: "/bin/sh", Env: []string{"A=b"},
				Args: []string{"sh", "-c", "echo $A $(pwd) $(id -u) > /record"}}}}
		})},
		{name: "hook-fails-prestart", fails: true, bundle: edit(func(s *specs.Spec) {
			s.Hooks = &specs.Hooks{Prestart: []specs.Hook{fail}} //nolint:staticcheck // the spec has it
		})},
		{name: "hook-fails-createRuntime", fails: true, bundle: edit(func(s *specs.Spec) {
			s.Hooks = &specs.Hooks{CreateRuntime: []specs.Hook{fail}}
		})},
		{name: "hook-fails-createContainer", fails: true, bundle: edit(func(s *specs.Spec) {
			s.Hooks = &specs.Hooks{CreateContainer: []specs.Hook{fail}}
		})},
		{name: "hook-fails-startContainer", fails: true, bundle: edit(func(s *specs.Spec) {
			s.Hooks = &specs.Hooks{StartContainer: []specs.Hook{fail}}
		})},
		{name: "hook-times-out", fails: true, bundle: edit(func(s *specs.Spec) {
			s.Hooks = &specs.Hooks{CreateRuntime: []specs.Hook{{Path: "/bin/sleep", Args: []string{"sleep", "15"}, Timeout: ptr(1)}}}
		})},
		{name: "hook-relative-path", fails: true, says: "hook", bundle: edit(func(s *specs.Spec) {
			s.Hooks = &specs.Hooks{CreateRuntime: []specs.Hook{{Path: "bin/true"}}}
		})},
	}
}
