package rootfs_test

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	specs "github.com/opencontainers/runtime-spec/specs-go"

	"berth/runtime/plan"
	"berth/runtime/rootfs"
)

var update = flag.Bool("update", false, "write the golden plans anew")

var hostRights = rootfs.Rights{Mount: true, Mknod: true}

// The golden plans need no rights: they are only made, not performed.
func TestPlans(t *testing.T) {
	for name, tt := range map[string]struct {
		spec *specs.Spec
		opt  rootfs.Options
	}{
		"spec":     {defaultSpec(), rootfs.Options{Rights: hostRights}},
		"docker":   {dockerSpec(), rootfs.Options{Rights: hostRights, Cgroup: v1View}},
		"docker2":  {dockerSpec(), rootfs.Options{Rights: hostRights, Cgroup: rootfs.CgroupView{Unified: true, Path: "/sys/fs/cgroup/docker/x"}}},
		"userns":   {usernsSpec(), rootfs.Options{Rights: hostRights, Cgroup: v1View}},
		"ordinary": {usernsSpec(), rootfs.Options{Cgroup: rootfs.CgroupView{Unified: true}}},
		"overlay": {usernsSpec(), rootfs.Options{Rights: hostRights, Cgroup: v1View, Overlay: &rootfs.Overlay{
			Store: "/store", Lower: []string{"/store/b/fs", "/store/a/fs"}, Upper: "/store/c/fs", Work: "/store/c/work", Options: []string{"index=off", "volatile"},
		}}},
		"view":   {dockerSpec(), rootfs.Options{Rights: hostRights, Cgroup: v1View, Overlay: &rootfs.Overlay{Store: "/store", Lower: []string{"/store/b", "/store/a"}}}},
		"folder": {usernsSpec(), rootfs.Options{Rights: hostRights, Cgroup: v1View, Overlay: &rootfs.Overlay{Store: "/store", Lower: []string{"/store/a"}}}},
		"nested": {usernsSpec(), rootfs.Options{Rights: rootfs.Rights{Mount: true}, NoPivot: true, Cgroup: v1View}},
	} {
		t.Run(name, func(t *testing.T) {
			tt.opt.Bundle = "/bundle"
			b := plan.New()
			must(t, rootfs.Before(b, tt.spec, tt.opt))
			must(t, rootfs.Pivot(b, tt.spec, tt.opt))
			got := strings.Join(b.Lines(), "\n") + "\n"
			path := filepath.Join("testdata", name+".plan")
			if *update {
				must(t, os.WriteFile(path, []byte(got), 0o644))
			}
			want, err := os.ReadFile(path)
			must(t, err)
			if d := cmp.Diff(string(want), got); d != "" {
				t.Error(d)
			}
		})
	}
}

var v1View = rootfs.CgroupView{Path: "/sys/fs/cgroup/unified/docker/x", V1: []rootfs.Hierarchy{
	{Name: "memory", Data: "memory", Path: "/sys/fs/cgroup/memory/docker/x"},
	{Name: "cpu,cpuacct", Data: "cpu,cpuacct", Path: "/sys/fs/cgroup/cpu,cpuacct/docker/x"},
	{Name: "systemd", Data: "none,name=systemd", Path: "/sys/fs/cgroup/systemd/docker/x"},
}}

func namespaces(kinds ...specs.LinuxNamespaceType) (list []specs.LinuxNamespace) {
	for _, k := range kinds {
		list = append(list, specs.LinuxNamespace{Type: k})
	}
	return list
}

// defaultSpec is what the command spec prints, as far as the root goes.
func defaultSpec() *specs.Spec {
	return &specs.Spec{
		Root:    &specs.Root{Path: "rootfs", Readonly: true},
		Process: &specs.Process{Cwd: "/"},
		Mounts: []specs.Mount{
			{Destination: "/proc", Type: "proc", Source: "proc"},
			{Destination: "/dev", Type: "tmpfs", Source: "tmpfs", Options: []string{"nosuid", "strictatime", "mode=755", "size=65536k"}},
			{Destination: "/dev/pts", Type: "devpts", Source: "devpts", Options: []string{"nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"}},
			{Destination: "/dev/shm", Type: "tmpfs", Source: "shm", Options: []string{"nosuid", "noexec", "nodev", "mode=1777", "size=65536k"}},
			{Destination: "/dev/mqueue", Type: "mqueue", Source: "mqueue", Options: []string{"nosuid", "noexec", "nodev"}},
			{Destination: "/sys", Type: "sysfs", Source: "sysfs", Options: []string{"nosuid", "noexec", "nodev", "ro"}},
		},
		Linux: &specs.Linux{
			Namespaces:    namespaces("pid", "network", "ipc", "uts", "mount"),
			MaskedPaths:   []string{"/proc/acpi", "/proc/kcore", "/sys/firmware"},
			ReadonlyPaths: []string{"/proc/bus", "/proc/sys"},
		},
	}
}

// dockerSpec adds what dockerd asks for.
func dockerSpec() *specs.Spec {
	s := defaultSpec()
	s.Root = &specs.Root{Path: "/var/lib/docker/rootfs/overlayfs/x"}
	s.Process.Cwd = "/srv/app/"
	s.Linux.Namespaces = namespaces("mount", "network", "uts", "pid", "ipc", "cgroup")
	s.Linux.RootfsPropagation = "rslave"
	s.Mounts = append(s.Mounts,
		specs.Mount{Destination: "/sys/fs/cgroup", Type: "cgroup", Source: "cgroup", Options: []string{"ro", "nosuid", "noexec", "nodev"}},
		specs.Mount{Destination: "/etc/hosts", Type: "bind", Source: "/var/lib/docker/containers/x/hosts", Options: []string{"rbind", "rprivate"}},
		specs.Mount{Destination: "/data", Type: "bind", Source: "/srv/data", Options: []string{"rbind", "rro", "rslave"}},
	)
	s.Linux.Devices = []specs.LinuxDevice{{Path: "/dev/net/tun", Type: "c", Major: 10, Minor: 200}, {Path: "/opt/null", Type: "c", Major: 1, Minor: 3}}
	return s
}

// usernsSpec is a container in a private user namespace with id-mapped volumes.
func usernsSpec() *specs.Spec {
	s := dockerSpec()
	s.Linux.Namespaces = namespaces("user", "mount", "network", "uts", "pid", "ipc", "cgroup")
	s.Linux.UIDMappings = []specs.LinuxIDMapping{{ContainerID: 0, HostID: 100000, Size: 65536}}
	s.Linux.GIDMappings = s.Linux.UIDMappings
	s.Linux.Devices = s.Linux.Devices[:1]
	s.Mounts[len(s.Mounts)-1].Options = []string{"rbind", "nodev"}
	s.Mounts = append(s.Mounts, specs.Mount{Destination: "/tmp", Type: "tmpfs", Source: "tmpfs", Options: []string{"tmpcopyup", "noexec"}})
	return s
}

// An id-mapped bind in a plan; without root it cannot even be planned.
func TestPlanIDMap(t *testing.T) {
	s := usernsSpec()
	s.Mounts = []specs.Mount{{Destination: "/v", Type: "bind", Source: "/v", Options: []string{"rbind", "ridmap"}}}
	b := plan.New()
	must(t, rootfs.Before(b, s, rootfs.Options{Bundle: "/b", Rights: hostRights}))
	if got := strings.Join(b.Lines(), "\n"); !strings.Contains(got, "tree of /v and below, rslave, id-mapped with all below as the container") {
		t.Error(got)
	}
}
