package bundle

import (
	"slices"
	"strings"

	"berth/base/fault"
	"berth/container/config"
)

// capNames are the capabilities in the order of the kernel's numbers,
// capabilities(7).
var capNames = []string{
	"CHOWN", "DAC_OVERRIDE", "DAC_READ_SEARCH", "FOWNER", "FSETID", "KILL", "SETGID", "SETUID", "SETPCAP",
	"LINUX_IMMUTABLE", "NET_BIND_SERVICE", "NET_BROADCAST", "NET_ADMIN", "NET_RAW", "IPC_LOCK", "IPC_OWNER",
	"SYS_MODULE", "SYS_RAWIO", "SYS_CHROOT", "SYS_PTRACE", "SYS_PACCT", "SYS_ADMIN", "SYS_BOOT", "SYS_NICE",
	"SYS_RESOURCE", "SYS_TIME", "SYS_TTY_CONFIG", "MKNOD", "LEASE", "AUDIT_WRITE", "AUDIT_CONTROL", "SETFCAP",
	"MAC_OVERRIDE", "MAC_ADMIN", "SYSLOG", "WAKE_ALARM", "BLOCK_SUSPEND", "AUDIT_READ", "PERFMON", "BPF",
	"CHECKPOINT_RESTORE",
}

// Docker's fourteen; Podman's eleven are without the last three.
var defaultCaps = []string{
	"CHOWN", "DAC_OVERRIDE", "FSETID", "FOWNER", "SETGID", "SETUID", "SETFCAP", "SETPCAP", "NET_BIND_SERVICE",
	"SYS_CHROOT", "KILL", "MKNOD", "NET_RAW", "AUDIT_WRITE",
}

const podmanCaps = 11

// DefaultCaps are the capabilities that a container of a dialect has without being
// asked, with CAP_ in front.
func DefaultCaps(dialect string) []string {
	base := defaultCaps
	if dialect == "podman" {
		base = defaultCaps[:podmanCaps]
	}
	var out []string
	for _, name := range base {
		out = append(out, "CAP_"+name)
	}
	return out
}

const allCaps = "ALL"

// hostCaps are those that the engine itself can give: all, in a user namespace
// of the container's own.
func (m *maker) hostCaps() uint64 {
	if m.privateUsers() || m.in.Join.User != "" || m.in.Host.Caps == 0 {
		return ^uint64(0)
	}
	return m.in.Host.Caps
}

// capabilities lists what the container has, sorted by number: the defaults less
// the dropped, more the added. "ALL" added is all but the dropped; "ALL" dropped
// leaves the added.
func capabilities(c *config.Config, host uint64) ([]string, error) {
	base := defaultCaps
	if c.Image.Dialect == "podman" {
		base = defaultCaps[:podmanCaps]
	}
	add, err := parseCaps("CapAdd", c.Security.CapAdd)
	if err != nil {
		return nil, err
	}
	drop, err := parseCaps("CapDrop", c.Security.CapDrop)
	if err != nil {
		return nil, err
	}
	has := func(name string) bool {
		switch {
		case c.Security.Privileged:
			return true
		case c.Security.Nested:
			return !slices.Contains(drop, name)
		case slices.Contains(add, allCaps):
			return !slices.Contains(drop, name)
		case slices.Contains(add, name):
			return true
		case slices.Contains(drop, allCaps), slices.Contains(drop, name):
			return false
		}
		return slices.Contains(base, name)
	}
	out := []string{}
	for i, name := range capNames {
		// What was asked for by name and cannot be had fails later, by its name.
		if has(name) && (host>>i&1 == 1 || slices.Contains(add, name)) {
			out = append(out, "CAP_"+name)
		}
	}
	return out, nil
}

func parseCaps(field string, list []string) ([]string, error) {
	var out []string
	for _, s := range list {
		name := strings.TrimPrefix(strings.ToUpper(s), "CAP_")
		if name != allCaps && !slices.Contains(capNames, name) {
			return nil, fault.New(fault.Invalid, "invalid %s: unknown capability: %q", field, "CAP_"+name)
		}
		out = append(out, name)
	}
	return out, nil
}
