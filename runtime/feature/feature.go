// Package feature lists what package runtime can do, in the form of features.md
// of the OCI runtime specification. It says what the code knows, not what this
// kernel allows, but for capabilities and seccomp flags, where the
// specification asks for the latter. Row 2, part of the room runtime.
package feature

import (
	specs "github.com/opencontainers/runtime-spec/specs-go"
	"github.com/opencontainers/runtime-spec/specs-go/features"

	"berth/runtime/caps"
	"berth/runtime/seccomp"
	"berth/sys/mount"
)

// All returns the features.
func All() *features.Features {
	return &features.Features{
		OCIVersionMin: "1.0.0",
		OCIVersionMax: specs.Version,
		Hooks:         Hooks(),
		MountOptions:  MountOptions(),
		Linux: &features.Linux{
			Namespaces:   Namespaces(),
			Capabilities: caps.Known(caps.Last()),
			Cgroup:       &features.Cgroup{V1: yes(), V2: yes(), Systemd: yes(), SystemdUser: yes(), Rdma: yes()},
			Seccomp: &features.Seccomp{
				Enabled:        yes(),
				Actions:        seccomp.Actions(),
				Operators:      seccomp.Operators(),
				Archs:          seccomp.Architectures(),
				KnownFlags:     seccomp.KnownFlags(),
				SupportedFlags: seccomp.SupportedFlags(),
			},
			Apparmor:        &features.Apparmor{Enabled: yes()},
			Selinux:         &features.Selinux{Enabled: yes()},
			IntelRdt:        &features.IntelRdt{Enabled: yes(), Schemata: yes(), Monitoring: yes()},
			MemoryPolicy:    &features.MemoryPolicy{Modes: MemoryModes(), Flags: MemoryFlags()},
			MountExtensions: &features.MountExtensions{IDMap: &features.IDMap{Enabled: yes()}},
			NetDevices:      &features.NetDevices{Enabled: yes()},
		},
		PotentiallyUnsafeConfigAnnotations: []string{"org.systemd.property."},
	}
}

func yes() *bool { b := true; return &b }

// Hooks are the hooks of config.md, in the order in which they run.
func Hooks() []string {
	return []string{"prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop"}
}

// Namespaces are the kinds of namespaces, in order of names.
func Namespaces() []string {
	kinds := []specs.LinuxNamespaceType{
		specs.CgroupNamespace, specs.IPCNamespace, specs.MountNamespace, specs.NetworkNamespace,
		specs.PIDNamespace, specs.TimeNamespace, specs.UserNamespace, specs.UTSNamespace,
	}
	var names []string
	for _, k := range kinds {
		names = append(names, string(k))
	}
	return names
}

// MemoryModes are the modes of memory policies (set_mempolicy(2)).
func MemoryModes() []string {
	return []string{
		string(specs.MpolBind), string(specs.MpolDefault), string(specs.MpolInterleave), string(specs.MpolLocal),
		string(specs.MpolPreferred), string(specs.MpolPreferredMany), string(specs.MpolWeightedInterleave),
	}
}

// MemoryFlags are the flags of memory policies.
func MemoryFlags() []string {
	return []string{string(specs.MpolFNumaBalancing), string(specs.MpolFRelativeNodes), string(specs.MpolFStaticNodes)}
}

// MountOptions are the options of mounts that are known whatever the file
// system, in order of names (config.md, "Linux mount options").
func MountOptions() []string {
	return mount.MountOptions()
}
