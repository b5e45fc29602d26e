package bundle

import (
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/moby/profiles/seccomp"

	"berth/base/fault"
)

// maskedPaths show the host's secrets or heat and power, by which other
// containers can be listened to: the union of what other engines hide, and what
// only helps an attacker.
var maskedPaths = []string{
	"/proc/acpi", "/proc/asound", "/proc/config.gz", "/proc/interrupts", "/proc/kallsyms", "/proc/kcore", "/proc/keys",
	"/proc/latency_stats", "/proc/sched_debug", "/proc/scsi", "/proc/timer_list", "/proc/timer_stats",
	"/sys/devices/virtual/powercap", "/sys/firmware", "/sys/fs/selinux",
	"/sys/kernel/debug", "/sys/kernel/security", "/sys/kernel/tracing",
}

var readonlyPaths = []string{"/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"}

// Hidden are the paths that a container cannot see, and those below which it cannot
// write, without being asked.
func Hidden(host *Host) (masked, readonly []string) {
	return append(slices.Clone(maskedPaths), host.Thermal...), slices.Clone(readonlyPaths)
}

// hide masks paths, unless the container is privileged or was told not to: a kernel
// mounts no /proc in a namespace that sees one with parts hidden.
func (m *maker) hide() {
	s := &m.c.Security
	if s.Privileged || s.Nested || s.SystemPaths == "unconfined" || slices.ContainsFunc(s.Unmask, func(u string) bool { return strings.EqualFold(u, "all") }) {
		m.spec.Linux.MaskedPaths = slices.Clone(s.Mask)
		return
	}
	unmasked := func(p string) bool {
		return slices.ContainsFunc(s.Unmask, func(list string) bool {
			return slices.ContainsFunc(strings.Split(list, ":"), func(u string) bool {
				ok, err := path.Match(u, p)
				return err == nil && ok
			})
		})
	}
	mask, readonly := Hidden(&m.in.Host)
	mask = append(mask, s.Mask...)
	m.spec.Linux.MaskedPaths = slices.DeleteFunc(mask, unmasked)
	m.spec.Linux.ReadonlyPaths = slices.DeleteFunc(readonly, unmasked)
}

// seccomp settles the filter: Docker's profile for the container's capabilities.
func (m *maker) seccomp() error {
	s := &m.c.Security
	var err error
	switch {
	case s.Seccomp == "unconfined", s.Seccomp == "" && s.Privileged:
		return nil
	case s.Seccomp == "" && s.Nested:
		m.spec.Linux.Seccomp, err = m.nestedSeccomp()
	case s.Seccomp == "", s.Seccomp == "builtin", s.Seccomp == "default":
		m.spec.Linux.Seccomp, err = seccomp.GetDefaultProfile(m.spec)
	default:
		m.spec.Linux.Seccomp, err = seccomp.LoadProfile(s.Seccomp, m.spec)
	}
	if err != nil {
		return fault.Wrap(fault.Invalid, fmt.Errorf("seccomp profile: %w", err))
	}
	return nil
}
