package bundle

import (
	"slices"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"github.com/moby/profiles/seccomp"
)

// nestedDevices are what engines and file systems inside need, where the host has it.
var nestedDevices = []string{"/dev/fuse", "/dev/net/tun"}

// machineCaps are rights over the machine, which no user namespace but the first
// gives: no call is let through for their sake.
var machineCaps = []string{
	"CAP_SYS_MODULE", "CAP_SYS_RAWIO", "CAP_SYS_TIME", "CAP_SYS_PACCT", "CAP_SYSLOG", "CAP_BPF", "CAP_PERFMON", "CAP_MAC_ADMIN", "CAP_MAC_OVERRIDE",
	"CAP_WAKE_ALARM", "CAP_BLOCK_SUSPEND", "CAP_SYS_TTY_CONFIG",
}

// nestedCalls are what an engine needs besides docker's profile for CAP_SYS_ADMIN.
var nestedCalls = []string{"pivot_root", "keyctl", "add_key", "request_key"}

// machineCalls are in that profile, and work in the first user namespace alone.
var machineCalls = []string{"bpf", "perf_event_open", "lookup_dcookie", "quotactl", "quotactl_fd", "syslog", "kexec_load", "kexec_file_load", "swapon", "swapoff"}

// nestedSeccomp is the filter of a container in which others run.
func (m *maker) nestedSeccomp() (*specs.LinuxSeccomp, error) {
	spec, process, caps := *m.spec, *m.spec.Process, *m.spec.Process.Capabilities
	spec.Process, process.Capabilities = &process, &caps
	caps.Bounding = slices.DeleteFunc(slices.Clone(caps.Bounding), func(c string) bool { return slices.Contains(machineCaps, c) })
	profile, err := seccomp.GetDefaultProfile(&spec)
	if err != nil {
		return nil, err
	}
	for i := range profile.Syscalls {
		s := &profile.Syscalls[i]
		if s.Action == specs.ActAllow {
			s.Names = slices.DeleteFunc(slices.Clone(s.Names), func(n string) bool { return slices.Contains(machineCalls, n) })
		}
	}
	profile.Syscalls = slices.DeleteFunc(profile.Syscalls, func(s specs.LinuxSyscall) bool { return len(s.Names) == 0 })
	profile.Syscalls = append(profile.Syscalls, specs.LinuxSyscall{Names: slices.Clone(nestedCalls), Action: specs.ActAllow})
	return profile, nil
}
