package rootless

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"

	"golang.org/x/sys/unix"

	"berth/base/fault"
	"berth/base/undo"
	"berth/rootless/hold"
	"berth/runtime"
	"berth/sys/clone"
	"berth/sys/proc"
)

var errEnded = fault.New(fault.Unavailable, "enter a user namespace: the holder has ended")

// hold starts a holder: in the namespaces that one of the processes lost is in, or
// whose network the way out of a killed one still has open, else in new ones.
func (h *home) hold(ids runtime.OwnIDs, lost []int) (_ *os.File, err error) {
	var u undo.Stack
	defer u.Unwind(&err)
	helper, err := runtime.Helper()
	if err != nil {
		return nil, err
	}
	u.Push("close the helper", helper.Close)
	attr := &clone.Attr{Program: int(helper.Fd()), Argv: []string{"berth-helper", "hold", "SOCKET"}, SockArg: 2, Env: []string{"GOMAXPROCS=1", "GOGC=off", hold.Home + "=" + h.dir}, New: unix.CLONE_NEWUSER | unix.CLONE_NEWNET}
	old, err := h.read()
	if err != nil {
		return nil, err
	}
	for _, pid := range lost {
		if f := openNamespace(pid, "ns/user", old.ns); f != nil {
			defer f.Close()
			attr.New, attr.Join = unix.CLONE_NEWNET, []clone.Join{{FD: int(f.Fd()), Flag: unix.CLONE_NEWUSER}}
			break
		}
	}
	if len(attr.Join) > 0 {
		if f := h.lostNetwork(old); f != nil {
			defer f.Close()
			attr.New, attr.Join = 0, append(attr.Join, clone.Join{FD: int(f.Fd()), Flag: unix.CLONE_NEWNET})
		}
	}
	c, err := start(attr)
	if err != nil {
		return nil, err
	}
	defer c.close()
	u.Push("end the holder", c.kill)
	if attr.New&unix.CLONE_NEWUSER != 0 {
		if err := ids.Write(c.pid); err != nil {
			if st, failed := proc.ReadStat(c.pid); failed == nil && st.Dead() {
				return nil, errEnded // whatever a mapper says of one that is dead
			}
			return nil, err
		}
	}
	st, err := proc.ReadStat(c.pid)
	if err != nil {
		return nil, fmt.Errorf("look at the holder: %w", err)
	}
	name, err := os.Readlink("/proc/" + strconv.Itoa(c.pid) + "/ns/user")
	if err != nil {
		return nil, fmt.Errorf("look at the holder: %w", err)
	}
	network, err := os.Readlink("/proc/" + strconv.Itoa(c.pid) + "/ns/net")
	if err != nil {
		return nil, fmt.Errorf("look at the holder: %w", err)
	}
	ns := openNamespace(c.pid, "ns/user", name)
	if ns == nil {
		return nil, errEnded
	}
	u.Push("close the namespace", ns.Close)
	// Noted before it is let go: until then it ends with this process, afterwards only
	// by whoever finds the note.
	if err := runtime.OwnScope(context.Background(), "berth-holder-"+strconv.Itoa(c.pid), c.pid); err != nil {
		return nil, err
	}
	if err := h.write(holder{process{c.pid, st.StartTime}, name, network}); err != nil {
		return nil, err
	}
	if err := c.proceed(); err != nil {
		return nil, err
	}
	u.Release()
	h.program = helper
	return ns, nil
}

// maxFrame bounds what a child may say at once.
const maxFrame = 8

// child is a process made by package clone, which waits to be let go.
type child struct{ pid, sock int }

// start clones a child and waits until its namespaces exist.
func start(attr *clone.Attr) (_ *child, err error) {
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("enter a user namespace: %w", os.NewSyscallError("socketpair", err))
	}
	attr.CgroupDir, attr.Sock, attr.BecomeRoot = -1, pair[1], true
	for i, e := range attr.Env {
		if e == sockName+"=" {
			attr.Env[i] += strconv.Itoa(pair[1])
		}
	}
	c := &child{sock: pair[0]}
	c.pid, _, err = clone.Start(attr)
	unix.Close(pair[1])
	if err == nil {
		err = c.ready()
	}
	if err == nil {
		return c, nil
	}
	c.close()
	if c.pid > 0 {
		_ = c.kill()
	}
	if errors.Is(err, unix.EPERM) || errors.Is(err, unix.EACCES) || errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EUSERS) {
		return nil, fault.New(fault.Unsupported, "make a user namespace: %v: this host lets ordinary users have none, see sysctl kernel.unprivileged_userns_clone, user.max_user_namespaces and kernel.apparmor_restrict_unprivileged_userns, for which berth has a profile, /etc/apparmor.d/berth", err)
	}
	return nil, fmt.Errorf("enter a user namespace: %w", err)
}

// ready waits for the frame that says so.
func (c *child) ready() error {
	kind, payload, err := clone.ReadFrame(c, maxFrame)
	switch {
	case err != nil:
		return err
	case kind == clone.FrameReady:
		return nil
	case kind == clone.FrameFail:
		return clone.FailError(payload)
	}
	return errors.New("the new process sent an unexpected message")
}

// proceed lets the child go and waits until it has executed and closed its
// socket.
func (c *child) proceed() error {
	if err := clone.Go(c.sock, nil, -1); err != nil {
		return err
	}
	err := c.ready()
	if errors.Is(err, io.EOF) {
		return nil
	}
	if err == nil {
		err = errors.New("the new process sent an unexpected message")
	}
	return fmt.Errorf("enter a user namespace: %w", err)
}

// Read reads what the child says.
func (c *child) Read(b []byte) (int, error) {
	for {
		n, err := unix.Read(c.sock, b)
		switch {
		case err == unix.EINTR:
		case err != nil:
			return 0, os.NewSyscallError("read", err)
		case n == 0:
			return 0, io.EOF
		default:
			return n, nil
		}
	}
}

func (c *child) close() {
	if c.sock >= 0 {
		unix.Close(c.sock)
		c.sock = -1
	}
}

// kill ends the child and reaps it.
func (c *child) kill() error {
	if err := unix.Kill(c.pid, unix.SIGKILL); err != nil && err != unix.ESRCH {
		return os.NewSyscallError("kill", err)
	}
	_, err := c.wait()
	return err
}

// wait reaps the child.
func (c *child) wait() (unix.WaitStatus, error) {
	var ws unix.WaitStatus
	for {
		_, err := unix.Wait4(c.pid, &ws, 0, nil)
		if err != unix.EINTR {
			return ws, os.NewSyscallError("wait4", err)
		}
	}
}
