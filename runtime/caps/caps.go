// Package caps knows the names of Linux capabilities: capabilities(7).
//
// It grants and drops nothing, and has no opinion which of them a container
// should have. It links neither fmt nor maps, for the helper uses it. Row 2.
package caps

import (
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// names is in the order of the kernel's numbers, see uapi/linux/capability.h.
var names = [...]string{
	"CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_DAC_READ_SEARCH", "CAP_FOWNER", "CAP_FSETID",
	"CAP_KILL", "CAP_SETGID", "CAP_SETUID", "CAP_SETPCAP", "CAP_LINUX_IMMUTABLE",
	"CAP_NET_BIND_SERVICE", "CAP_NET_BROADCAST", "CAP_NET_ADMIN", "CAP_NET_RAW", "CAP_IPC_LOCK",
	"CAP_IPC_OWNER", "CAP_SYS_MODULE", "CAP_SYS_RAWIO", "CAP_SYS_CHROOT", "CAP_SYS_PTRACE",
	"CAP_SYS_PACCT", "CAP_SYS_ADMIN", "CAP_SYS_BOOT", "CAP_SYS_NICE", "CAP_SYS_RESOURCE",
	"CAP_SYS_TIME", "CAP_SYS_TTY_CONFIG", "CAP_MKNOD", "CAP_LEASE", "CAP_AUDIT_WRITE",
	"CAP_AUDIT_CONTROL", "CAP_SETFCAP", "CAP_MAC_OVERRIDE", "CAP_MAC_ADMIN", "CAP_SYSLOG",
	"CAP_WAKE_ALARM", "CAP_BLOCK_SUSPEND", "CAP_AUDIT_READ", "CAP_PERFMON", "CAP_BPF",
	"CAP_CHECKPOINT_RESTORE",
}

// Name returns the name of capability n, or "capability N" for one that is
// newer than this table.
func Name(n int) string {
	if n >= 0 && n < len(names) {
		return names[n]
	}
	return "capability " + strconv.Itoa(n)
}

// Parse returns the number of a capability by its name, in capitals and with
// CAP_, as the runtime-spec writes it.
func Parse(name string) (n int, ok bool) {
	for i, s := range names {
		if s == name {
			return i, true
		}
	}
	return 0, false
}

// Set turns names into a bit set of the capabilities that the running kernel
// has; the others come back in unknown.
func Set(list []string, last int) (set uint64, unknown []string) {
	for _, name := range list {
		if n, ok := Parse(name); ok && n <= last {
			set |= 1 << n
		} else {
			unknown = append(unknown, name)
		}
	}
	return set, unknown
}

// Join lists the names of a bit set, separated by commas.
func Join(set uint64) string {
	var list []string
	for n := 0; set != 0; n++ {
		if set&1 != 0 {
			list = append(list, Name(n))
		}
		set >>= 1
	}
	return strings.Join(list, ", ")
}

// Known lists the names of all capabilities of a kernel whose last one is
// last, as far as this table goes: what `features` prints.
func Known(last int) []string {
	return append([]string(nil), names[:min(last+1, len(names))]...)
}

// Last returns the number of the running kernel's last capability: from
// /proc/sys/kernel/cap_last_cap, or by asking prctl(2) for each.
func Last() int {
	if n, ok := lastOfProc(); ok {
		return n
	}
	n := 0
	for n < 63 {
		if _, err := unix.PrctlRetInt(unix.PR_CAPBSET_READ, uintptr(n+1), 0, 0, 0); err != nil {
			break
		}
		n++
	}
	return n
}

// lastOfProc reads the file without package os, whose files begin with a poller.
func lastOfProc() (int, bool) {
	fd, err := unix.Open("/proc/sys/kernel/cap_last_cap", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return 0, false
	}
	defer unix.Close(fd)
	var b [16]byte
	n, err := unix.Read(fd, b[:])
	if err != nil {
		return 0, false
	}
	last, err := strconv.Atoi(strings.TrimSpace(string(b[:n])))
	return last, err == nil && last >= 0 && last < 64
}
