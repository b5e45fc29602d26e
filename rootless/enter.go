// Package rootless lets an ordinary user's berth run as root of a user namespace
// of its own, where it may give files to the user's subordinate ids and mount
// overlays. It starts berth again inside and waits for it; it keeps nothing
// running afterwards and knows no verb. Row 4.
//
//	berth (user)  ── clone(new user and mount namespace) ──▶ berth, waits
//	              ── newuidmap, newgidmap, a byte ─────────▶ executes itself: root inside
//	  signals ──────────────────────────────────────────────▶ the verb
//	  ◀───────────────────────────────────────── exit code ──
package rootless

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"

	"berth/base/fault"
	"berth/runtime"
)

// The words between berth outside and inside.
const (
	uidName  = "BERTH_USER_UID"  // the user's id outside
	waitName = "BERTH_USER_WAIT" // the descriptor that the first process waits on
)

// UID is the id of the user who called berth, inside its namespace too.
func UID() int {
	if n, err := strconv.Atoi(os.Getenv(uidName)); err == nil && os.Geteuid() == 0 && n > 0 {
		return n
	}
	return os.Getuid()
}

// Enter goes on inside if the caller is an ordinary user with subordinate ids:
// entered is true and code is the exit code of what ran there. A user without
// ranges, and root, go on where they are.
func Enter() (code int, entered bool, err error) {
	if os.Getenv(waitName) != "" {
		return 0, false, wake()
	}
	if os.Geteuid() == 0 {
		return 0, false, nil
	}
	ids, ok, err := runtime.FindOwnIDs()
	if err != nil || !ok {
		return 0, false, err
	}
	code, err = inside(ids)
	if fault.Is(err, fault.Unsupported) {
		return 0, false, nil // no newuidmap: one id is all there is
	}
	return code, err == nil, err
}

// inside starts this program again in new namespaces and waits for its end.
func inside(ids runtime.OwnIDs) (int, error) {
	r, w, err := os.Pipe()
	if err != nil {
		return 0, err
	}
	defer r.Close()
	defer w.Close()
	cmd := exec.Command("/proc/self/exe")
	cmd.Args = os.Args
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.ExtraFiles = []*os.File{r}
	cmd.Env = append(os.Environ(), uidName+"="+strconv.Itoa(os.Getuid()), waitName+"=3")
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWUSER | unix.CLONE_NEWNS, Pdeathsig: syscall.SIGKILL}
	// The terminal's signals reach the process inside by themselves; others are
	// passed on.
	caught := make(chan os.Signal, 8)
	signal.Notify(caught, syscall.SIGINT, syscall.SIGQUIT, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGUSR1, syscall.SIGUSR2)
	defer signal.Stop(caught)
	if err := cmd.Start(); err != nil {
		return 0, fmt.Errorf("enter a user namespace: %w", err)
	}
	if err := ids.Write(cmd.Process.Pid); err != nil {
		return 0, errors.Join(err, cmd.Process.Kill(), ended(cmd.Wait()))
	}
	if _, err := w.Write([]byte{1}); err != nil {
		return 0, errors.Join(err, cmd.Process.Kill(), ended(cmd.Wait()))
	}
	w.Close()
	done := make(chan error, 1)
	go func() { done <- cmd.Wait() }()
	for {
		select {
		case s := <-caught:
			if s != syscall.SIGINT && s != syscall.SIGQUIT {
				_ = cmd.Process.Signal(s) // it may have ended by now
			}
		case err := <-done:
			if err := ended(err); err != nil {
				return 0, err
			}
			ws := cmd.ProcessState.Sys().(syscall.WaitStatus)
			if ws.Signaled() {
				return 128 + int(ws.Signal()), nil
			}
			return ws.ExitStatus(), nil
		}
	}
}

// ended drops the error that only says how a process ended.
func ended(err error) error {
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return nil
	}
	return err
}

// wake waits until the ids are mapped and executes this program once more: the
// kernel gives root's capabilities at execve(2) alone.
func wake() error {
	fd, err := strconv.Atoi(os.Getenv(waitName))
	if err != nil {
		return fault.New(fault.Invalid, "%s=%q", waitName, os.Getenv(waitName))
	}
	gate := os.NewFile(uintptr(fd), "gate")
	var b [1]byte
	if n, _ := gate.Read(b[:]); n != 1 {
		return fault.New(fault.Unavailable, "enter a user namespace: the process outside has ended")
	}
	gate.Close()
	if err := os.Unsetenv(waitName); err != nil {
		return err
	}
	if err := unix.Prctl(unix.PR_SET_PDEATHSIG, uintptr(syscall.SIGKILL), 0, 0, 0); err != nil {
		return err
	}
	return fmt.Errorf("execute berth in its user namespace: %w", unix.Exec("/proc/self/exe", os.Args, os.Environ()))
}
