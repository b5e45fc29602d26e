package rootfs_test

import (
	"slices"
	"strings"
	"testing"
)

// Mounts are listed in the order of the spec: runtime-spec config.md, "Mounts".
// Linux 6.8 and later list them as they were made, so that a /dev or a bind
// made early by the parent would come first.
func TestMountsListedInOrder(t *testing.T) {
	r := newRig(t)
	src := r.host(t, "src")
	r.mount("/first", "tmpfs", "tmpfs")
	r.defaults()
	r.mount("/bind1", "bind", src, "rbind")
	r.mount("/between", "tmpfs", "tmpfs")
	r.mount("/bind2", "bind", src, "bind", "ro", "slave")
	o := r.run(t, mountinfo)
	o.want(t)
	var want, got []string
	for _, m := range r.spec.Mounts {
		want = append(want, m.Destination)
	}
	for line := range strings.SplitSeq(o.out, "\n") {
		if f := strings.Fields(line); len(f) > 9 && slices.Contains(want, f[4]) {
			got = append(got, f[4])
		}
	}
	if !slices.Equal(got, want) {
		t.Errorf("mounts are listed as\n%q, the spec's order is\n%q", got, want)
	}
}

// What a bind shows is the host's, also where the container's own mounts are
// attached when the first process makes it.
func TestBindsAroundRoot(t *testing.T) {
	r := newRig(t)
	r.defaults()
	r.mount("/host", "bind", "/", "rbind")
	r.mount("/own", "bind", r.root, "rbind")
	m := r.run(t, mountinfo).mounts(t)
	for dest := range m {
		if strings.HasPrefix(dest, "/host"+r.root+"/") || strings.HasPrefix(dest, "/own/dev") {
			t.Errorf("the container's mount %s is inside a bind of the host", dest)
		}
	}
}
