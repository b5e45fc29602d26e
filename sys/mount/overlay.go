package mount

import (
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"berth/sys/thread"
)

// Overlay makes a detached overlay mount of the layers lower, the topmost
// first. Their number is not bounded: the kernel gets them one by one. A
// kernel before 6.8 cannot; see NeedsOldOverlay.
func Overlay(lower []string, params []Param, attr uint64) (int, error) {
	all := make([]Param, 0, len(lower)+len(params))
	for _, l := range lower {
		all = append(all, Param{Key: "lowerdir+", Value: l})
	}
	all = append(all, params...)
	renew(params)
	var open []int
	defer func() {
		for _, fd := range open {
			unix.Close(fd)
		}
	}()
	for i := range all {
		if len(all[i].Value) <= maxString {
			continue
		}
		fd, err := unix.Open(all[i].Value, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
		if err != nil {
			return -1, &Error{Type: "overlay", Op: "open " + all[i].Value, Err: err}
		}
		open = append(open, fd)
		all[i].Value = "/proc/" + FDPath(fd)
	}
	return New("overlay", "overlay", all, attr)
}

// renew takes away the mark by which the kernel refuses to mount again what was
// mounted with "volatile" (overlayfs.rst, "Volatile mount"): it stands for a machine
// that may have stopped before all was written, after which nobody mounts here what
// such a mount has left.
func renew(params []Param) {
	work, volatile := "", false
	for _, p := range params {
		switch p.Key {
		case "workdir":
			work = p.Value
		case "volatile":
			volatile = true
		}
	}
	if volatile && work != "" {
		// What cannot be removed shows in the mount that follows.
		mark := work + "/work/incompat/volatile"
		_ = unix.Unlink(mark + "/dirty")
		_ = unix.Rmdir(mark)
	}
}

// NeedsOldOverlay reports whether err of Overlay asks for OldOverlay.
func NeedsOldOverlay(err error) bool {
	e, ok := err.(*Error)
	// Before 6.5 overlay has no parameters of its own: the kernel takes any word,
	// and only the making of the mount fails.
	return ok && e.Err == unix.EINVAL && (e.Op == "create" || strings.HasPrefix(e.Op, "option lowerdir+"))
}

// OldOverlay is Overlay by mount(2), on folder, which all layers lie in, for a
// moment; the caller's mount namespace is one that nobody else sees. It changes
// the working directory, as the paths must fit into one page.
func OldOverlay(folder string, lower []string, params []Param, attr uint64) (int, error) {
	if err := unix.Chdir(folder); err != nil {
		return -1, &Error{Type: "overlay", Op: "change to " + folder, Err: err}
	}
	renew(params)
	near := func(path string) string { return strings.TrimPrefix(path, folder+"/") }
	short := make([]string, len(lower))
	for i, l := range lower {
		short[i] = near(l)
	}
	all := make([]Param, len(params), len(params)+1)
	for i, p := range params {
		p.Value = near(p.Value)
		all[i] = p
	}
	data := Data(append(all, Param{Key: "lowerdir", Value: strings.Join(short, ":")}))
	if len(data) >= unix.Getpagesize() {
		return -1, &Error{Type: "overlay", Op: strconv.Itoa(len(lower)) + " layers are too many for a kernel before 6.8", Err: unix.E2BIG}
	}
	//house:allow call on a folder of the store, in a mount namespace that is ours alone
	if err := unix.Mount("overlay", folder, "overlay", uintptr(OldFlags(attr)), data); err != nil {
		return -1, &Error{Type: "overlay", Op: "mount " + strconv.Itoa(len(lower)) + " layers", Err: err}
	}
	fd, err := ClonePath(folder, false)
	if e := unix.Unmount(folder, unix.MNT_DETACH); err == nil && e != nil {
		unix.Close(fd)
		err = e
	}
	if err != nil {
		return -1, &Error{Type: "overlay", Op: "detach it from " + folder, Err: err}
	}
	return fd, nil
}

// OldOverlayApart is OldOverlay for a caller whose mount namespace others see, too:
// in one that ends with the call. Paths are looked up in the calling thread's.
func OldOverlayApart(folder string, lower []string, params []Param, attr uint64) (fd int, err error) {
	ns, err := unix.Open("/proc/thread-self/ns/mnt", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return -1, &Error{Type: "overlay", Op: "open the mount namespace", Err: err}
	}
	defer unix.Close(ns)
	fd = -1
	thread.Apart(func() {
		if err = leaveTo(ns); err == nil {
			fd, err = OldOverlay(folder, lower, params, attr)
		}
	})
	return fd, err
}

// leaveTo gives this thread a private copy of a mount namespace.
func leaveTo(ns int) error {
	fail := func(op string, err error) error { return &Error{Type: "overlay", Op: op, Err: err} }
	if err := unix.Unshare(unix.CLONE_FS); err != nil {
		return fail("unshare the working folder", err)
	}
	// A locked goroutine may be in another one than the rest of the program.
	var want, have unix.Stat_t
	if err := unix.Fstat(ns, &want); err != nil {
		return fail("look at the mount namespace", err)
	}
	if err := unix.Stat("/proc/thread-self/ns/mnt", &have); err != nil {
		return fail("look at the mount namespace", err)
	}
	if want.Ino != have.Ino {
		if err := unix.Setns(ns, unix.CLONE_NEWNS); err != nil {
			return fail("enter the caller's mount namespace", err)
		}
	}
	if err := unix.Unshare(unix.CLONE_NEWNS); err != nil {
		return fail("make a mount namespace", err)
	}
	if err := SetPropagation("/", unix.MS_PRIVATE); err != nil {
		return fail("make its mounts private", err)
	}
	return nil
}
