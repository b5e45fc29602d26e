package rootfs_test

import (
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// The names of the classes are those of the threat list in docs/threats.md.

// V3: what hides a masked file is the null device, not what the image calls so.
func TestV3MaskSource(t *testing.T) {
	inVariants(t, func(t *testing.T, r *rig) {
		// A /dev that stays as it is, as with a bind of a prepared one.
		dev := r.host(t, "dev")
		must(t, os.Symlink("/proc/version", filepath.Join(dev, "null")))
		r.defaults().mount("/dev", "bind", dev, "rbind")
		r.spec.Linux.MaskedPaths = []string{"/proc/keys", "/proc/timer_list"}
		o := r.run(t, "stat -c %t:%T /proc/keys /proc/timer_list; "+mountinfo)
		o.want(t, "1:3")
		if m := o.mounts(t)["/proc/keys"]; strings.Contains(m.root, "version") || m.fs == "proc" {
			t.Errorf("/proc/keys is %+v", m)
		}
	})
}

// V4: procfs and sysfs are mounted on real directories only.
func TestV4ProcIsALink(t *testing.T) {
	for _, dir := range []string{"proc", "sys"} {
		r := newRig(t).defaults()
		must(t, os.Remove(filepath.Join(r.root, dir)))
		must(t, os.Mkdir(filepath.Join(r.root, "tmp/fake"), 0o755))
		must(t, os.Symlink("/tmp/fake", filepath.Join(r.root, dir)))
		r.run(t, "true").refused(t, `on "/`+dir+`": open the target: `, "must be mounted on an ordinary directory")
		// Neither in the middle of a path.
		r = newRig(t)
		must(t, os.Symlink("/tmp", filepath.Join(r.root, "a")))
		r.mount("/a/proc", "proc", "proc")
		r.run(t, "true").refused(t, "must be mounted on an ordinary directory")
	}
}

// V4: nothing may lie over procfs but views of the machine's load.
func TestV4VolumesOverProc(t *testing.T) {
	for dest, want := range map[string]string{
		"/proc":                    `may only get a file system of type proc`,
		"/proc/self/attr":          "is inside procfs and may not be covered",
		"/proc/sys":                "is inside procfs and may not be covered",
		"/proc/./x/../sys/kernel/": "is inside procfs and may not be covered",
		"/link":                    "the target is inside procfs",
		"/link/kernel":             "the target is inside procfs",
		"/whole":                   "the target is inside procfs",
	} {
		for _, fs := range []string{"tmpfs", "bind"} {
			r := newRig(t).defaults()
			must(t, os.Symlink("/proc/sys", filepath.Join(r.root, "link")))
			must(t, os.Symlink("proc", filepath.Join(r.root, "whole")))
			r.mount(dest, fs, r.host(t, "src"))
			if dest == "/proc" && fs == "bind" {
				want = "only a procfs may be mounted there"
			}
			r.run(t, "true").refused(t, want)
		}
	}
}

func TestProcMayBeCovered(t *testing.T) {
	r := newRig(t).defaults()
	file := filepath.Join(r.host(t, "src"), "file")
	must(t, os.WriteFile(file, []byte("text\n"), 0o644))
	r.mount("/proc/meminfo", "bind", file, "bind")
	r.mount("/proc/uptime", "bind", file, "bind")
	r.run(t, "cat /proc/meminfo").want(t, "text")
	r = newRig(t)
	r.mount("/proc", "bind", "/proc", "rbind")
	r.run(t, "test -d /proc/1 && echo host").want(t, "host")
}

// V4: somebody who shares the image moves /proc away between its mount and the
// masks.
func TestV4ProcMovesAway(t *testing.T) {
	inVariants(t, func(t *testing.T, r *rig) {
		r.defaults()
		r.spec.Linux.MaskedPaths = []string{"/proc/keys", "/sys/firmware"}
		r.spec.Linux.ReadonlyPaths = []string{"/proc/sys"}
		r.atHooks = func(int) {
			for _, dir := range []string{"proc", "sys"} {
				must(t, os.Rename(filepath.Join(r.root, dir), filepath.Join(r.root, "moved-"+dir)))
				must(t, os.Symlink("tmp", filepath.Join(r.root, dir)))
			}
		}
		o := r.run(t, `stat -c %t:%T /moved-proc/keys; ls -A /moved-sys/firmware | wc -l; cat /moved-proc/self/mountinfo`)
		o.want(t, "1:3", "0")
		if m := o.mounts(t)["/moved-proc/sys"]; !strings.HasPrefix(m.options, "ro") {
			t.Errorf("/moved-proc/sys is %+v", m)
		}
	})
}

// V5: a volume's other user exchanges a directory on the way to a mount's
// target for a link that leads out.
func TestV5TargetRace(t *testing.T) {
	runs := 60
	if testing.Short() {
		runs = 10
	}
	r := newRig(t).defaults()
	canary, vol := r.host(t, "canary"), r.host(t, "vol")
	must(t, os.Mkdir(filepath.Join(vol, "a"), 0o777))
	must(t, os.Symlink(canary, filepath.Join(vol, "b")))
	r.mount("/vol", "bind", vol, "rbind")
	r.mount("/vol/a/nested/deep", "tmpfs", "tmpfs")
	r.mount("/vol/a/file", "bind", "/etc/hostname", "bind")
	before := hostMounts(t)
	stop := exchange(t, vol, "a", "b")
	defer stop()
	good := 0
	for range runs {
		o := r.run(t, mountinfo)
		if o.err == "" {
			good++
			for dest := range o.mounts(t) {
				if strings.HasPrefix(dest, "//") || strings.Contains(dest, "(unreachable)") {
					t.Errorf("mount on %s", dest)
				}
			}
		}
		list, err := os.ReadDir(canary)
		must(t, err)
		if len(list) > 0 {
			break
		}
	}
	wantEmpty(t, canary)
	if after := hostMounts(t); after != before {
		t.Errorf("mounts of the host changed:\n%s\n%s", before, after)
	}
	if good == 0 {
		t.Error("the race was never lost by the attacker: nothing was tested")
	}
}

func exchange(t *testing.T, dir, a, b string) (stop func()) {
	t.Helper()
	fd, err := unix.Open(dir, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	must(t, err)
	var done atomic.Bool
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for !done.Load() {
			_ = unix.Renameat2(fd, a, fd, b, unix.RENAME_EXCHANGE)
		}
	}()
	return func() { done.Store(true); <-ended; unix.Close(fd) }
}

// V5, V6: targets that are links to the host end up in the root.
func TestV6Targets(t *testing.T) {
	inVariants(t, func(t *testing.T, r *rig) {
		canary := r.host(t, "canary")
		must(t, os.WriteFile(filepath.Join(canary, "file"), []byte("canary\n"), 0o666))
		for name, target := range map[string]string{
			"etc/hosts": filepath.Join(canary, "file"), "etc/resolv.conf": filepath.Join(canary, "new"),
			"tmp/dir": canary + "/dir", "tmp/up": "../../canary", "etc/mtab": "../../../../.." + canary + "/mtab",
		} {
			must(t, os.Symlink(target, filepath.Join(r.root, name)))
		}
		for _, dest := range []string{"/etc/hosts", "/etc/resolv.conf", "/etc/mtab"} {
			r.mount(dest, "bind", "/etc/hostname", "bind")
		}
		r.mount("/tmp/dir", "tmpfs", "tmpfs")
		r.mount("/tmp/up/sub", "tmpfs", "tmpfs")
		r.spec.Linux.Devices = []specs.LinuxDevice{{Path: "/tmp/dir/null", Type: "c", Major: 1, Minor: 3}}
		if filepath.Base(t.Name()) != "root" {
			r.spec.Linux.Devices = nil
		}
		r.defaults().run(t, "cmp /etc/hosts /etc/mtab && ls -d "+canary+"/dir /canary/sub").want(t, canary+"/dir", "/canary/sub")
		list, err := os.ReadDir(canary)
		must(t, err)
		if len(list) != 1 {
			t.Errorf("outside the root there is now %v", list)
		}
		wantText(t, filepath.Join(canary, "file"), "canary\n")
	})
}
