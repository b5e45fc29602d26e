package rootfs_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"berth/runtime/rootfs"
)

// cgroups puts the container into cgroups of its own in the host's v1
// hierarchies.
func (r *rig) cgroups(t *testing.T) *rig {
	t.Helper()
	for _, name := range []string{"memory", "pids", "freezer", "systemd"} {
		parent := filepath.Join("/sys/fs/cgroup", name)
		if st := (unix.Statfs_t{}); unix.Statfs(parent, &st) != nil || st.Type != unix.CGROUP_SUPER_MAGIC {
			t.Skipf("needs cgroup v1: no hierarchy on %s", parent)
		}
		dir := filepath.Join(parent, "berth-test-"+itoa(os.Getpid()))
		must(t, os.Mkdir(dir, 0o755))
		t.Cleanup(func() { os.Remove(dir) })
		fd, err := unix.Open(filepath.Join(dir, "tasks"), unix.O_WRONLY|unix.O_CLOEXEC, 0)
		must(t, err)
		t.Cleanup(func() { unix.Close(fd) })
		r.tasks = append(r.tasks, fd)
		data := name
		if name == "systemd" {
			data = "none,name=systemd"
		}
		r.opt.Cgroup.V1 = append(r.opt.Cgroup.V1, rootfs.Hierarchy{Name: name, Data: data, Path: dir})
	}
	return r
}

func (r *rig) without(kind specs.LinuxNamespaceType) *rig {
	var kept []specs.LinuxNamespace
	for _, n := range r.spec.Linux.Namespaces {
		if n.Type != kind {
			kept = append(kept, n)
		}
	}
	r.spec.Linux.Namespaces = kept
	return r
}

func TestCgroup1(t *testing.T) {
	for _, own := range []bool{true, false} {
		inVariants(t, func(t *testing.T, r *rig) {
			r.cgroups(t).defaults()
			if !own {
				r.without(specs.CgroupNamespace)
			}
			// As if two controllers shared a hierarchy; the kernel cannot make that
			// one, so that its bind is seen, too.
			r.opt.Cgroup.V1 = append(r.opt.Cgroup.V1, rootfs.Hierarchy{Name: "cpu,cpuacct", Data: "cpu,cpuacct", Path: r.opt.Cgroup.V1[0].Path})
			r.mount("/sys/fs/cgroup", "cgroup", "cgroup", "nosuid", "noexec", "nodev", "relatime", "ro")
			o := r.run(t, `cd /sys/fs/cgroup; ls; readlink cpu cpuacct; touch x 2>&1 | grep -c Read-only; mkdir memory/x 2>&1 | grep -c Read-only; grep -c . pids/cgroup.procs; `+mountinfo)
			o.want(t, "cpu", "cpu,cpuacct", "cpuacct", "freezer", "memory", "pids", "systemd", "1")
			m := o.mounts(t)
			if got := m["/sys/fs/cgroup"]; got.fs != "tmpfs" || got.options != "ro,nosuid,nodev,noexec,relatime" {
				t.Errorf("own=%t: %+v", own, got)
			}
			for _, h := range r.opt.Cgroup.V1 {
				got := m["/sys/fs/cgroup/"+h.Name]
				if got.fs != "cgroup" || got.options != "ro,nosuid,nodev,noexec,relatime" || own != (got.root == "/") {
					t.Errorf("own=%t: %s: %+v", own, h.Name, got)
				}
			}
		})
	}
}

func TestCgroupWritable(t *testing.T) {
	r := newRig(t).cgroups(t).defaults()
	r.mount("/sys/fs/cgroup", "cgroup", "cgroup")
	r.run(t, "mkdir /sys/fs/cgroup/memory/x && rmdir /sys/fs/cgroup/memory/x && touch /sys/fs/cgroup/x && echo rw").want(t, "rw")
	r.opt.Cgroup.V1 = nil
	r.run(t, "true").refused(t, ".type: no cgroup hierarchy is mounted on the host")
}

func TestCgroup2(t *testing.T) {
	unified := ""
	for _, dir := range []string{"/sys/fs/cgroup", "/sys/fs/cgroup/unified"} {
		if st := (unix.Statfs_t{}); unix.Statfs(dir, &st) == nil && st.Type == unix.CGROUP2_SUPER_MAGIC {
			unified = dir
		}
	}
	if unified == "" {
		t.Skip("needs cgroup v2")
	}
	for _, own := range []bool{true, false} {
		inVariants(t, func(t *testing.T, r *rig) {
			r.defaults()
			if !own {
				r.without(specs.CgroupNamespace)
			}
			r.opt.Cgroup = rootfs.CgroupView{Unified: true, Path: unified}
			r.mount("/sys/fs/cgroup", "cgroup", "cgroup", "nosuid", "noexec", "nodev", "ro")
			m := r.run(t, mountinfo).mounts(t)["/sys/fs/cgroup"]
			if m.fs != "cgroup2" || !strings.HasPrefix(m.options, "ro,nosuid,nodev,noexec") {
				t.Errorf("own=%t: %+v", own, m)
			}
		})
	}
}

// An ordinary user's container has no cgroup of its own to show.
func TestCgroupThatIsMissing(t *testing.T) {
	inVariants(t, func(t *testing.T, r *rig) {
		r.cgroups(t).defaults().without(specs.CgroupNamespace)
		for i := range r.opt.Cgroup.V1 {
			r.opt.Cgroup.V1[i].Path += "/missing/too"
		}
		r.mount("/sys/fs/cgroup", "cgroup", "cgroup", "ro")
		m := r.run(t, mountinfo).mounts(t)["/sys/fs/cgroup/pids"]
		if m.fs != "cgroup" || !strings.HasSuffix(m.root, "/berth-test-"+itoa(os.Getpid())) {
			t.Errorf("%+v", m)
		}
	})
}
