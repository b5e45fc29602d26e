package serve

import (
	"errors"

	"golang.org/x/sys/unix"

	"berth/monitor/wire"
)

var (
	errUnknown   = errors.New("the monitor does not know this request: it is of another version")
	errNotYet    = errors.New("the monitor was not told its work yet")
	errWrongFDs  = errors.New("the request came with the wrong number of descriptors")
	errNoStreams = errors.New("the container's streams are none of the monitor's")
)

// serve carries out one request. Descriptors are closed unless they were kept.
// No answer and no error: it comes later.
func (c *conn) serve(op wire.Op, b []byte, fds []int) (wire.Message, error) {
	kept := false
	defer func() {
		if !kept {
			closeAll(fds)
		}
	}()
	m := c.m
	if m.cfg == nil && op != wire.OpConfigure && op != wire.OpDismiss {
		return nil, errNotYet
	}
	done := &wire.Nothing{}
	switch op {
	case wire.OpConfigure:
		q := &wire.Config{}
		if err := decode(b, q, fds, 0); err != nil || !c.starter {
			return nil, orUnknown(err)
		}
		return done, m.configure(q)
	case wire.OpPrepare:
		return done, m.prepare()
	case wire.OpClone:
		q := &wire.Clone{}
		if err := wire.Decode(b, q); err != nil {
			return nil, err
		}
		return c.clone(q, fds)
	case wire.OpSpoken:
		q := &wire.Child{}
		if err := decode(b, q, fds, 0); err != nil {
			return nil, err
		}
		return done, c.spoken(q.PID)
	case wire.OpAbandon:
		q := &wire.Child{}
		if err := decode(b, q, fds, 0); err != nil {
			return nil, err
		}
		m.abandon(c, q.PID)
		return nil, nil
	case wire.OpAdopt:
		q := &wire.Adopt{}
		if err := wire.Decode(b, q); err != nil {
			return nil, err
		}
		err := c.adopt(q, fds)
		kept = err == nil
		return done, err
	}
	answer, kept2, err := c.serveMore(op, b, fds)
	kept = kept2
	return answer, err
}

// serveMore carries out what is asked of a running container.
func (c *conn) serveMore(op wire.Op, b []byte, fds []int) (_ wire.Message, kept bool, err error) {
	m := c.m
	done := &wire.Nothing{}
	switch op {
	case wire.OpSession:
		q := &wire.Session{}
		if err := wire.Decode(b, q); err != nil {
			return nil, false, err
		}
		err := c.session(q, fds)
		return done, err == nil, err
	case wire.OpAttach:
		q := &wire.Attach{}
		if err := wire.Decode(b, q); err != nil {
			return nil, false, err
		}
		err := m.streams.attach(q, fds)
		return done, err == nil, err
	case wire.OpWatch:
		q := &wire.Watch{}
		if err := decode(b, q, fds, 1); err != nil {
			return nil, false, err
		}
		err := m.watches.add(q, fds[0])
		return done, err == nil, err
	case wire.OpResize:
		q := &wire.Resize{}
		if err := decode(b, q, fds, 0); err != nil {
			return nil, false, err
		}
		return done, false, m.resize(q)
	case wire.OpSignal:
		q := &wire.Signal{}
		if err := decode(b, q, fds, 0); err != nil {
			return nil, false, err
		}
		return done, false, m.signal(q)
	case wire.OpHold:
		err := m.held.keep(fds)
		return done, err == nil, err
	case wire.OpHeld:
		var err error
		c.gives, err = m.held.copies()
		return &wire.Held{Count: len(c.gives)}, false, err
	case wire.OpBeside:
		if len(fds) != 1 {
			return nil, false, errWrongFDs
		}
		err := m.due.beside.watch(fds[0])
		return done, err == nil, err
	case wire.OpRelay:
		kept, err := m.due.relay.replace(fds)
		return done, kept, err
	case wire.OpStatus:
		return m.status(), false, nil
	case wire.OpDismiss:
		m.dismiss()
		return done, false, nil
	}
	return nil, false, errUnknown
}

func decode(b []byte, q wire.Message, fds []int, want int) error {
	if err := wire.Decode(b, q); err != nil {
		return err
	}
	if len(fds) != want {
		return errWrongFDs
	}
	return nil
}

func orUnknown(err error) error {
	if err == nil {
		return errUnknown
	}
	return err
}

// resize sets the size of a terminal.
func (m *monitor) resize(q *wire.Resize) error {
	fd := m.streams.terminal.master
	if q.Session != "" {
		s := m.findSession(q.Session)
		if s == nil || !s.running {
			return &fault{"resize the terminal of session " + q.Session, unix.ESRCH}
		}
		if fd = -1; s.terminal && len(s.streams) > 0 {
			fd = s.streams[0]
		}
	}
	if fd < 0 {
		return &fault{"resize the terminal", unix.ENOTTY}
	}
	if err := unix.IoctlSetWinsize(fd, unix.TIOCSWINSZ, &unix.Winsize{Row: q.Rows, Col: q.Cols}); err != nil {
		return &fault{"resize the terminal", err}
	}
	return nil
}

// dismiss ends the first process, and the monitor with it, without a word.
func (m *monitor) dismiss() {
	m.dismissed = true
	if m.cfg == nil { // it has nothing to put in order
		m.loop.done = true
		return
	}
	if m.first.running {
		m.first.kill()
		return
	}
	m.end()
}
