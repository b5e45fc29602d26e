package script

import (
	"bufio"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"berth/test/bundle"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// person is who types the script's commands.
type person struct {
	uid, gid     uint32
	first, count uint32 // subordinate ids, of users and groups alike; 0 without any
	switched     bool   // the test is run by root, the commands by the person
	beside       string // a user's cgroups lie here below /sys/fs/cgroup; empty for root, and for a user without
}

// caller is who runs the test.
func caller(t *testing.T) *person {
	who := &person{uid: uint32(os.Getuid()), gid: uint32(os.Getgid())}
	if who.uid == 0 {
		return who
	}
	u, err := user.Current()
	if err != nil {
		t.Fatal(err)
	}
	first, count := subordinate("/etc/subuid", u.Username)
	groups, n := subordinate("/etc/subgid", u.Username)
	if _, err := exec.LookPath("newuidmap"); err == nil && first == groups && count == n {
		who.first, who.count = first, count
	}
	own, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		t.Fatal(err)
	}
	if path, ok := strings.CutPrefix(strings.TrimSpace(string(own)), "0::/"); ok && cgroup2() {
		// Containers go beside the own cgroup, and their processes through its parent.
		dir := filepath.Dir(path)
		if syscall.Access(filepath.Join("/sys/fs/cgroup", dir, "cgroup.procs"), 2) == nil {
			who.beside = dir
		}
	}
	return who
}

// subordinate is a user's range in subuid(5) or subgid(5).
func subordinate(path, name string) (first, count uint32) {
	f, err := os.Open(path)
	if err != nil {
		return 0, 0
	}
	defer f.Close()
	for s := bufio.NewScanner(f); s.Scan(); {
		if part := strings.Split(s.Text(), ":"); len(part) == 3 && part[0] == name {
			a, _ := strconv.ParseUint(part[1], 10, 32)
			n, _ := strconv.ParseUint(part[2], 10, 32)
			return uint32(a), uint32(n)
		}
	}
	return 0, 0
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
	cgroups := who.uid == 0 || who.beside != ""
	return map[string]bool{
		"root": who.uid == 0, "user": who.uid != 0, "ids": who.uid == 0 || who.count > 0,
		"cgroups": cgroups, "v1": cgroups && !cgroup2(), "v2": cgroups && cgroup2(),
	}
}

// prefix is the words before a command that make it the person's.
func (who *person) prefix() string {
	if !who.switched {
		return ""
	}
	return fmt.Sprintf("setpriv --reuid=%d --regid=%d --clear-groups ", who.uid, who.gid)
}

// give makes everything below the folder the person's.
func (who *person) give(dir string) error {
	if !who.switched {
		return nil
	}
	return filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		return os.Lchown(path, int(who.uid), int(who.gid))
	})
}

// name is what list and ps print.
func (who *person) name() string {
	id := strconv.Itoa(int(who.uid))
	if u, err := user.LookupId(id); err == nil {
		return u.Username
	}
	return id
}

// options are what a user's bundle has beside everybody's: a user namespace
// with the person as its root, and a cgroup beside the person's own.
func (who *person) options() []bundle.Option {
	if who.uid == 0 {
		return nil
	}
	return []bundle.Option{bundle.Namespace(specs.UserNamespace, ""), bundle.Edit(func(s *specs.Spec) {
		s.Linux.CgroupsPath = strings.TrimPrefix(s.Linux.CgroupsPath, "/")
		maps := func(own uint32) []specs.LinuxIDMapping {
			m := []specs.LinuxIDMapping{{ContainerID: 0, HostID: own, Size: 1}}
			if who.count > 0 {
				m = append(m, specs.LinuxIDMapping{ContainerID: 1, HostID: who.first, Size: who.count})
			}
			return m
		}
		s.Linux.UIDMappings, s.Linux.GIDMappings = maps(who.uid), maps(who.gid)
		for i, m := range s.Mounts {
			if m.Destination == "/dev/pts" && who.count == 0 { // gid=5 is not among the ids
				s.Mounts[i].Options = []string{"nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620"}
			}
		}
	})}
}

// cgroup is where a cgroupsPath leads, without a slash at its beginning.
func (who *person) cgroup(path string) string {
	return filepath.Join(who.beside, strings.TrimPrefix(path, "/"))
}
