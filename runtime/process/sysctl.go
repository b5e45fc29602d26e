package process

import (
	"os"
	"slices"
	"strconv"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"berth/runtime/initproc"
	"berth/runtime/plan"
)

// maxSysctlValue is a page less the NUL: what one write to /proc/sys takes.
const maxSysctlValue = 4095

// sysctls plans linux.sysctl, in the order of the names. Only parameters that
// belong to a namespace of the container's own are allowed: all others would
// change the host (security class V13).
func sysctls(b *plan.Builder, spec *specs.Spec, o *Options) error {
	if spec.Linux == nil {
		return nil
	}
	names := make([]string, 0, len(spec.Linux.Sysctl))
	for name := range spec.Linux.Sysctl {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		value := spec.Linux.Sysctl[name]
		field := "linux.sysctl[" + strconv.Quote(clip(name)) + "]"
		parts, err := sysctlParts(field, name)
		if err != nil {
			return err
		}
		if guardSysctl {
			if err := sysctlAllowed(field, parts, o); err != nil {
				return err
			}
		}
		if len(value) > maxSysctlValue {
			return invalid(field, "the value is longer than %d bytes", maxSysctlValue)
		}
		if strings.ContainsAny(value, "\x00\n\r") {
			return invalid(field, "the value has a line break or NUL byte")
		}
		b.Add(&initproc.Sysctl{Path: strings.Join(parts, "/"), Value: value})
	}
	return nil
}

// sysctlParts splits a name. Whichever of . and / comes first separates, and
// the other one then stands for it inside a part: net.ipv4.conf.eth0/1.forwarding
// and net/ipv4/conf/eth0.1/forwarding are the same, see sysctl(8).
func sysctlParts(field, name string) ([]string, error) {
	if len(name) > 1024 || hasControl(name) {
		return nil, invalid(field, "not a sysctl's name")
	}
	i := strings.IndexAny(name, "./")
	if i < 0 {
		return nil, invalid(field, "not a sysctl's name")
	}
	slashes := name[i] == '/'
	parts := strings.Split(name, name[i:i+1])
	for j := range parts {
		if !slashes {
			parts[j] = strings.ReplaceAll(parts[j], "/", ".")
		}
		if parts[j] == "" || parts[j] == "." || parts[j] == ".." {
			return nil, invalid(field, "not a sysctl's name")
		}
	}
	return parts, nil
}

// sysctlAllowed holds the allow list.
func sysctlAllowed(field string, parts []string, o *Options) error {
	kind := ""
	flag := 0
	switch parts[0] {
	case "net":
		kind, flag = "network", unix.CLONE_NEWNET
	case "fs":
		if parts[1] == "mqueue" && len(parts) == 3 {
			kind, flag = "IPC", unix.CLONE_NEWIPC
		}
	case "kernel":
		if len(parts) != 2 {
			break
		}
		switch parts[1] {
		case "msgmax", "msgmnb", "msgmni", "sem", "shmall", "shmmax", "shmmni", "shm_rmid_forced":
			kind, flag = "IPC", unix.CLONE_NEWIPC
		case "domainname":
			kind, flag = "UTS", unix.CLONE_NEWUTS
		case "hostname":
			return invalid(field, "use the field hostname instead")
		}
	}
	if flag == 0 {
		return invalid(field, "it belongs to no namespace, setting it would change the host")
	}
	if !o.Namespaces.Has(flag) {
		return invalid(field, "it takes a private %s namespace", kind)
	}
	for _, join := range o.Namespaces.Join {
		if join.Flag == flag && sameNamespace(join.Path, flag) {
			return invalid(field, "the %s namespace %s is the host's", kind, join.Path)
		}
	}
	return nil
}

// sameNamespace reports whether path is the caller's own namespace. A path that
// cannot be looked at fails later, with a better error.
func sameNamespace(path string, flag int) bool {
	own := "/proc/self/ns/net"
	switch flag {
	case unix.CLONE_NEWIPC:
		own = "/proc/self/ns/ipc"
	case unix.CLONE_NEWUTS:
		own = "/proc/self/ns/uts"
	}
	a, err1 := os.Stat(path)
	b, err2 := os.Stat(own)
	return err1 == nil && err2 == nil && os.SameFile(a, b)
}
