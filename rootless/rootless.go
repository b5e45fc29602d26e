// Package rootless lets an ordinary user's berth run as root of a user namespace
// of the user's own, where it may give files to the user's subordinate ids, mount
// overlays and look after containers. All commands of one user share that
// namespace, and a network namespace in it: a small process, the holder, keeps both
// open from the first command until a little after the last container has gone. What
// the user's networks send elsewhere goes to a device, and from there by another
// process, the way out, which begins with the first network that leads out and ends
// with the holder. The package knows no verb. Row 4.
//
//	berth (user) ── clone(new user namespace) ──▶ holder: sleeps
//	             ── newuidmap, newgidmap ──────▶
//	             ── clone, setns(holder's), new mount namespace ──▶ berth: root inside
//	  signals ────────────────────────────────────────────────────▶ the verb
//	  ◀───────────────────────────────────────────────── exit code ──
//
// Two locks, in this order: holder.lock while the namespace is looked for, made or
// ended; users.lock, shared by all commands that are inside. The way out holds
// uplink.lock as long as it lives.
package rootless

import (
	"fmt"
	"os"
	"strconv"

	"golang.org/x/sys/unix"

	"berth/base/fault"
	"berth/runtime"
	"berth/sys/proc"
)

// The words between berth outside and inside.
const (
	uidName    = "BERTH_USER_UID"    // the user's id outside
	sockName   = "BERTH_USER_SOCK"   // a descriptor that ends with the process outside
	helperName = "BERTH_USER_HELPER" // a descriptor of the program that the holder is, if any
)

// UID is the id of the user who called berth, inside its namespace too.
func UID() int {
	n, err := strconv.Atoi(os.Getenv(uidName))
	if err == nil && n > 0 && os.Geteuid() == 0 {
		if inside, _ := proc.InUserNamespace(); inside {
			return n
		}
	}
	return os.Getuid()
}

// Enter goes on inside if the caller is an ordinary user: entered is true and
// code is the exit code of what ran there. Root goes on where it is, and so does
// a user who can have no namespace: why says the reason, and verbs on images
// need none. run is the user's run folder.
func Enter(run string) (code int, entered bool, why, err error) {
	if os.Getenv(sockName) != "" {
		return 0, false, nil, begin()
	}
	if os.Geteuid() == 0 {
		return 0, false, nil, nil
	}
	ids, err := runtime.FindOwnIDs()
	if err != nil {
		return 0, false, nil, err
	}
	h, err := openHome(run)
	if err != nil {
		return 0, false, nil, err
	}
	ns, err := h.join(ids)
	if fault.Is(err, fault.Unsupported) || fault.Is(err, fault.Permission) {
		return 0, false, err, nil
	}
	if err != nil {
		return 0, false, nil, err
	}
	defer ns.Close()
	defer h.closeProgram()
	code, err = inside(ns, h.program)
	if left := h.leave(); err == nil {
		err = left
	}
	return code, err == nil, nil, err
}

// begin is the first thing inside: not to outlive the process outside.
func begin() error {
	fd, err := strconv.Atoi(os.Getenv(sockName))
	if err != nil || fd < 3 {
		return fault.New(fault.Invalid, "%s=%q", sockName, os.Getenv(sockName))
	}
	defer unix.Close(fd)
	if err := os.Unsetenv(sockName); err != nil {
		return err
	}
	if program, err := strconv.Atoi(os.Getenv(helperName)); err == nil && program >= 3 {
		unix.CloseOnExec(program)
		runtime.UseHelper(os.NewFile(uintptr(program), "berth-helper"))
	}
	if err := os.Unsetenv(helperName); err != nil {
		return err
	}
	if err := unix.Prctl(unix.PR_SET_PDEATHSIG, uintptr(unix.SIGKILL), 0, 0, 0); err != nil {
		return fmt.Errorf("enter a user namespace: %w", os.NewSyscallError("prctl", err))
	}
	var b [1]byte
	if _, _, err := unix.Recvfrom(fd, b[:], unix.MSG_DONTWAIT); err != unix.EAGAIN {
		return fault.New(fault.Unavailable, "enter a user namespace: the process outside has ended")
	}
	return nil
}
