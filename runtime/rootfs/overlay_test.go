package rootfs_test

import (
	"os"
	"path/filepath"
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"berth/runtime/rootfs"
)

// TestOverlay: the root of layers belongs to the container's root, with the new
// way to mount it and the one of kernels before 6.8.
func TestOverlay(t *testing.T) {
	for name, old := range map[string]bool{"now": false, "old": true} {
		for users, private := range map[string]bool{" private users": true, " host's users": false} {
			t.Run(name+users, func(t *testing.T) {
				if old {
					rootfs.OldKernel(t)
				}
				r := newRig(t)
				if l := r.spec.Linux; private {
					l.Namespaces = append(l.Namespaces, specs.LinuxNamespace{Type: specs.UserNamespace})
					l.UIDMappings = []specs.LinuxIDMapping{{ContainerID: 0, HostID: hostID, Size: 65536}}
					l.GIDMappings = l.UIDMappings
				}
				dir := r.opt.Bundle
				shareMount(t, dir)
				for _, d := range []string{"top", "upper", "work"} {
					must(t, os.Mkdir(filepath.Join(dir, d), 0o755))
				}
				must(t, os.WriteFile(filepath.Join(dir, "top/layered"), []byte("from above\n"), 0o644))
				r.opt.Overlay = &rootfs.Overlay{
					Store: dir, Lower: []string{dir + "/top", r.root}, Upper: dir + "/upper", Work: dir + "/work", Options: []string{"index=off"},
				}
				o := r.run(t, "cat /layered; stat -c %u / /layered; echo changed >> /layered && mkdir /made && stat -c %u:%g /layered /made")
				if want := "from above\n0\n0\n0:0\n0:0\n"; o.out != want || o.err != "" {
					t.Errorf("%q, %q, want %q", o.out, o.err, want)
				}
				got, err := os.ReadFile(filepath.Join(dir, "upper/layered"))
				if string(got) != "from above\nchanged\n" {
					t.Errorf("the upper folder has %q, %v", got, err)
				}
			})
		}
	}
}

// shareMount makes dir a mount that propagates, as all are where systemd runs.
func shareMount(t *testing.T, dir string) {
	t.Helper()
	must(t, unix.Mount(dir, dir, "", unix.MS_BIND, ""))
	t.Cleanup(func() { must(t, unix.Unmount(dir, unix.MNT_DETACH)) })
	must(t, unix.Mount("", dir, "", unix.MS_SHARED, ""))
}
