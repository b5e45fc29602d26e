package initproc

import (
	"errors"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// Frames from the helper to the parent: a type byte, three of padding, the
// payload's length as uint32 in host byte order, the payload. Frames of
// package clone ('P', 'R', 'X') come before them on the same socket.
const (
	FrameHello  = 'H' // the helper runs; the parent may close the child's end of the socket
	FrameSync   = 'S' // payload: SyncPoint; the helper waits for one byte
	FrameWait   = 'W' // all is ready; the helper waits for start
	FrameNotify = 'N' // payload: uint32 number of the seccomp listener in the helper; waits for one byte
	FrameWarn   = 'w' // payload: a line for the log; the helper goes on
	FrameError  = 'E' // payload: uint32 errno (0 if none), uint32 Cause, text; the helper exits
)

// Cause tells the parent which exit code a failure deserves.
type Cause uint32

const (
	CauseSetup    Cause = iota // the container could not be made
	CauseNotFound              // the program does not exist (127 in docker's words)
	CauseNoExec                // the program cannot be executed (126)
)

// maxFrameText bounds the text of an error frame.
const maxFrameText = 16 << 10

// Main is the whole life of the helper as a first process: it receives a plan
// on sock, performs it, and becomes the user's program. It returns only the
// exit code of a failure, which it has reported to the parent.
//
// The caller has locked the main goroutine to the main thread: namespaces,
// capabilities and seccomp filters are a thread's own, and only the thread that
// calls execve(2) lives on.
func Main(sock int) int {
	p := &process{sock: sock, root: -1, console: -1, errors: -1}
	unix.CloseOnExec(sock)
	// Nobody in the container may look into this process or at its files until
	// it is the user's program: proc(5), PR_SET_DUMPABLE.
	if guardDumpable {
		if err := unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0); err != nil {
			return p.giveUp("make the first process undumpable", err)
		}
	}
	if err := p.send(FrameHello, nil); err != nil {
		return 1
	}
	plan, err := p.receive()
	if err != nil {
		return p.giveUp("receive the plan", err)
	}
	for _, s := range plan.Steps {
		if err := s.do(p); err != nil {
			return p.giveUp(s.Name(), err)
		}
	}
	return p.giveUp("perform the plan", errors.New("it has no program to execute"))
}

// causeError carries a Cause other than CauseSetup.
type causeError struct {
	cause Cause
	err   error
}

func (e *causeError) Error() string { return e.err.Error() }
func (e *causeError) Unwrap() error { return e.err }

// giveUp reports a failed step and returns the exit code.
func (p *process) giveUp(step string, err error) int {
	var errno syscall.Errno
	errors.As(err, &errno)
	cause := CauseSetup
	var ce *causeError
	if errors.As(err, &ce) {
		cause = ce.cause
	}
	text := strings.TrimPrefix(step+": "+err.Error(), ": ")
	if len(text) > maxFrameText {
		text = text[:maxFrameText]
	}
	payload := make([]byte, 0, 8+len(text))
	payload = appendU32(payload, uint32(errno))
	payload = appendU32(payload, uint32(cause))
	payload = append(payload, text...)
	if p.send(FrameError, payload) != nil && p.errors >= 0 {
		_, _ = unix.Write(p.errors, payload)
	}
	return 1
}

// warn tells the parent of something that went without being asked for.
func (p *process) warn(text string) {
	_ = p.send(FrameWarn, []byte(text))
}

func appendU32(b []byte, v uint32) []byte {
	return append(b, byte(v), byte(v>>8), byte(v>>16), byte(v>>24))
}

func readU32(b []byte) uint32 {
	return uint32(b[0]) | uint32(b[1])<<8 | uint32(b[2])<<16 | uint32(b[3])<<24
}

// send writes one frame.
func (p *process) send(kind byte, payload []byte) error {
	b := make([]byte, 0, 8+len(payload))
	b = append(b, kind, 0, 0, 0)
	b = appendU32(b, uint32(len(payload)))
	b = append(b, payload...)
	for len(b) > 0 {
		n, err := unix.SendmsgN(p.sock, b, nil, nil, unix.MSG_NOSIGNAL)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return err
		}
		b = b[n:]
	}
	return nil
}

// waitByte blocks until the parent says go on; io.EOF-like death otherwise.
func (p *process) waitByte() error {
	var b [1]byte
	for {
		n, err := unix.Read(p.sock, b[:])
		if err == unix.EINTR {
			continue
		}
		if err == nil && n != 1 {
			return errors.New("the parent went away")
		}
		return err
	}
}

// SyncPoint is a place in the plan where the parent acts while the first
// process waits.
type SyncPoint uint32

const (
	// SyncRuntimeHooks is after the mounts, before pivot_root: prestart and
	// createRuntime hooks (runtime-spec, "Lifecycle").
	SyncRuntimeHooks SyncPoint = iota + 1
	// SyncLimits is the last moment before the wait for start, or before the
	// program: limits that the helper itself would not fit into.
	SyncLimits
)

// Sync lets the parent act before the next step.
type Sync struct{ Point SyncPoint }

func (s *Sync) Name() string {
	if s.Point == SyncLimits {
		return "wait for the last limits"
	}
	return "wait for the parent's hooks"
}

func (s *Sync) op() op { return opSync }
func (s *Sync) wire(c *coder) {
	v := uint32(s.Point)
	c.U32(&v)
	s.Point = SyncPoint(v)
}

func (s *Sync) do(p *process) error {
	if err := p.send(FrameSync, appendU32(nil, uint32(s.Point))); err != nil {
		return err
	}
	return p.waitByte()
}
