package serve

import (
	"time"

	"golang.org/x/sys/unix"

	"berth/monitor/wire"
)

// session is one more process in the container: an exec.
type session struct {
	id       string
	pid      int
	terminal bool
	running  bool
	exit     wire.Exit
	by       *conn // reads its output while it is connected
	streams  []int // what is read after that
}

// keepSessions is how many ended sessions are remembered.
const keepSessions = 32

// session makes the newest child a session. On success the descriptors are kept.
func (c *conn) session(q *wire.Session, fds []int) error {
	m := c.m
	if m.findSession(q.ID) != nil || q.ID == "" {
		return &fault{"make session " + q.ID, unix.EEXIST}
	}
	if err := c.take(q.PID); err != nil {
		return err
	}
	s := &session{id: q.ID, pid: q.PID, terminal: q.Terminal, running: true, by: c, streams: fds}
	m.sessions = append(m.sessions, s)
	m.family.track(q.PID, func(ws unix.WaitStatus) { m.sessionEnded(s, ws) })
	return nil
}

func (m *monitor) findSession(id string) *session {
	for _, s := range m.sessions {
		if s.id == id {
			return s
		}
	}
	return nil
}

// signal signals a session's process and its group. It is not reaped, so both
// numbers are its own; a process that leads no group is signalled alone.
func (m *monitor) signal(q *wire.Signal) error {
	s := m.findSession(q.Session)
	if s == nil || !s.running {
		return &fault{"signal session " + q.Session, unix.ESRCH}
	}
	if pgid, err := unix.Getpgid(s.pid); err == nil && pgid == s.pid {
		_ = unix.Kill(-s.pid, unix.Signal(q.Number))
	}
	if err := unix.Kill(s.pid, unix.Signal(q.Number)); err != nil {
		return &fault{"signal session " + q.Session, err}
	}
	return nil
}

// drain reads and drops the output of a session whose caller has gone, so that
// it neither blocks nor dies of it.
func (s *session) drain(m *monitor) {
	if !s.running {
		return
	}
	for _, fd := range s.streams {
		_ = unix.SetNonblock(fd, true)
		_ = m.loop.add(fd, unix.EPOLLIN, func(uint32) {
			n, err := unix.Read(fd, m.chunk[:])
			if err != unix.EAGAIN && err != unix.EINTR && (err != nil || n == 0) {
				m.loop.forget(fd)
			}
		})
	}
}

func (m *monitor) sessionEnded(s *session, ws unix.WaitStatus) {
	s.running, s.by = false, nil
	for i := range s.streams {
		m.loop.close(&s.streams[i])
	}
	s.streams = nil
	s.exit = exitOf(s.pid, ws)
	s.exit.Time = time.Now().UnixNano()
	m.watches.tellAll(s.id, s.exit)
	ended := 0
	for _, other := range m.sessions {
		if !other.running {
			ended++
		}
	}
	for i, other := range m.sessions {
		if ended > keepSessions && !other.running {
			m.sessions = append(m.sessions[:i], m.sessions[i+1:]...)
			break
		}
	}
}

// exitOf is a wait status in the shell's convention.
func exitOf(pid int, ws unix.WaitStatus) wire.Exit {
	e := wire.Exit{PID: pid, Code: ws.ExitStatus()}
	if ws.Signaled() {
		e.Signal = int(ws.Signal())
		e.Code = 128 + e.Signal
	}
	return e
}
