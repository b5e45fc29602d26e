package runtime

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"syscall"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// tracedFile in a container's folder says that an exec was once given the right
// to trace, which the container's own process does not have.
const tracedFile = "traced"

// seal makes sure that this program cannot be overwritten by a container whose
// pid namespace is about to be joined.
//
// Until it executes the helper, the child that joins is a copy of this program,
// and /proc/PID/exe names our file. A container that may trace and has no user
// namespace of its own can open it there, and write to it once we have ended
// (CVE-2019-5736, security class V1). In that case alone the program first
// executes itself again from a read-only mount of its own file.
func seal() error {
	if !guardExeFile {
		return nil
	}
	var fs unix.Statfs_t
	if err := unix.Statfs("/proc/self/exe", &fs); err != nil {
		return fmt.Errorf("protect this program from the container: statfs of its file: %w", err)
	}
	if fs.Flags&unix.ST_RDONLY != 0 {
		return nil // done already, or on a read-only file system
	}
	tree, err := unix.OpenTree(unix.AT_FDCWD, "/proc/self/exe", unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC)
	if err != nil {
		return fmt.Errorf("protect this program from the container: clone the mount of its file: %w", err)
	}
	defer unix.Close(tree)
	attr := unix.MountAttr{Attr_set: unix.MOUNT_ATTR_RDONLY | unix.MOUNT_ATTR_NOSUID | unix.MOUNT_ATTR_NODEV}
	if err := unix.MountSetattr(tree, "", unix.AT_EMPTY_PATH, &attr); err != nil {
		return fmt.Errorf("protect this program from the container: make a mount of its file read-only: %w", err)
	}
	err = syscall.Exec(fmt.Sprintf("/proc/self/fd/%d", tree), os.Args, os.Environ())
	return fmt.Errorf("protect this program from the container: execute it again: %w", err)
}

// exposed reports whether processes of the container could trace a child of
// ours that joins its pid namespace.
func (d *execDesign) exposed() bool {
	if os.Geteuid() != 0 || !d.set.Has(unix.CLONE_NEWPID) || d.set.Has(unix.CLONE_NEWUSER) {
		return false
	}
	_, err := os.Lstat(d.container.path(tracedFile))
	return err == nil || d.traces
}

// mayTrace reports whether a process can have the right to trace others.
func mayTrace(caps *specs.LinuxCapabilities) bool {
	const trace = "CAP_SYS_PTRACE"
	return caps != nil && (slices.Contains(caps.Bounding, trace) || slices.Contains(caps.Permitted, trace) ||
		slices.Contains(caps.Effective, trace))
}

// noteTrace remembers an exec that may trace what joins after it.
func (d *execDesign) noteTrace() error {
	if !mayTrace(d.req.Process.Capabilities) {
		return nil
	}
	err := writeNew(d.container.dir, tracedFile, nil)
	if errors.Is(err, os.ErrExist) {
		return nil
	}
	return err
}
