package differential

import (
	"berth/test/bundle"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

func confinementCases() []scenario {
	caps := func(f func(*specs.LinuxCapabilities)) bundle.Option {
		return bundle.Edit(func(s *specs.Spec) { f(s.Process.Capabilities) })
	}
	all := []string{"CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_SYS_ADMIN", "CAP_SYS_PTRACE", "CAP_NET_ADMIN", "CAP_SYSLOG",
		"CAP_BPF", "CAP_PERFMON", "CAP_CHECKPOINT_RESTORE", "CAP_AUDIT_READ", "CAP_SETFCAP", "CAP_MAC_ADMIN"}
	return []scenario{
		{name: "masked-files", do: q("read /proc/kcore 16", "stat /proc/kcore", "list /proc/scsi", "list /sys/firmware",
			"try-open /proc/keys r", "mkdir /sys/firmware/x", "read /proc/timer_list 16")},
		{name: "masked-none", bundle: edit(func(s *specs.Spec) { s.Linux.MaskedPaths, s.Linux.ReadonlyPaths = nil, nil }),
			do: q("try-open /proc/keys r", "try-open /proc/sys/kernel/hostname w", "read /proc/keys 0")},
		{name: "masked-own", bundle: with(bundle.File("/secret/file", "text", 0o644), bundle.File("/secret2", "text", 0o644),
			bundle.Edit(func(s *specs.Spec) { s.Linux.MaskedPaths = []string{"/secret", "/secret2", "/nothing"} })),
			do: q("list /secret", "read /secret2", "stat /nothing", "try-open /secret/x create")},
		{name: "masked-relative", bundle: edit(func(s *specs.Spec) { s.Linux.MaskedPaths = []string{"etc/passwd"} }),
			do: q("read /etc/passwd")},
		{name: "read-only-paths", do: q("try-open /proc/sys/kernel/hostname w", "try-open /proc/sysrq-trigger w",
			"try-open /proc/sys/kernel/hostname r", "statfs /proc/sys", "statfs /proc")},
		{name: "read-only-own", bundle: with(bundle.File("/data/file", "text", 0o666), bundle.Edit(func(s *specs.Spec) {
			s.Linux.ReadonlyPaths = []string{"/data", "/nothing"}
		})), do: q("write /data/file x", "read /data/file", "try-open /data/x create")},
		{name: "caps-none", bundle: edit(func(s *specs.Spec) { s.Process.Capabilities = &specs.LinuxCapabilities{} })},
		{name: "caps-absent", bundle: edit(func(s *specs.Spec) { s.Process.Capabilities = nil })},
		{name: "caps-many", bundle: with(bundle.Caps(all...))},
		{name: "caps-user", bundle: with(bundle.Caps(all...), bundle.User(1000, 1000))},
		{name: "caps-ambient-user", bundle: with(bundle.User(1000, 1000), caps(func(c *specs.LinuxCapabilities) {
			c.Ambient, c.Inheritable = []string{"CAP_CHOWN", "CAP_KILL"}, []string{"CAP_CHOWN", "CAP_KILL"}
		}))},
		{name: "caps-ambient-without-inheritable", bundle: with(bundle.User(1000, 1000), caps(func(c *specs.LinuxCapabilities) {
			c.Ambient = []string{"CAP_CHOWN"}
		}))},
		{name: "caps-inheritable", bundle: with(caps(func(c *specs.LinuxCapabilities) { c.Inheritable = []string{"CAP_CHOWN"} }))},
		{name: "caps-effective-less", bundle: with(caps(func(c *specs.LinuxCapabilities) { c.Effective = []string{"CAP_CHOWN"} }))},
		{name: "caps-unknown", bundle: with(caps(func(c *specs.LinuxCapabilities) {
			c.Bounding = append(c.Bounding, "CAP_NO_SUCH")
		}))},
		{name: "seccomp-default", bundle: with(bundle.Seccomp())},
		{name: "seccomp-default-user", bundle: with(bundle.Seccomp(), bundle.User(1000, 1000), bundle.Edit(func(s *specs.Spec) {
			s.Process.NoNewPrivileges = true
		}))},
		{name: "seccomp-default-calls", bundle: with(bundle.Seccomp()), do: q("try-syscall 165 a b c 0 0", // mount
			"try-syscall 272 0x20000000", "try-syscall 435 0 0", "try-syscall 246 0 0 0 0", // unshare clone3 kexec_load
			"try-syscall 1000", "try-syscall 39", "socket 38 5 0", "socket 40 1 0", "socket 2 1 0", "try-syscall 425 1 0",
			"try-syscall 323 0", "try-syscall 321 0 0 0", "try-syscall 250 0 0 0", "try-syscall 135 8", "try-syscall 135 0")},
		{name: "seccomp-errno", bundle: seccompRules(specs.ActAllow, specs.LinuxSyscall{Names: []string{"mkdir", "mkdirat"},
			Action: specs.ActErrno, ErrnoRet: errno(99)}), do: q("mkdir /x", "create /y z")},
		{name: "seccomp-arguments", bundle: seccompRules(specs.ActAllow, specs.LinuxSyscall{Names: []string{"kill"},
			Action: specs.ActErrno, ErrnoRet: errno(98), Args: []specs.LinuxSeccompArg{{Index: 1, Value: 10, Op: specs.OpEqualTo}}},
			specs.LinuxSyscall{Names: []string{"kill"}, Action: specs.ActErrno, ErrnoRet: errno(97),
				Args: []specs.LinuxSeccompArg{{Index: 1, Value: 0x30, ValueTwo: 0x20, Op: specs.OpMaskedEqual}}}),
			do: q("try-syscall 62 1 10", "try-syscall 62 99999 0", "try-syscall 62 99999 0x20", "try-syscall 62 99999 0x120")},
		{name: "seccomp-64-bit-arguments", bundle: seccompRules(specs.ActAllow, specs.LinuxSyscall{Names: []string{"lseek"},
			Action: specs.ActErrno, ErrnoRet: errno(96), Args: []specs.LinuxSeccompArg{{Index: 1, Value: 1 << 32, Op: specs.OpGreaterThan}}}),
			do: q("try-syscall 8 999 4294967296 0", "try-syscall 8 999 4294967297 0", "try-syscall 8 999 1 0")},
		{name: "seccomp-kill", bundle: seccompRules(specs.ActAllow, specs.LinuxSyscall{Names: []string{"setns"},
			Action: specs.ActKillProcess}), do: q("try-syscall 308 99 0")},
		{name: "seccomp-default-errno", bundle: func(*host) []bundle.Option {
			return []bundle.Option{bundle.Seccomp(), bundle.Edit(func(s *specs.Spec) { s.Linux.Seccomp.DefaultErrnoRet = errno(77) })}
		}, do: q("try-syscall 246 0 0 0 0", "try-syscall 1000")},
		{name: "seccomp-unknown-name", bundle: seccompRules(specs.ActAllow, specs.LinuxSyscall{
			Names: []string{"no_such_call", "mkdir", "mkdirat"}, Action: specs.ActErrno}), do: q("mkdir /x")},
		{name: "seccomp-unknown-action", fails: true, bundle: seccompRules("SCMP_ACT_NOSUCH")},
		{name: "seccomp-log", bundle: seccompRules(specs.ActLog), do: q("mkdir /x")},
	}
}

func errno(n uint) *uint { return &n }

func seccompRules(action specs.LinuxSeccompAction, rules ...specs.LinuxSyscall) func(*host) []bundle.Option {
	return edit(func(s *specs.Spec) {
		s.Linux.Seccomp = &specs.LinuxSeccomp{DefaultAction: action, Syscalls: rules,
			Architectures: []specs.Arch{specs.ArchX86_64, specs.ArchX86, specs.ArchX32}}
	})
}
