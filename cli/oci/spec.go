package oci

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"berth/base/fault"
	"berth/cli/oci/cmdline"
)

var specVerb = verb{
	name: "spec", summary: "write a config.json to begin with", min: 0, max: 0,
	about: `Writes config.json for a bundle whose root file system is in the folder rootfs
and whose process is "sh" on a terminal; it is meant to be edited. With
--rootless it is one that the calling user can run: with a user namespace for
the user's own ids and without what needs more rights.`,
	new: func() command { return new(specCommand) },
}

type specCommand struct {
	bundle   string
	rootless bool
}

const configFile = "config.json"

func (c *specCommand) flags(s *cmdline.Set) {
	s.Path(&c.bundle, "bundle,b", "folder of the bundle, the current one if not given")
	s.Bool(&c.rootless, "rootless", "write one for the calling user")
}

func (c *specCommand) run(_ context.Context, in *call) (int, error) {
	spec := exampleSpec(isV2())
	if c.rootless {
		makeRootless(spec, os.Geteuid(), os.Getegid())
	}
	data, err := json.MarshalIndent(spec, "", "\t")
	if err != nil {
		return 0, err
	}
	path := filepath.Join(c.bundle, configFile)
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o666)
	if errors.Is(err, os.ErrExist) {
		return 0, fault.New(fault.Invalid, "File %s exists. Remove it first", configFile)
	}
	if err != nil {
		return 0, err
	}
	if _, err := f.Write(data); err != nil {
		f.Close()
		os.Remove(path)
		return 0, fmt.Errorf("write %s: %w", path, err)
	}
	return 0, f.Close()
}

// isV2 reports whether cgroup v2 alone is mounted (cgroups(7)).
func isV2() bool {
	var st unix.Statfs_t
	return unix.Statfs("/sys/fs/cgroup", &st) == nil && st.Type == unix.CGROUP2_SUPER_MAGIC
}

// exampleSpec is runc's: what a new config.json holds.
func exampleSpec(v2 bool) *specs.Spec {
	kinds := []specs.LinuxNamespaceType{
		specs.PIDNamespace, specs.NetworkNamespace, specs.IPCNamespace, specs.UTSNamespace, specs.MountNamespace,
	}
	if v2 {
		kinds = append(kinds, specs.CgroupNamespace)
	}
	var namespaces []specs.LinuxNamespace
	for _, k := range kinds {
		namespaces = append(namespaces, specs.LinuxNamespace{Type: k})
	}
	return &specs.Spec{
		Version:  specs.Version,
		Process:  exampleProcess(),
		Root:     &specs.Root{Path: "rootfs", Readonly: true},
		Hostname: Name,
		Mounts:   exampleMounts(),
		Linux: &specs.Linux{
			Namespaces: namespaces,
			Resources:  &specs.LinuxResources{Devices: []specs.LinuxDeviceCgroup{{Allow: false, Access: "rwm"}}},
			MaskedPaths: []string{
				"/proc/acpi", "/proc/asound", "/proc/kcore", "/proc/keys", "/proc/latency_stats", "/proc/timer_list",
				"/proc/timer_stats", "/proc/sched_debug", "/sys/firmware", "/proc/scsi",
			},
			ReadonlyPaths: []string{"/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"},
		},
	}
}

func exampleProcess() *specs.Process {
	caps := func() []string { return []string{"CAP_AUDIT_WRITE", "CAP_KILL", "CAP_NET_BIND_SERVICE"} }
	return &specs.Process{
		Terminal:        true,
		Args:            []string{"sh"},
		Env:             []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "TERM=xterm"},
		Cwd:             "/",
		Capabilities:    &specs.LinuxCapabilities{Bounding: caps(), Effective: caps(), Permitted: caps()},
		Rlimits:         []specs.POSIXRlimit{{Type: "RLIMIT_NOFILE", Hard: 1024, Soft: 1024}},
		NoNewPrivileges: true,
	}
}

func exampleMounts() []specs.Mount {
	mount := func(to, kind, from, options string) specs.Mount {
		return specs.Mount{Destination: to, Type: kind, Source: from, Options: strings.Split(options, ",")}
	}
	return []specs.Mount{
		{Destination: "/proc", Type: "proc", Source: "proc"},
		mount("/dev", "tmpfs", "tmpfs", "nosuid,strictatime,mode=755,size=65536k"),
		mount("/dev/pts", "devpts", "devpts", "nosuid,noexec,newinstance,ptmxmode=0666,mode=0620,gid=5"),
		mount("/dev/shm", "tmpfs", "shm", "nosuid,noexec,nodev,mode=1777,size=65536k"),
		mount("/dev/mqueue", "mqueue", "mqueue", "nosuid,noexec,nodev"),
		mount("/sys", "sysfs", "sysfs", "nosuid,noexec,nodev,ro"),
		mount("/sys/fs/cgroup", "cgroup", "cgroup", "nosuid,noexec,nodev,relatime,ro"),
	}
}

// makeRootless takes out what a user has no rights for: an own network (and so
// an own sysfs), cgroup limits, and owners that the user's ids cannot be.
func makeRootless(s *specs.Spec, uid, gid int) {
	var namespaces []specs.LinuxNamespace
	for _, ns := range s.Linux.Namespaces {
		if ns.Type != specs.NetworkNamespace && ns.Type != specs.UserNamespace {
			namespaces = append(namespaces, ns)
		}
	}
	s.Linux.Namespaces = append(namespaces, specs.LinuxNamespace{Type: specs.UserNamespace})
	s.Linux.UIDMappings = []specs.LinuxIDMapping{{HostID: uint32(uid), Size: 1}}
	s.Linux.GIDMappings = []specs.LinuxIDMapping{{HostID: uint32(gid), Size: 1}}
	s.Linux.Resources = nil
	for i := range s.Mounts {
		m := &s.Mounts[i]
		if m.Destination == "/sys" {
			*m = specs.Mount{Destination: "/sys", Type: "none", Source: "/sys",
				Options: []string{"rbind", "nosuid", "noexec", "nodev", "ro"}}
			continue
		}
		var options []string
		for _, o := range m.Options {
			if !strings.HasPrefix(o, "uid=") && !strings.HasPrefix(o, "gid=") {
				options = append(options, o)
			}
		}
		m.Options = options
	}
}
