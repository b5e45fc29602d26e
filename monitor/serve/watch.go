package serve

import (
	"golang.org/x/sys/unix"

	"berth/monitor/wire"
)

// watch is somebody who waits for an exit on a socket of its own.
type watch struct {
	fd      int
	session string
	follow  bool // does what follows the exit
	asked   bool // a Verdict is awaited
}

// watches are all who wait.
type watches struct {
	m    *monitor
	list []*watch
}

// add registers. On success the descriptor is kept, or was used up.
func (ws *watches) add(q *wire.Watch, fd int) error {
	m := ws.m
	w := &watch{fd: fd, session: q.Session, follow: q.Follow}
	if q.Session != "" {
		s := m.findSession(q.Session)
		if s == nil {
			return &fault{"watch session " + q.Session, unix.ESRCH}
		}
		if !s.running {
			_ = tell(fd, encodeExit(s.exit))
			unix.Close(fd)
			return nil
		}
	} else if m.first.pid > 0 && !m.first.running && m.due.again == nil {
		_ = tell(fd, encodeExit(m.first.exit))
		unix.Close(fd)
		return nil
	}
	if err := unix.SetNonblock(fd, true); err != nil {
		return &fault{"watch", err}
	}
	if err := m.loop.add(fd, unix.EPOLLIN, func(uint32) { ws.heard(w) }); err != nil {
		return err
	}
	ws.list = append(ws.list, w)
	return nil
}

func encodeExit(e wire.Exit) []byte { return wire.Event(&e) }

// heard is a watcher's verdict, or its end.
func (ws *watches) heard(w *watch) {
	b, fds, err := receive(w.fd, 0)
	closeAll(fds)
	if err == unix.EAGAIN {
		return
	}
	q := &wire.Verdict{}
	said := err == nil && len(b) > 0 && wire.Op(b[0]) == wire.OpVerdict && wire.Decode(b[1:], q) == nil
	asked := w.asked
	ws.drop(w)
	switch {
	case asked && said:
		ws.m.obey(q.Again, q.After)
	case asked:
		ws.m.follow() // it promised and died
	}
}

func (ws *watches) drop(w *watch) {
	ws.m.loop.close(&w.fd)
	for i, other := range ws.list {
		if other == w {
			ws.list = append(ws.list[:i], ws.list[i+1:]...)
			return
		}
	}
}

// tellAll tells those who wait for the exit of the first process, or of a
// session. Who promised to follow stays: follow asks one of them.
func (ws *watches) tellAll(session string, e wire.Exit) {
	for i := len(ws.list) - 1; i >= 0; i-- {
		w := ws.list[i]
		if w.session == session && !(session == "" && w.follow) {
			_ = tell(w.fd, encodeExit(e))
			ws.drop(w)
		}
	}
}

// follow asks one who promised to do what follows the exit, and reports whether
// there is one. Others who promised are only told.
func (ws *watches) follow(e wire.Exit) bool {
	var chosen *watch
	for i := len(ws.list) - 1; i >= 0; i-- {
		w := ws.list[i]
		if w.session != "" || !w.follow {
			continue
		}
		e.Yours = chosen == nil
		if tell(w.fd, encodeExit(e)) != nil || chosen != nil {
			ws.drop(w)
			continue
		}
		chosen, w.asked = w, true
	}
	return chosen != nil
}
