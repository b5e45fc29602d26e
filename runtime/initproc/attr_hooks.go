package initproc

import (
	"errors"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"berth/base/codec"
)

// Hook is a program to run at a point of the container's life. It gets exactly
// Args and Env: nothing of ours, nothing of the image's (security class V14).
type Hook struct {
	Path    string
	Args    []string // from argv[0] on; Path alone if empty
	Env     []string
	Seconds int // 0: no limit of time
}

// Hooks runs hooks inside the container's namespaces. createContainer hooks
// come before pivot_root: their paths are the host's. startContainer hooks come
// after it: their paths are the container's. Both start in /, which no image
// controls before pivot_root.
type Hooks struct {
	Kind string // the spec's word, for error texts
	List []Hook
	// The state that hooks read is Head, the pid of this process in its own pid
	// namespace, then Tail.
	Head, Tail []byte
}

func (s *Hooks) Name() string { return "run " + s.Kind + " hooks" }
func (s *Hooks) op() op       { return opHooks }
func (s *Hooks) wire(c *coder) {
	c.Str(&s.Kind)
	codec.List(c, &s.List, func(c *coder, h *Hook) {
		c.Str(&h.Path)
		c.Strs(&h.Args)
		c.Strs(&h.Env)
		c.Int(&h.Seconds)
	})
	c.Bytes(&s.Head)
	c.Bytes(&s.Tail)
}

func (s *Hooks) do(*process) error {
	state := append([]byte(nil), s.Head...)
	state = strconv.AppendInt(state, int64(getpid()), 10)
	state = append(state, s.Tail...)
	for i := range s.List {
		if err := RunHook(&s.List[i], state, "/", nil); err != nil {
			return fail("hook "+strconv.Itoa(i)+" ("+s.List[i].Path+")", err)
		}
	}
	return nil
}

// maxHookText bounds how much of a hook's output stands in its error.
const maxHookText = 4 << 10

var (
	errHookTimeout   = errors.New("it ran out of time and was killed")
	errHookCancelled = errors.New("it was cancelled and killed")
)

func getpid() int { return syscall.Getpid() }

// RunHook runs one hook in dir with state on its standard input and waits for
// it. Its output is dropped but for the text of an error. When its time is up,
// or cancel is closed, its whole process group is killed. Both sides use it:
// hooks of the runtime's namespaces run beside the parent.
//
// Processes that a hook leaves in the background are not waited for. All our
// descriptors from 3 on become close-on-exec for good, also those that we were
// started with: none is a hook's business.
func RunHook(h *Hook, state []byte, dir string, cancel <-chan struct{}) error {
	if err := unix.CloseRange(3, maxFD, unix.CLOSE_RANGE_CLOEXEC); err != nil {
		return fail("close descriptors", err)
	}
	in, err := stateFile(state)
	if err != nil {
		return fail("pass the state", err)
	}
	defer unix.Close(in)
	var pipe [2]int
	if err := unix.Pipe2(pipe[:], unix.O_CLOEXEC); err != nil {
		return fail("pipe", err)
	}
	defer unix.Close(pipe[0])
	if err := unix.SetNonblock(pipe[0], true); err != nil {
		unix.Close(pipe[1])
		return fail("pipe", err)
	}
	r := hookRun{out: pipe[0], cancel: cancel}
	if h.Seconds > 0 {
		r.deadline = time.Now().Add(time.Duration(h.Seconds) * time.Second)
	}
	err = r.start(h, dir, in, pipe[1])
	unix.Close(pipe[1])
	if err != nil {
		return fail("start it", err)
	}
	defer unix.Close(r.pidfd)
	return r.wait()
}

// hookRun is a running hook.
type hookRun struct {
	pid, pidfd int
	out        int // its output, not blocking
	text       []byte
	deadline   time.Time // zero: none
	cancel     <-chan struct{}
}

func (r *hookRun) start(h *Hook, dir string, in, out int) (err error) {
	args := h.Args
	if len(args) == 0 {
		args = []string{h.Path}
	}
	env := h.Env
	if !guardHookEnv {
		env = append(syscall.Environ(), env...)
	}
	r.pidfd = -1
	r.pid, err = syscall.ForkExec(h.Path, args, &syscall.ProcAttr{
		Dir: dir, Env: env, Files: []uintptr{uintptr(in), uintptr(out), uintptr(out)},
		Sys: &syscall.SysProcAttr{Setpgid: true, PidFD: &r.pidfd},
	})
	if err == nil && r.pidfd < 0 {
		r.pidfd, err = unix.PidfdOpen(r.pid, 0)
		if err != nil {
			r.kill()
			r.reap()
		}
	}
	return err
}

// wait collects output until the hook has ended.
func (r *hookRun) wait() error {
	fds := []unix.PollFd{{Fd: int32(r.pidfd), Events: unix.POLLIN}, {Fd: int32(r.out), Events: unix.POLLIN}}
	var stopped error
	for {
		n, err := unix.Poll(fds, r.pollTime())
		if err != nil && err != unix.EINTR {
			stopped = err
		}
		if n > 0 && fds[1].Revents != 0 && !r.drain() {
			fds[1].Fd = -1 // end of file, or nothing more to want
		}
		if n > 0 && fds[0].Revents != 0 {
			break
		}
		if stopped == nil {
			stopped = r.overdue()
		}
		if stopped != nil {
			r.kill()
			break
		}
	}
	status := r.reap()
	r.drain()
	switch {
	case stopped != nil:
		return r.explain(stopped)
	case status.Signaled():
		return r.explain(errors.New("killed by signal " + strconv.Itoa(int(status.Signal()))))
	case status.ExitStatus() != 0:
		return r.explain(errors.New("exit status " + strconv.Itoa(status.ExitStatus())))
	}
	return nil
}

func (r *hookRun) overdue() error {
	select {
	case <-r.cancel:
		return errHookCancelled
	default:
	}
	if !r.deadline.IsZero() && time.Now().After(r.deadline) {
		return errHookTimeout
	}
	return nil
}

// pollTime is how long to sleep at most, in milliseconds for poll(2).
func (r *hookRun) pollTime() int {
	ms := -1
	if !r.deadline.IsZero() {
		ms = int(max(time.Until(r.deadline).Milliseconds()+1, 0))
	}
	if r.cancel != nil && (ms < 0 || ms > 50) {
		ms = 50
	}
	return ms
}

// drain reads what is there; false at end of file.
func (r *hookRun) drain() bool {
	var b [4096]byte
	for {
		n, err := unix.Read(r.out, b[:])
		switch {
		case err == unix.EINTR:
		case err != nil:
			return err == unix.EAGAIN
		case n == 0:
			return false
		default:
			r.text = append(r.text, b[:min(n, maxHookText-len(r.text))]...)
		}
	}
}

// kill ends the hook and what it started; it leads its process group.
func (r *hookRun) kill() {
	_ = unix.Kill(-r.pid, unix.SIGKILL)
	_ = unix.Kill(r.pid, unix.SIGKILL)
}

func (r *hookRun) reap() (status unix.WaitStatus) {
	for {
		_, err := unix.Wait4(r.pid, &status, 0, nil)
		if err != unix.EINTR {
			return status
		}
	}
}

// explain adds what the hook said, on one line.
func (r *hookRun) explain(err error) error {
	text := strings.TrimSpace(strings.ToValidUTF8(string(r.text), "?"))
	if text == "" {
		return err
	}
	return fail(err.Error()+": "+strconv.Quote(text), nil)
}

// stateFile makes a file with the state, to be read from its start. A memory
// file takes any size at once, which a pipe does not.
func stateFile(state []byte) (int, error) {
	fd, err := unix.MemfdCreate("state", unix.MFD_CLOEXEC|unix.MFD_NOEXEC_SEAL)
	if err == unix.EINVAL { // before Linux 6.3
		fd, err = unix.MemfdCreate("state", unix.MFD_CLOEXEC)
	}
	if err != nil {
		return -1, err
	}
	for off := 0; off < len(state); {
		n, err := unix.Pwrite(fd, state[off:], int64(off))
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			unix.Close(fd)
			return -1, err
		}
		off += n
	}
	return fd, nil
}
