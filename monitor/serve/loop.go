package serve

import (
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// loop waits for descriptors and times, on one thread: between two events the
// monitor has no stack but this one, and nothing to lock.
type loop struct {
	ep     int
	on     map[int]*entry
	gen    int32
	timers []*timer
	done   bool
	events [32]unix.EpollEvent
}

// entry is a descriptor that is waited for. gen tells it from an earlier one
// with its number, of which the same batch may hold an event.
type entry struct {
	ready func(events uint32)
	mask  uint32
	gen   int32
}

type timer struct {
	at time.Time
	do func()
}

func newLoop() (*loop, error) {
	ep, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, os.NewSyscallError("epoll_create1", err)
	}
	return &loop{ep: ep, on: map[int]*entry{}}, nil
}

// add waits for events of fd; errors and hang-ups are always told.
func (l *loop) add(fd int, mask uint32, ready func(events uint32)) error {
	l.gen++
	ev := unix.EpollEvent{Events: mask, Fd: int32(fd), Pad: l.gen}
	if err := unix.EpollCtl(l.ep, unix.EPOLL_CTL_ADD, fd, &ev); err != nil {
		return os.NewSyscallError("epoll_ctl", err)
	}
	l.on[fd] = &entry{ready: ready, mask: mask, gen: l.gen}
	return nil
}

// want changes the events that fd is waited for.
func (l *loop) want(fd int, mask uint32) {
	e := l.on[fd]
	if e == nil || e.mask == mask {
		return
	}
	ev := unix.EpollEvent{Events: mask, Fd: int32(fd), Pad: e.gen}
	if unix.EpollCtl(l.ep, unix.EPOLL_CTL_MOD, fd, &ev) == nil {
		e.mask = mask
	}
}

// forget stops waiting for fd, which stays open.
func (l *loop) forget(fd int) {
	if l.on[fd] != nil {
		_ = unix.EpollCtl(l.ep, unix.EPOLL_CTL_DEL, fd, nil)
		delete(l.on, fd)
	}
}

// close stops waiting for *fd and closes it.
func (l *loop) close(fd *int) {
	if *fd >= 0 {
		l.forget(*fd)
		unix.Close(*fd)
		*fd = -1
	}
}

// after runs do once, in d.
func (l *loop) after(d time.Duration, do func()) *timer {
	t := &timer{at: time.Now().Add(d), do: do}
	l.timers = append(l.timers, t)
	return t
}

// stop forgets a timer, nil too.
func (l *loop) stop(t *timer) {
	for i, o := range l.timers {
		if o == t {
			l.timers = append(l.timers[:i], l.timers[i+1:]...)
			return
		}
	}
}

// run serves events until done.
func (l *loop) run() error {
	for !l.done {
		n, err := unix.EpollWait(l.ep, l.events[:], l.patience())
		if err != nil && err != unix.EINTR {
			return os.NewSyscallError("epoll_wait", err)
		}
		for i := range max(n, 0) {
			ev := &l.events[i]
			if e := l.on[int(ev.Fd)]; e != nil && e.gen == ev.Pad {
				e.ready(ev.Events)
			}
		}
		l.expire()
	}
	return nil
}

// patience is the time to the next timer in ms, rounded up, -1 without one.
func (l *loop) patience() int {
	if len(l.timers) == 0 {
		return -1
	}
	next := l.timers[0].at
	for _, t := range l.timers[1:] {
		if t.at.Before(next) {
			next = t.at
		}
	}
	const most = time.Hour
	d := min(time.Until(next), most)
	return int(max(0, (d+time.Millisecond-1)/time.Millisecond))
}

func (l *loop) expire() {
	if len(l.timers) == 0 {
		return
	}
	now := time.Now()
	for again := true; again; {
		again = false
		for _, t := range l.timers {
			if !t.at.After(now) {
				l.stop(t)
				t.do()
				again = true // the list may have changed
				break
			}
		}
	}
}
