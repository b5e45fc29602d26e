package bundle

import (
	"maps"
	"math"
	"path"
	"slices"
	"strconv"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"berth/base/fault"
	"berth/container/config"
)

// Inputs is what the verbs found out for one start. All paths are the host's.
type Inputs struct {
	ID       string
	Hostname string
	Root     string // where the root file system is shown; the runtime mounts it
	// UIDs and GIDs are the maps of a private user namespace; none: the host's, or
	// Join.User's.
	UIDs, GIDs []specs.LinuxIDMapping
	Join       Namespaces
	Mounts     []Mount // in any order
	Files      Files
	Devices    *HostDevices // nil: none were asked for
	Host       Host
	// Init is the program for --init: berth-helper.
	Init string
	// CgroupParent is used when the configuration names none: "/berth" if empty, a
	// slice with SystemdCgroup.
	CgroupParent  string
	SystemdCgroup bool
	// Labels are those of the host's security modules.
	Labels Labels
	// Ulimits are the engine's defaults; the configuration's own win.
	Ulimits []config.Ulimit
	// Rootless: the engine is not root of the host.
	Rootless bool
	// Environment is put before the user's: proxies, links.
	Environment []string
	// Annotations for the runtime; an image's never get here.
	Annotations map[string]string
	Secrets     Secrets
}

// Labels are what AppArmor and SELinux confine with; "" where the host has them not.
type Labels struct{ AppArmor, SELinux, SELinuxMount string }

// Namespaces are paths of namespaces to join; "" for one of its own.
type Namespaces struct{ User, Network, PID, IPC, UTS, Cgroup string }

// Files are the host's files that are bound over those in /etc; "" for none.
// They are bound as they are: their owner is the container's root.
type Files struct{ Hostname, Hosts, Resolv string }

// Bundle is what the runtime is given for one start.
type Bundle struct {
	Spec *specs.Spec
	// User and Groups are names or numbers, to be looked up by the first process in
	// the container's own /etc/passwd and /etc/group once its root is there:
	// USER[:GROUP], "" for root. Spec.Process.User holds the umask alone.
	User   string
	Groups []string
}

// maker makes one spec.
type maker struct {
	c    *config.Config
	r    *Resolved
	in   *Inputs
	spec *specs.Spec
}

// Spec makes the OCI configuration of one start. It is pure. Error: Invalid, in
// Docker's words where it has them.
func Spec(c *config.Config, r *Resolved, in *Inputs) (*Bundle, error) {
	m := &maker{c: c, r: r, in: in, spec: &specs.Spec{
		Version: specs.Version,
		Root:    &specs.Root{Path: in.Root, Readonly: c.Security.ReadOnlyRoot},
		Linux:   &specs.Linux{},
	}}
	for _, part := range []func() error{m.namespaces, m.process, m.mounts, m.resources, m.devices, m.injected, m.kernel, m.seccomp} {
		if err := part(); err != nil {
			return nil, err
		}
	}
	m.hide()
	b := &Bundle{Spec: m.spec, User: r.User, Groups: c.Process.Groups}
	if in.Devices != nil {
		b.Groups = append(slices.Clip(b.Groups), in.Devices.CDI.Groups...)
	}
	return b, nil
}

// privateUsers reports whether the container has a user namespace of its own.
func (m *maker) privateUsers() bool { return len(m.in.UIDs) > 0 }

// mapsMounts reports whether files of the host get the container's ids by id-mapped
// mounts: an ordinary user can make none.
func (m *maker) mapsMounts() bool {
	return !m.in.Rootless && (m.privateUsers() || m.in.Join.User != "")
}

// namespaces are all eight, unless one is the host's or another's.
func (m *maker) namespaces() error {
	l, ns := m.spec.Linux, &m.c.Namespaces
	if !isIPC(ns.IPC) {
		return fault.New(fault.Invalid, "Invalid IPC mode: %s", ns.IPC)
	}
	add := func(kind specs.LinuxNamespaceType, mode, join string) error {
		if join == "" && strings.HasPrefix(mode, "container:") {
			return fault.New(fault.Invalid, "%s: no namespace was found for the %s namespace", mode, kind)
		}
		if p, ok := strings.CutPrefix(mode, "ns:"); ok && join == "" {
			join = p
		}
		if mode != "host" || join != "" {
			l.Namespaces = append(l.Namespaces, specs.LinuxNamespace{Type: kind, Path: join})
		}
		return nil
	}
	if m.privateUsers() {
		l.UIDMappings, l.GIDMappings = m.in.UIDs, m.in.GIDs
	}
	if m.privateUsers() || m.in.Join.User != "" {
		l.Namespaces = append(l.Namespaces, specs.LinuxNamespace{Type: specs.UserNamespace, Path: m.in.Join.User})
	}
	l.Namespaces = append(l.Namespaces, specs.LinuxNamespace{Type: specs.MountNamespace})
	for _, n := range []struct {
		kind       specs.LinuxNamespaceType
		mode, join string
	}{
		{specs.NetworkNamespace, m.c.Network.Mode, m.in.Join.Network}, {specs.PIDNamespace, ns.PID, m.in.Join.PID},
		{specs.IPCNamespace, ns.IPC, m.in.Join.IPC}, {specs.UTSNamespace, ns.UTS, m.in.Join.UTS},
		{specs.CgroupNamespace, ns.Cgroup, m.in.Join.Cgroup},
	} {
		if err := add(n.kind, n.mode, n.join); err != nil {
			return err
		}
	}
	l.Namespaces = append(l.Namespaces, specs.LinuxNamespace{Type: specs.TimeNamespace})
	return nil
}

// isIPC reports whether there is such a mode.
func isIPC(mode string) bool {
	return slices.Contains([]string{"", "none", "private", "shareable", "host"}, mode) ||
		strings.HasPrefix(mode, "container:") && mode != "container:" || strings.HasPrefix(mode, "ns:")
}

// own reports whether the container has a new namespace of a kind.
func (m *maker) own(kind specs.LinuxNamespaceType) bool {
	for _, n := range m.spec.Linux.Namespaces {
		if n.Type == kind {
			return n.Path == ""
		}
	}
	return false
}

// kernel sets names and kernel parameters.
func (m *maker) kernel() error {
	if m.own(specs.UTSNamespace) {
		m.spec.Hostname, m.spec.Domainname = m.in.Hostname, m.c.Domainname
	}
	sysctl := map[string]string{}
	if m.own(specs.NetworkNamespace) && !m.in.Rootless {
		// As with Docker: ports and ping need no rights in a network of one's own.
		sysctl["net.ipv4.ip_unprivileged_port_start"] = "0"
		last := math.MaxInt32
		switch {
		case m.privateUsers():
			last = lastMapped(m.in.GIDs)
		case m.in.Join.User != "":
			last = idsInside - 1
		}
		sysctl["net.ipv4.ping_group_range"] = "0 " + strconv.Itoa(last)
	}
	for name, value := range m.c.Security.Sysctls {
		if strings.ContainsAny(name+value, "\r\n\x00") {
			return fault.New(fault.Invalid, "sysctl %.80q has a line break or NUL byte", name)
		}
		if err := m.sysctlAllowed(name); err != nil {
			return err
		}
		sysctl[name] = value
	}
	m.spec.Linux.Sysctl = sysctl
	m.spec.Linux.MountLabel = m.in.Labels.SELinuxMount
	if len(m.c.Annotations)+len(m.in.Annotations) > 0 {
		m.spec.Annotations = map[string]string{}
		maps.Copy(m.spec.Annotations, m.c.Annotations)
		maps.Copy(m.spec.Annotations, m.in.Annotations)
	}
	return m.cgroupPath()
}

// sysctlAllowed refuses, in Docker's words, one of a namespace that is the
// host's; the runtime looks at all of them once more.
func (m *maker) sysctlAllowed(name string) error {
	name = strings.ReplaceAll(name, "/", ".")
	switch {
	case strings.HasPrefix(name, "net.") && m.c.Network.Mode == "host":
		return fault.New(fault.Invalid, "sysctl %q not allowed in host network namespace", name)
	case strings.HasPrefix(name, "kernel.") && m.c.Namespaces.IPC == "host":
		return fault.New(fault.Invalid, "sysctl %q is not allowed in the hosts ipc namespace", name)
	}
	return nil
}

// idsInside is how many ids the range of another container has.
const idsInside = 65536

// lastMapped is the last id of the range that begins at 0 inside.
func lastMapped(maps []specs.LinuxIDMapping) int {
	for _, m := range maps {
		if m.ContainerID == 0 {
			return int(m.Size) - 1
		}
	}
	return 0
}

func (m *maker) cgroupPath() error {
	parent := first(m.c.Resources.CgroupParent, m.in.CgroupParent)
	if strings.ContainsAny(parent, "\r\n\x00") {
		return fault.New(fault.Invalid, "cgroup parent %.80q has a line break or NUL byte", parent)
	}
	if m.in.SystemdCgroup {
		if !strings.HasSuffix(parent, ".slice") && parent != "" {
			return fault.New(fault.Invalid, "cgroup-parent for systemd cgroup should be a valid slice named as \"xxx.slice\"")
		}
		slice := "system.slice"
		if m.in.Rootless {
			slice = "user.slice"
		}
		m.spec.Linux.CgroupsPath = first(parent, slice) + ":berth:" + m.in.ID
		return nil
	}
	if parent != "" && path.Clean("/"+parent) == "/" {
		parent = "/"
	}
	m.spec.Linux.CgroupsPath = path.Join("/", first(parent, "/berth"), m.in.ID)
	return nil
}
