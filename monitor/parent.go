package monitor

import (
	"os"
	"time"

	"golang.org/x/sys/unix"

	"berth/monitor/wire"
	"berth/sys/clone"
)

// Clone is clone.Start in the monitor: the child is the monitor's. See
// runtime.Parent.
func (c *Conn) Clone(a *clone.Attr) (pid int, twoStage bool, err error) {
	b, fds, err := a.Marshal()
	if err != nil {
		return 0, false, err
	}
	var answer wire.Cloned
	if err := c.call(wire.OpClone, &wire.Clone{Attr: string(b)}, &answer, fds...); err != nil {
		return 0, false, err
	}
	return answer.PID, answer.TwoStage, nil
}

// Spoken says that the newest child of this connection runs its program and
// what its pid is: the first stage of its clone is reaped. See Settle.
func (c *Conn) Spoken(pid int) error { return c.post(wire.OpSpoken, &wire.Child{PID: pid}) }

// Abandon kills and reaps the newest child of this connection and its first
// stage. It returns when they are gone.
func (c *Conn) Abandon(pid int) error {
	_ = c.Settle() // whatever failed before, this has to be done
	return c.call(wire.OpAbandon, &wire.Child{PID: pid}, &wire.Nothing{})
}

// Prepare says that a first process is about to be made, the first one or,
// after an exit, another. The monitor opens the streams' ends and gives up
// waiting for a restart. It fails with EBUSY while the old one runs. See Settle.
func (c *Conn) Prepare() error { return c.post(wire.OpPrepare, &wire.Nothing{}) }

// Adopt makes a child, pid as the runtime gave it, the container's first
// process: it is no longer killed when this connection ends, and its end is the
// container's. terminal is its terminal's master or nil; oom are open
// memory.events or memory.oom_control files that tell of its OOM kills. See Settle.
func (c *Conn) Adopt(pid int, terminal *os.File, oom ...*os.File) error {
	var fds []int
	if terminal != nil {
		fds = append(fds, int(terminal.Fd()))
	}
	for _, f := range oom {
		fds = append(fds, int(f.Fd()))
	}
	return c.post(wire.OpAdopt, &wire.Adopt{PID: pid, Terminal: terminal != nil}, fds...)
}

// Session makes a child an exec session. drain are the ends from which its
// output is read, or its terminal's master: the caller reads them, and when its
// connection ends the monitor does, so that the session goes on.
func (c *Conn) Session(id string, pid int, terminal bool, drain ...*os.File) error {
	var fds []int
	for _, f := range drain {
		fds = append(fds, int(f.Fd()))
	}
	return c.call(wire.OpSession, &wire.Session{ID: id, PID: pid, Terminal: terminal}, &wire.Nothing{}, fds...)
}

// Resize sets the size of the terminal of the first process, or of a session.
func (c *Conn) Resize(session string, rows, cols uint16) error {
	return c.call(wire.OpResize, &wire.Resize{Session: session, Rows: rows, Cols: cols}, &wire.Nothing{})
}

// Signal sends a signal to a session's process and those of its group. ESRCH if
// it has ended.
func (c *Conn) Signal(session string, sig unix.Signal) error {
	return c.call(wire.OpSignal, &wire.Signal{Session: session, Number: int(sig)}, &wire.Nothing{})
}

// Hold gives the monitor sockets to keep open, instead of those before, for as
// long as it lives: none lets go of them, in force when it returns.
func (c *Conn) Hold(sockets ...*os.File) error {
	return c.call(wire.OpHold, &wire.Nothing{}, &wire.Nothing{}, numbers(sockets)...)
}

// Keep is Hold without waiting for it. See Settle.
func Keep(c *Conn, sockets ...*os.File) error {
	return c.post(wire.OpHold, &wire.Nothing{}, numbers(sockets)...)
}

func numbers(files []*os.File) (fds []int) {
	for _, f := range files {
		fds = append(fds, int(f.Fd()))
	}
	return fds
}

// Beside gives the monitor a socket to what serves the container from outside,
// instead of the one before. When it hangs up while the first process runs,
// Words.Beside is started. See Settle.
func Beside(c *Conn, f *os.File) error { return c.post(wire.OpBeside, &wire.Nothing{}, int(f.Fd())) }

// Relay gives the monitor a socket to the relay of published ports, or what becomes
// readable when one is needed: nil for neither. What was given before is told to end,
// and waited for. When it hangs up or becomes readable while the first process runs,
// Words.Relay is started. See Settle.
func Relay(c *Conn, f *os.File) error {
	if f == nil {
		return c.post(wire.OpRelay, &wire.Nothing{})
	}
	return c.post(wire.OpRelay, &wire.Nothing{}, int(f.Fd()))
}

// Held returns copies of the sockets that the monitor keeps open.
func (c *Conn) Held() ([]*os.File, error) {
	var answer wire.Held
	fds, err := c.take(wire.OpHeld, &wire.Nothing{}, &answer)
	if err != nil {
		return nil, err
	}
	var files []*os.File
	for _, fd := range fds {
		files = append(files, os.NewFile(uintptr(fd), "held port"))
	}
	return files, nil
}

// Status asks the monitor about itself.
func (c *Conn) Status() (*Status, error) {
	s := &Status{}
	return s, c.call(wire.OpStatus, &wire.Nothing{}, s)
}

// Dismiss ends the monitor and, if it lives, the first process. No exit is
// recorded and nothing follows it: for a start that failed after Adopt. It returns
// when the monitor is gone, or after the limit; below 0 is none. From the answer
// on nobody else can reach the monitor; a word that is at work keeps it a while.
func (c *Conn) Dismiss(limit time.Duration) error {
	_ = c.Settle() // whatever failed before, this has to be done
	if err := c.call(wire.OpDismiss, &wire.Nothing{}, &wire.Nothing{}); err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	deadline := time.Now().Add(limit)
	for {
		wait := -1
		if limit >= 0 {
			wait = int(max(0, time.Until(deadline)).Milliseconds())
		}
		_, err := unix.Poll([]unix.PollFd{{Fd: int32(c.fd), Events: unix.POLLIN}}, wait)
		if err != unix.EINTR {
			return os.NewSyscallError("poll", err)
		}
	}
}
