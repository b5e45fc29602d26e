package serve

import (
	"os"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"berth/monitor/wire"
	"berth/sys/clone"
	"berth/sys/oom"
)

// family are the children that are reaped when they end; changed is called then.
type family struct {
	loop    *loop
	kids    map[int]*kid
	changed func()
}

// kid is a child that is reaped when it ends.
type kid struct {
	pid, pidfd int
	gone       func(unix.WaitStatus)
}

// birth is a child on its way: cloned for a connection, not adopted yet.
type birth struct {
	first    int // as cloned; with two stages the one that goes
	twoStage bool
	pid      int // of the process itself, 0 until the engine tells
}

// clone makes a child for the engine on the other side.
func (c *conn) clone(q *wire.Clone, fds []int) (wire.Message, error) {
	if c.birth != nil || c.m.ending {
		return nil, &fault{"clone a process", unix.EBUSY}
	}
	a, err := clone.Unmarshal([]byte(q.Attr), fds)
	if err != nil {
		return nil, err
	}
	cfg := c.m.cfg
	if cfg.OOMScoreAdj != cfg.ChildOOMScoreAdj {
		// It is inherited, by the second stage too, so it must be right before.
		oom.TryAdjust(cfg.ChildOOMScoreAdj)
		defer oom.TryAdjust(cfg.OOMScoreAdj)
	}
	pid, twoStage, err := clone.Start(a)
	if err != nil {
		return nil, err
	}
	c.birth = &birth{first: pid, twoStage: twoStage}
	if !twoStage {
		c.birth.pid = pid
	}
	return &wire.Cloned{PID: pid, TwoStage: twoStage}, nil
}

// spoken notes the pid of the newest child, and lets its first stage go.
func (c *conn) spoken(pid int) error {
	b := c.birth
	if b == nil || !isChild(pid) {
		return &fault{"take process " + strconv.Itoa(pid), unix.ECHILD}
	}
	b.pid = pid
	if b.twoStage && b.first != pid {
		c.m.family.track(b.first, nil)
	}
	b.twoStage = false
	return nil
}

// take makes the newest child one that stays.
func (c *conn) take(pid int) error {
	b := c.birth
	if b == nil || b.pid != pid {
		return &fault{"adopt process " + strconv.Itoa(pid), unix.ECHILD}
	}
	c.birth = nil
	return nil
}

// abandon kills a connection's newest child and answers when it is gone. pid is
// what the engine knows of it, 0 nothing.
func (m *monitor) abandon(c *conn, pid int) {
	b := c.birth
	c.birth = nil
	var pids []int
	if b != nil {
		pids = append(pids, b.first)
		for _, p := range []int{b.pid, pid} {
			if p > 0 && p != b.first && isChild(p) {
				pids = append(pids, p)
				break
			}
		}
		if b.twoStage && len(pids) == 1 {
			// It ends by itself, as its socket has no other side any more.
			m.loop.after(time.Second, m.family.sweep)
		}
	}
	left := 1
	gone := func(unix.WaitStatus) {
		if left--; left == 0 {
			c.late()
			if m.idle() {
				m.end()
			}
		}
	}
	for _, p := range pids {
		if m.family.kids[p] == nil {
			_ = unix.Kill(p, unix.SIGKILL) // a child that is not reaped yet
			left++
			m.family.track(p, gone)
		}
	}
	gone(0)
}

// sweep reaps children that nobody has named: second stages whose engine died
// before it knew them.
func (f *family) sweep() {
	for {
		var info unix.Siginfo
		if unix.Waitid(unix.P_ALL, 0, &info, unix.WEXITED|unix.WNOHANG|unix.WNOWAIT, nil) != nil {
			return
		}
		pid := sigPID(&info)
		if pid == 0 || f.kids[pid] != nil {
			return
		}
		_, _ = unix.Wait4(pid, nil, unix.WNOHANG, nil)
	}
}

// isChild reports whether pid is a child of ours, dead or alive.
func isChild(pid int) bool {
	var info unix.Siginfo
	return pid > 0 && unix.Waitid(unix.P_PID, pid, &info, unix.WEXITED|unix.WNOHANG|unix.WNOWAIT, nil) == nil
}

// track reaps a child when it ends and tells gone, which may be nil.
func (f *family) track(pid int, gone func(unix.WaitStatus)) {
	k := &kid{pid: pid, gone: gone}
	fd, err := unix.PidfdOpen(pid, 0)
	if err == nil {
		k.pidfd = fd
		err = f.loop.add(fd, unix.EPOLLIN, func(uint32) { f.reap(k) })
	}
	f.kids[pid] = k
	if err != nil { // no descriptors: ask now and then
		k.pidfd = -1
		f.poll(k)
	}
}

func (f *family) poll(k *kid) {
	if f.reap(k); f.kids[k.pid] == k {
		f.loop.after(20*time.Millisecond, func() { f.poll(k) })
	}
}

func (f *family) reap(k *kid) {
	var ws unix.WaitStatus
	pid, err := unix.Wait4(k.pid, &ws, unix.WNOHANG, nil)
	if err == unix.EINTR || err == nil && pid == 0 {
		return
	}
	f.loop.close(&k.pidfd)
	delete(f.kids, k.pid)
	if k.gone != nil {
		k.gone(ws)
	}
	f.changed()
}

// adopt makes the newest child the container's first process. On success the
// descriptors are kept.
func (c *conn) adopt(q *wire.Adopt, fds []int) error {
	m := c.m
	if m.first.running || m.ending {
		return &fault{"adopt a first process", unix.EBUSY}
	}
	files := fds
	if q.Terminal {
		if len(fds) == 0 {
			return errWrongFDs
		}
		files = fds[1:]
	}
	if c.birth != nil && c.birth.pid == q.PID { // else take says what is wrong
		if err := reserveExit(m.dir); err != nil {
			return err
		}
	}
	if err := c.take(q.PID); err != nil {
		return err
	}
	if q.Terminal {
		m.streams.openTerminal(fds[0])
	}
	m.first.oomKilled(m.loop) // of a run before it is told already
	m.first = first{run: m.first.run + 1, pid: q.PID, pidfd: -1, running: true, oom: files}
	m.first.watchOOM(m.loop)
	m.startHealth()
	m.due.limit(m, m.cfg.Life.Whole)
	if m.forward != nil {
		m.forward.start()
	}
	m.family.track(q.PID, func(ws unix.WaitStatus) { m.ended(ws, false) })
	return nil
}

// tell writes an event to somebody who waits, without waiting for it.
func tell(fd int, b []byte) error {
	for {
		_, err := unix.SendmsgN(fd, b, nil, nil, unix.MSG_NOSIGNAL|unix.MSG_DONTWAIT)
		if err != unix.EINTR {
			return os.NewSyscallError("sendmsg", err)
		}
	}
}
