package isolation

import (
	specs "github.com/opencontainers/runtime-spec/specs-go"

	"berth/container"
	"berth/container/config"
)

// Subject is one container, as the verb found it.
type Subject struct {
	Record *container.Record
	// Asked is what a start asks of the kernel; nil: AskedError says why it is not known.
	Asked      *specs.Spec
	AskedError error
	PID        int // of the first process, 0: it does not run
	Ports      []config.Port
	// Cgroups are its folders, none: it has no cgroup.
	Cgroups map[string]string
	// DeviceFilters counts the programs on a v2 cgroup.
	DeviceFilters func(folder string) (int, error)
	Others        []Other
	Rootless      bool // an ordinary user's, or inside a container
	AppArmor      bool // the machine's is active
	SELinux       bool // the machine's is
	Log           Rotation
	Publish       string // where ports go that name no address, "" everywhere
	Probed        *container.Host
}

// Other is another container that runs.
type Other struct {
	Name string
	PID  int
}

// Rotation is how a log is bounded.
type Rotation struct {
	Driver  string
	MaxSize int64 // bytes, 0 none
	MaxFile int
	File    bool // it is a file of ours
}

// Container says what holds for one container: by the kernel if it runs, else by
// what was asked.
func Container(s *Subject) []Row {
	v := look(s)
	var rows []Row
	for _, part := range []func(*Subject, *view) []Row{namespaces, ids, rights, paths, devices, limits, surroundings} {
		rows = append(rows, part(s, v)...)
	}
	return rows
}

// view is what holds, seen in the kernel or, of a container that does not run, as
// it will be.
type view struct {
	running    bool
	namespaces map[string]membership // by the names of /proc/PID/ns
	uids       []specs.LinuxIDMapping
	status     *status
	label      string // of a security module
	mounts     mounts
	limits     limitsSeen
}

// membership is whose a namespace is.
type membership struct {
	state State    // Yes its own, Partly shared with another container, No the host's
	with  []string // names
}

// kinds are the namespaces, by the names of /proc/PID/ns and of the specification.
func kinds() []struct {
	name, what string
	spec       specs.LinuxNamespaceType
} {
	return []struct {
		name, what string
		spec       specs.LinuxNamespaceType
	}{
		{"user", "User namespace", specs.UserNamespace}, {"mnt", "Mount namespace", specs.MountNamespace}, {"pid", "Process namespace", specs.PIDNamespace},
		{"net", "Network namespace", specs.NetworkNamespace}, {"ipc", "IPC namespace", specs.IPCNamespace}, {"uts", "UTS namespace", specs.UTSNamespace},
		{"cgroup", "Cgroup namespace", specs.CgroupNamespace}, {"time", "Time namespace", specs.TimeNamespace},
	}
}

// look sees in the kernel, or in what was asked.
func look(s *Subject) *view {
	if s.PID != 0 {
		if v := seen(s); v != nil {
			return v
		}
	}
	return foreseen(s)
}

// foreseen is what a start asks for.
func foreseen(s *Subject) *view {
	v := &view{namespaces: map[string]membership{}}
	if s.Asked == nil {
		return v
	}
	l := s.Asked.Linux
	for _, k := range kinds() {
		v.namespaces[k.name] = membership{state: No}
		for _, n := range l.Namespaces {
			switch {
			case n.Type != k.spec:
			case n.Path == "":
				v.namespaces[k.name] = membership{state: Yes}
			default:
				v.namespaces[k.name] = membership{state: Partly, with: joined(&s.Record.Config, k.name)}
			}
		}
	}
	v.uids = l.UIDMappings
	v.status = &status{noNewPrivs: s.Asked.Process.NoNewPrivileges}
	if l.Seccomp != nil {
		v.status.seccomp = filtered
	}
	if c := s.Asked.Process.Capabilities; c != nil {
		v.status.bounding = setOf(c.Bounding)
	}
	v.label = s.Asked.Process.ApparmorProfile + s.Asked.Process.SelinuxLabel
	v.mounts = askedMounts(s.Asked)
	v.limits = askedLimits(s)
	return v
}

// joined is which container a namespace of a configuration is shared with.
func joined(c *config.Config, kind string) []string {
	mode := map[string]string{"net": c.Network.Mode, "pid": c.Namespaces.PID, "ipc": c.Namespaces.IPC, "uts": c.Namespaces.UTS, "cgroup": c.Namespaces.Cgroup}[kind]
	if kind == "user" {
		for _, mode = range []string{c.Network.Mode, c.Namespaces.PID, c.Namespaces.IPC} {
			if name, ok := other(mode); ok {
				return []string{name}
			}
		}
	}
	if name, ok := other(mode); ok {
		return []string{name}
	}
	return []string{mode}
}
