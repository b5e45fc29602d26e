package rootfs_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func TestMaskedPaths(t *testing.T) {
	inVariants(t, func(t *testing.T, r *rig) {
		must(t, os.MkdirAll(filepath.Join(r.root, "etc/secret.d/sub"), 0o755))
		must(t, os.WriteFile(filepath.Join(r.root, "etc/secret.d/sub/key"), []byte("secret\n"), 0o644))
		must(t, os.WriteFile(filepath.Join(r.root, "etc/secret"), []byte("secret\n"), 0o644))
		must(t, os.Symlink("secret", filepath.Join(r.root, "etc/link")))
		r.spec.Linux.MaskedPaths = []string{
			"/proc/kcore", "/proc/keys", "/proc/timer_list", "/proc/scsi", "/proc/nowhere", "/proc/version/below", "/sys/firmware",
			"/sys/kernel", "/etc/secret.d", "/etc/link", "/nowhere/at/all",
		}
		o := r.defaults().run(t, `cat /proc/keys /proc/timer_list /etc/secret /etc/link | wc -c; ls -A /sys/firmware /sys/kernel /etc/secret.d | grep -v : | grep -c .
			stat -c '%F %t:%T' /proc/keys; touch /sys/kernel/x /etc/secret.d/x 2>&1 | grep -c Read-only; stat -c %a /etc/secret.d; `+mountinfo)
		o.want(t, "0", "0", "character special file 1:3", "2", "555")
		m := o.mounts(t)
		for _, dest := range []string{"/sys/firmware", "/sys/kernel", "/etc/secret.d"} {
			if got := m[dest]; got.fs != "tmpfs" || got.options != "ro,nosuid,nodev,noexec,relatime" || !strings.HasPrefix(got.super, "ro") {
				t.Errorf("%s: %+v", dest, got)
			}
		}
	})
}

// Every masked directory shows one and the same empty file system.
func TestMasksAreShared(t *testing.T) {
	r := newRig(t).defaults()
	r.spec.Linux.MaskedPaths = []string{"/sys/firmware", "/sys/kernel", "/tmp", "/etc"}
	r.run(t, "stat -c %d /sys/firmware /sys/kernel /tmp /etc | sort -u | wc -l").want(t, "1")
}

func TestReadonlyPaths(t *testing.T) {
	inVariants(t, func(t *testing.T, r *rig) {
		src := r.host(t, "src")
		hostMount(t, "tmpfs", src, "tmpfs", unix.MS_NOSUID, "mode=777")
		must(t, os.Mkdir(filepath.Join(src, "sub"), 0o777))
		hostMount(t, "tmpfs", filepath.Join(src, "sub"), "tmpfs", 0, "mode=777")
		r.mount("/vol", "bind", src, "rbind", "nodev")
		r.spec.Linux.ReadonlyPaths = []string{"/proc/sys", "/proc/bus", "/proc/nowhere", "/vol", "/proc/sysrq-trigger"}
		o := r.defaults().run(t, `touch /vol/x /vol/sub/x 2>&1 | grep -c Read-only; (echo x > /proc/sys/kernel/hostname) 2>&1 | grep -c Read-only; `+mountinfo)
		o.want(t, "2", "1")
		m := o.mounts(t)
		for dest, want := range map[string]string{"/vol": "ro,nosuid,nodev,relatime", "/vol/sub": "ro,relatime", "/proc/sys": "ro,relatime", "/proc": "rw,relatime"} {
			if got := m[dest].options; got != want {
				t.Errorf("%s is %q, want %q", dest, got, want)
			}
		}
	})
}

func TestHidePathErrors(t *testing.T) {
	r := newRig(t)
	for path, want := range map[string]string{
		"": `linux.maskedPaths[1]: "" is not a path below the root`, "/": `linux.maskedPaths[1]: "/"`, "/a/..": `linux.maskedPaths[1]`,
		"/a\x00": `linux.maskedPaths[1]: "/a\x00"`, strings.Repeat("/x", 3000): "linux.maskedPaths[1]",
	} {
		r.spec.Linux.MaskedPaths = []string{"/x", path}
		r.run(t, "true").refused(t, want)
	}
	r.spec.Linux.MaskedPaths, r.spec.Linux.ReadonlyPaths = nil, make([]string, 10_001)
	r.run(t, "true").refused(t, "linux.readonlyPaths: more than 10000")
}
