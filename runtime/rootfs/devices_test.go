package rootfs_test

import (
	"os"
	"path/filepath"
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

func fileMode(m uint32) *os.FileMode { f := os.FileMode(m); return &f }
func id(n uint32) *uint32            { return &n }

func TestDevices(t *testing.T) {
	for _, name := range []string{"root", "userns"} {
		t.Run(name, func(t *testing.T) {
			r := variants[name](t).defaults()
			defer unix.Umask(unix.Umask(0o077))
			r.spec.Linux.Devices = []specs.LinuxDevice{
				{Path: "/dev/kmsg", Type: "c", Major: 1, Minor: 11, FileMode: fileMode(0o640), UID: id(3), GID: id(4)},
				{Path: "/dev/net/tun", Type: "u", Major: 10, Minor: 200},
				{Path: "/dev/loop77", Type: "b", Major: 7, Minor: 77, FileMode: fileMode(unix.S_IFBLK | 0o660)},
				{Path: "/dev/fifo", Type: "p", FileMode: fileMode(0o600)},
				{Path: "/dev/zero", Type: "c", Major: 1, Minor: 5, FileMode: fileMode(0o444)},
				{Path: "/dev/ptmx", Type: "c", Major: 5, Minor: 2},
			}
			r.run(t, `cd /dev; stat -c '%n %F %t:%T %a %u %g' kmsg net/tun loop77 fifo zero net; readlink ptmx; head -c1 zero | wc -c; sh -c 'exec 3<net/tun' 2>&1 | grep -c denied`).
				refusedBy(t, "kmsg character special file 1:b 640 3 4", "net/tun character special file a:c8 666 0 0",
					"loop77 block special file 7:4d 660 0 0", "fifo fifo 0:0 600 0 0", "zero character special file 1:5 444 0 0",
					"net directory 0:0 755 0 0", "pts/ptmx", "1", "0")
		})
	}
}

// Without a tmpfs on /dev, nodes go into the root file system (or are bound
// where that cannot be), and what the image has in their place does not matter.
func TestDevicesInTheImage(t *testing.T) {
	inVariants(t, func(t *testing.T, r *rig) {
		canary := r.host(t, "canary")
		must(t, os.WriteFile(filepath.Join(canary, "file"), []byte("canary\n"), 0o666))
		dev := filepath.Join(r.root, "dev")
		must(t, os.Symlink("/proc/version", filepath.Join(dev, "null")))
		must(t, os.Symlink(filepath.Join(canary, "file"), filepath.Join(dev, "zero")))
		must(t, os.Symlink(filepath.Join(canary, "new"), filepath.Join(dev, "random")))
		must(t, os.WriteFile(filepath.Join(dev, "full"), []byte("a file\n"), 0o644))
		must(t, os.Symlink("/etc/passwd", filepath.Join(dev, "ptmx")))
		must(t, os.Symlink("/own", filepath.Join(dev, "stdin")))
		r.mount("/proc", "proc", "proc")
		r.run(t, `cd /dev; stat -c '%n %F %t:%T' null zero full random; readlink ptmx stdin stdout`).want(t,
			"null character special file 1:3", "zero character special file 1:5", "full character special file 1:7",
			"random character special file 1:8", "pts/ptmx", "/own", "/proc/self/fd/1")
		wantText(t, filepath.Join(canary, "file"), "canary\n")
		if _, err := os.Lstat(filepath.Join(canary, "new")); err == nil {
			t.Error("a device was made outside the root")
		}
	})
}

// A /dev that leads out of the root leads back into it.
func TestDevIsALink(t *testing.T) {
	inVariants(t, func(t *testing.T, r *rig) {
		canary := r.host(t, "canary")
		must(t, os.Remove(filepath.Join(r.root, "dev")))
		must(t, os.Symlink(canary, filepath.Join(r.root, "dev")))
		r.run(t, "stat -c %F /dev/null").want(t, "character special file")
		wantEmpty(t, canary)
		r.defaults().run(t, "stat -c %F /dev/null; stat -f -c %T "+canary).want(t, "character special file", "tmpfs")
		wantEmpty(t, canary)
	})
}

// A /dev that is bound is somebody else's: nothing is made in it.
func TestBoundDev(t *testing.T) {
	r := newRig(t)
	dev := r.host(t, "dev")
	r.mount("/dev", "bind", dev, "rbind")
	r.spec.Linux.Devices = []specs.LinuxDevice{{Path: "/dev/x", Type: "c", Major: 1, Minor: 3}}
	r.run(t, "ls -A /dev | wc -l").want(t, "0")
	wantEmpty(t, dev)
}

// A device below a mount that is made after /dev must not vanish under it.
func TestDeviceOnAnotherMount(t *testing.T) {
	inVariants(t, func(t *testing.T, r *rig) {
		r.defaults()
		r.spec.Linux.Devices = []specs.LinuxDevice{{Path: "/dev/shm/null", Type: "c", Major: 1, Minor: 3}, {Path: "/other/full", Type: "c", Major: 1, Minor: 7}}
		if name := filepath.Base(t.Name()); name != "root" {
			// Bound from the host, which has to have them.
			r.spec.Linux.Devices = r.spec.Linux.Devices[:0]
			r.spec.Linux.Devices = append(r.spec.Linux.Devices, specs.LinuxDevice{Path: "/dev/shm/null", Type: "c", Major: 1, Minor: 3})
			r.run(t, "true").refused(t, "/dev/shm/null", "no such file")
			return
		}
		r.run(t, "stat -c '%n %F' /dev/shm/null /other/full").want(t, "/dev/shm/null character special file", "/other/full character special file")
	})
}

func TestDeviceErrors(t *testing.T) {
	for _, tt := range []struct {
		d    specs.LinuxDevice
		want string
	}{
		{specs.LinuxDevice{Path: "dev/x", Type: "c"}, `linux.devices[0].path: "dev/x" is not the absolute path of a file`},
		{specs.LinuxDevice{Path: "/", Type: "c"}, `linux.devices[0].path: "/"`},
		{specs.LinuxDevice{Path: "/dev/x", Type: "z"}, `linux.devices[0].type: "z" is not one of c, u, b, p`},
		{specs.LinuxDevice{Path: "/dev/x", Type: "c", Major: -1}, `linux.devices[0].major, minor: -1:0 is out of range`},
		{specs.LinuxDevice{Path: "/dev/x", Type: "c", Minor: 1 << 20}, `linux.devices[0].major, minor: 0:1048576 is out of range`},
	} {
		r := newRig(t).defaults()
		r.spec.Linux.Devices = []specs.LinuxDevice{tt.d}
		r.run(t, "true").refused(t, tt.want)
	}
	r := newRig(t).userns(t).defaults()
	r.spec.Linux.Devices = []specs.LinuxDevice{{Path: "/dev/x", Type: "c", Major: 1, Minor: 3, UID: id(70000)}}
	r.run(t, "true").refused(t, "mounts[2]: make tmpfs for /dev: /dev/x: id 70000 is not mapped")
}
