package script

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"berth/test/account"
	"berth/test/bundle"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// person is who types the script's commands.
type person struct {
	account.Account
	beside string // a user's cgroups lie here below /sys/fs/cgroup; empty for root, and for a user without
}

// caller is who runs the test.
func caller(t *testing.T) *person {
	own, err := account.Own()
	if err != nil {
		t.Fatal(err)
	}
	who := &person{Account: own}
	if who.UID == 0 {
		return who
	}
	cgroup, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		t.Fatal(err)
	}
	if path, ok := strings.CutPrefix(strings.TrimSpace(string(cgroup)), "0::/"); ok && cgroup2() {
		// Containers go beside the own cgroup, and their processes through its parent.
		dir := filepath.Dir(path)
		if syscall.Access(filepath.Join("/sys/fs/cgroup", dir, "cgroup.procs"), 2) == nil {
			who.beside = dir
		}
	}
	return who
}

func cgroup2() bool {
	_, err := os.Stat("/sys/fs/cgroup/cgroup.controllers")
	return err == nil
}

// conditions are what a script may ask: root or user; ids: the container has
// more ids than one; cgroups: it has a cgroup, so that limits, pause, ps and
// events work; v1, v2: its files are below /sys/fs/cgroup/CONTROLLER/$CGROUP,
// below /sys/fs/cgroup/$CGROUP.
func (who *person) conditions() map[string]bool {
	cgroups := who.UID == 0 || who.beside != ""
	return map[string]bool{
		"root": who.UID == 0, "user": who.UID != 0, "ids": who.UID == 0 || who.Count > 0,
		"cgroups": cgroups, "v1": cgroups && !cgroup2(), "v2": cgroups && cgroup2(),
	}
}

// options are what a user's bundle has beside everybody's: a user namespace
// with the person as its root, and a cgroup beside the person's own.
func (who *person) options() []bundle.Option {
	if who.UID == 0 {
		return nil
	}
	return []bundle.Option{bundle.Namespace(specs.UserNamespace, ""), bundle.Edit(func(s *specs.Spec) {
		s.Linux.CgroupsPath = strings.TrimPrefix(s.Linux.CgroupsPath, "/")
		maps := func(own uint32) []specs.LinuxIDMapping {
			m := []specs.LinuxIDMapping{{ContainerID: 0, HostID: own, Size: 1}}
			if who.Count > 0 {
				m = append(m, specs.LinuxIDMapping{ContainerID: 1, HostID: who.First, Size: who.Count})
			}
			return m
		}
		s.Linux.UIDMappings, s.Linux.GIDMappings = maps(who.UID), maps(who.GID)
		for i, m := range s.Mounts {
			if m.Destination == "/dev/pts" && who.Count == 0 { // gid=5 is not among the ids
				s.Mounts[i].Options = []string{"nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620"}
			}
		}
	})}
}

// cgroup is where a cgroupsPath leads, without a slash at its beginning.
func (who *person) cgroup(path string) string {
	return filepath.Join(who.beside, strings.TrimPrefix(path, "/"))
}
