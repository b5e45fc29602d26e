package runtime

import (
	"fmt"

	"github.com/opencontainers/runtime-spec/specs-go/features"
	"golang.org/x/sys/unix"

	"berth/runtime/caps"
	"berth/runtime/cgroup"
	"berth/runtime/cgroup/devfilter"
	"berth/runtime/feature"
	"berth/runtime/lsm"
)

// Features returns what this runtime can do, without annotations.
func Features() *features.Features { return feature.All() }

// Capabilities are the names of all that this kernel knows.
func Capabilities() []string { return caps.Known(caps.Last()) }

// Controllers says how this machine mounts its cgroups, "v1", "hybrid" or "v2", and
// which controllers limit here: of v1 and v2 together.
func Controllers() (layout string, names []string, err error) {
	l, err := cgroup.Detect()
	if err != nil {
		return "none", nil, err
	}
	defer l.Close()
	return l.Mode.String(), l.Controllers(), nil
}

// AppArmor reports whether AppArmor is active.
func AppArmor() bool { return lsm.AppArmor() }

// SELinux reports whether SELinux is active, permissive or not.
func SELinux() bool { return lsm.SELinux() }

// HasProfile reports whether AppArmor has a profile in the kernel that this process,
// which has none of its own, may put others into.
func HasProfile(name string) bool { return lsm.Loaded(name) && lsm.Own() == "" }

// OwnProfile is the AppArmor profile that confines this process, "" for none.
func OwnProfile() string {
	if !lsm.AppArmor() {
		return ""
	}
	return lsm.Own()
}

// CgroupFolders are the cgroups of a container that has not stopped: by v1
// controller, the unified one under "". None: it has no cgroup.
func CgroupFolders(rt *Runtime, id string) (map[string]string, error) {
	cg, err := rt.liveCgroup(id)
	if err != nil {
		return nil, err
	}
	defer cg.Close()
	return cg.Paths(), nil
}

// DeviceFilters counts the programs of ours that bound the devices of a v2 cgroup,
// by its folder. It takes the rights to ask: bpf(2), BPF_PROG_QUERY.
func DeviceFilters(folder string) (int, error) {
	fd, err := unix.Open(folder, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return 0, fmt.Errorf("open %s: %w", folder, err)
	}
	defer unix.Close(fd)
	return devfilter.Attached(fd)
}
