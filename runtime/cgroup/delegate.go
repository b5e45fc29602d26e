package cgroup

import (
	"errors"
	"fmt"
	"strings"

	"golang.org/x/sys/unix"
)

// delegate gives the v2 directory to the container's root, with exactly the
// files that the kernel names for it (cgroup-v2.rst, "Delegation"): those that
// make and fill children, none that limits the container itself. v1 has no
// safe delegation: its limit files would be as near as its processes.
func (t *tree) delegate(owner int) error {
	p := t.v2()
	if owner <= 0 || p == nil {
		return nil
	}
	dir, err := p.h.openAt(p.rel, unix.O_RDONLY|unix.O_DIRECTORY)
	if err != nil {
		return fmt.Errorf("delegate %s/%s: %w", p.h.mount, p.rel, err)
	}
	defer unix.Close(dir)
	if err := unix.Fchown(dir, owner, -1); err != nil {
		return fmt.Errorf("delegate %s/%s to uid %d: %w", p.h.mount, p.rel, owner, err)
	}
	for _, file := range delegated() {
		err := unix.Fchownat(dir, file, owner, -1, unix.AT_SYMLINK_NOFOLLOW)
		if err != nil && !errors.Is(err, unix.ENOENT) {
			return fmt.Errorf("delegate %s/%s/%s to uid %d: %w", p.h.mount, p.rel, file, owner, err)
		}
	}
	return nil
}

func delegated() []string {
	b, err := readCapped("/sys/kernel/cgroup/delegate")
	if err != nil {
		return []string{"cgroup.procs", "cgroup.subtree_control", "cgroup.threads"} // before Linux 4.15
	}
	var out []string
	for _, name := range strings.Fields(string(b)) {
		if word(name, nameCap) { // no slash: stays in the directory
			out = append(out, name)
		}
	}
	return out
}
