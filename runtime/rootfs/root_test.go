package rootfs_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// variants are the ways a root is made: without a user namespace, with one by a
// privileged parent, with one by an ordinary user's.
var variants = map[string]func(*testing.T) *rig{
	"root":     func(t *testing.T) *rig { return newRig(t) },
	"userns":   func(t *testing.T) *rig { return newRig(t).userns(t) },
	"ordinary": func(t *testing.T) *rig { return newRig(t).userns(t).ordinary(t) },
}

func inVariants(t *testing.T, f func(*testing.T, *rig)) {
	for name, make := range variants {
		t.Run(name, func(t *testing.T) { f(t, make(t)) })
	}
}

func TestDefaults(t *testing.T) {
	inVariants(t, func(t *testing.T, r *rig) {
		m := r.defaults().run(t, mountinfo).mounts(t)
		for dest, want := range map[string]string{
			"/proc": "proc rw,relatime", "/dev": "tmpfs rw,nosuid", "/dev/pts": "devpts rw,nosuid,noexec,relatime",
			"/dev/shm": "tmpfs rw,nosuid,nodev,noexec,relatime", "/dev/mqueue": "mqueue rw,nosuid,nodev,noexec,relatime",
			"/sys": "sysfs ro,nosuid,nodev,noexec,relatime", "/usr": "ext4 ro,relatime",
		} {
			if got := m[dest].fs + " " + m[dest].options; got != want && dest != "/usr" {
				t.Errorf("%s is %q, want %q", dest, got, want)
			}
		}
		for dest := range m {
			if strings.Count(dest, "/") == 1 && !strings.Contains("/ /proc /dev /sys /usr", dest) {
				t.Errorf("the container sees a mount on %s", dest)
			}
		}
	})
}

func TestDefaultDevices(t *testing.T) {
	inVariants(t, func(t *testing.T, r *rig) {
		o := r.defaults().run(t, `cd /dev; for f in null zero full random urandom tty; do stat -c '%n %F %t:%T %a' $f; done
			for l in fd stdin stdout stderr core ptmx; do echo $l $(readlink $l); done
			echo x > null; head -c2 zero | od -An -tx1; head -c1 urandom > /dev/null; echo >&2 full; (echo x > full) 2>/dev/null || echo full`)
		o.want(t, "null character special file 1:3 666", "zero character special file 1:5 666", "full character special file 1:7 666",
			"random character special file 1:8 666", "urandom character special file 1:9 666", "tty character special file 5:0 666",
			"fd /proc/self/fd", "stdin /proc/self/fd/0", "stdout /proc/self/fd/1", "stderr /proc/self/fd/2", "core /proc/kcore",
			"ptmx pts/ptmx", " 00 00", "full")
	})
}

// The container's mounts stay in the container even where the host's are shared.
func TestNothingOnTheHost(t *testing.T) {
	inVariants(t, func(t *testing.T, r *rig) {
		root := r.host(t, "shared")
		hostMount(t, "tmpfs", root, "tmpfs", 0, "mode=755")
		must(t, unix.Mount("", root, "", unix.MS_SHARED, ""))
		must(t, os.Rename(r.root, filepath.Join(r.opt.Bundle, "old")))
		must(t, copyTree(filepath.Join(r.opt.Bundle, "old"), filepath.Join(root, "rootfs")))
		r.spec.Root.Path = filepath.Join(root, "rootfs")
		vol := filepath.Join(root, "vol")
		must(t, os.MkdirAll(filepath.Join(vol, "sub"), 0o777))
		r.mount("/vol", "bind", vol, "rbind")
		r.mount("/vol/sub", "tmpfs", "tmpfs")
		before := hostMounts(t)
		var during string
		r.atHooks = func(int) { during = hostMounts(t) }
		r.defaults().run(t, "mount -t tmpfs none /vol && grep -c shared: /proc/self/mountinfo; true").want(t, "0")
		if during != before || hostMounts(t) != before {
			t.Errorf("before:\n%s\nduring:\n%s\nafter:\n%s", before, during, hostMounts(t))
		}
	})
}

func hostMounts(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile("/proc/self/mountinfo")
	must(t, err)
	return string(text)
}

// copyTree copies directories and links, which is all that a rig's root has.
func copyTree(from, to string) error {
	return filepath.Walk(from, func(path string, fi os.FileInfo, err error) error {
		if err != nil {
			return err
		}
		dest := to + strings.TrimPrefix(path, from)
		var st unix.Stat_t
		if err := unix.Lstat(path, &st); err != nil {
			return err
		}
		if fi.IsDir() {
			err = os.Mkdir(dest, 0o755)
		} else if text, lerr := os.Readlink(path); lerr == nil {
			err = os.Symlink(text, dest)
		}
		if err != nil {
			return err
		}
		return os.Lchown(dest, int(st.Uid), int(st.Gid))
	})
}

// Hooks that enter the namespace find the root where the bundle says it is.
func TestHooksSeeTheRoot(t *testing.T) {
	r := newRig(t).defaults()
	var seen string
	r.atHooks = func(pid int) {
		text, _ := os.ReadFile("/proc/" + itoa(pid) + "/mountinfo")
		seen = string(text)
	}
	r.run(t, "true").want(t)
	for _, dest := range []string{r.root, r.root + "/proc", r.root + "/dev/pts"} {
		if !strings.Contains(seen, " "+dest+" ") {
			t.Errorf("no mount on %s in\n%s", dest, seen)
		}
	}
}

func TestRootPropagation(t *testing.T) {
	for word, want := range map[string]string{"": "", "private": "", "rprivate": "", "slave": "", "shared": "shared:", "rshared": "shared:", "unbindable": "unbindable"} {
		t.Run("word "+word, func(t *testing.T) {
			r := newRig(t).defaults()
			r.spec.Linux.RootfsPropagation = word
			tags := r.run(t, mountinfo).mounts(t)["/"].tags
			if want == "" && tags != "" || !strings.Contains(tags, want) {
				t.Errorf("/ has %q, want %q", tags, want)
			}
		})
	}
	r := newRig(t)
	r.spec.Linux.RootfsPropagation = "sharde"
	r.run(t, "true").refused(t, `linux.rootfsPropagation: unknown value "sharde"`)
}

// A root that comes from a shared mount of the host becomes a slave of it, so
// that later mounts of the host arrive, and never a peer.
func TestRootIsSlave(t *testing.T) {
	r := newRig(t)
	hostMount(t, r.root, r.root, "", unix.MS_BIND, "")
	must(t, unix.Mount("", r.root, "", unix.MS_SHARED, ""))
	if tags := r.defaults().run(t, mountinfo).mounts(t)["/"].tags; !strings.HasPrefix(tags, "master:") {
		t.Errorf("/ has %q", tags)
	}
}

func TestReadonlyRoot(t *testing.T) {
	inVariants(t, func(t *testing.T, r *rig) {
		r.spec.Root.Readonly = true
		r.defaults().run(t, "touch /etc/x 2>&1; touch /dev/shm/x && echo shm").
			want(t, "touch: cannot touch '/etc/x': Read-only file system", "shm")
	})
}

func TestNoPivot(t *testing.T) {
	inVariants(t, func(t *testing.T, r *rig) {
		r.opt.NoPivot = true
		m := r.defaults().run(t, mountinfo).mounts(t)
		if _, ok := m["/proc"]; !ok || m["/"].fs == "" {
			t.Errorf("mounts: %v", m)
		}
		// What else the host had mounted is gone, or locked and out of reach.
		if name := t.Name(); strings.HasSuffix(name, "/root") {
			r.run(t, mountinfo+" | grep -c ' /dev/shm '").want(t, "1")
		}
	})
}

func TestWithoutMountNamespace(t *testing.T) {
	r := newRig(t)
	r.namespaces("pid", "uts")
	r.namespaces("pid", "uts", "user")
	r.run(t, "true").refused(t, "mounts: need a mount namespace")
	r.namespaces("pid", "uts")
	before := hostMounts(t)
	o := r.defaults().run(t, "ls /dev/shm/../null /dev/pts/ptmx /proc/self/stat; cat /sys/kernel/profiling; readlink /dev/core")
	if strings.Contains(o.err, "need Linux 6.15") {
		t.Log("this kernel cannot mount on detached trees; it says:", o.err)
	} else {
		o.want(t, "/dev/shm/../null", "/dev/pts/ptmx", "/proc/self/stat", "/proc/kcore")
	}
	if hostMounts(t) != before {
		t.Error("mounts of the host changed")
	}
	r.spec.Mounts = nil
	must(t, os.Remove(filepath.Join(r.root, "bin")))
	must(t, os.Mkdir(filepath.Join(r.root, "bin"), 0o755))
	busybox, err := os.ReadFile("/usr/bin/busybox")
	if err != nil {
		t.Fatalf("needs a static busybox: %v", err)
	}
	must(t, os.WriteFile(filepath.Join(r.root, "bin/sh"), busybox, 0o755))
	r.run(t, "echo /*; pwd").want(t, "/bin /dev /etc /lib /lib64 /proc /sbin /sys /tmp /usr", "/")
	if hostMounts(t) != before {
		t.Error("mounts of the host changed")
	}
	r.spec.Linux.MaskedPaths = []string{"/etc"}
	r.run(t, "true").refused(t, "linux.maskedPaths: need a mount namespace")
}

func TestWorkdir(t *testing.T) {
	inVariants(t, func(t *testing.T, r *rig) {
		canary := r.host(t, "canary")
		must(t, os.Symlink("/var/run", filepath.Join(r.root, "run"))) // to what does not exist yet
		must(t, os.Symlink(canary, filepath.Join(r.root, "out")))
		r.spec.Process.Cwd = "/run/a/../deep/work"
		r.run(t, "stat -c '%a %u %n' /var/run/deep/work").want(t, "755 0 /var/run/deep/work")
		r.spec.Process.Cwd = "/out/work"
		r.run(t, "cd /out/work && pwd -P").want(t, canary+"/work")
		wantEmpty(t, canary)
		r.spec.Process.Cwd = "/../../../../" + canary
		r.run(t, "ls -d "+canary).want(t, canary)
		must(t, os.WriteFile(filepath.Join(r.root, "file"), nil, 0o644))
		r.spec.Process.Cwd = "/file"
		r.run(t, "true").refused(t, `make working directory "/file"`, "not a directory")
	})
}

func wantEmpty(t *testing.T, dir string) {
	t.Helper()
	list, err := os.ReadDir(dir)
	must(t, err)
	if len(list) != 0 {
		t.Errorf("%s on the host has %v", dir, list)
	}
}

func TestBadRoot(t *testing.T) {
	r := newRig(t)
	r.spec.Root.Path = "nowhere"
	r.run(t, "true").refused(t, "root.path: open "+filepath.Join(r.opt.Bundle, "nowhere"), "no such file")
	r.spec.Root.Path = "/etc/passwd"
	r.run(t, "true").refused(t, "root.path: open /etc/passwd", "not a directory")
	r.spec.Root.Path = ""
	r.run(t, "true").refused(t, "root.path: missing")
	r.spec.Root = nil
	r.run(t, "true").refused(t, "root.path: missing")
}
