package serve

import (
	"time"

	"golang.org/x/sys/unix"
)

// beside is a socket to what serves the container from outside of it, as the
// resolver of names and the relay of ports do. Nothing is said on it: it hangs up when
// that is lost. In its place may be what becomes readable when there is somebody to be
// served.
type beside struct {
	m    *monitor
	word func() []string // what then helps
	fd   int             // -1 without one
	next *timer
	// since is when it came, rest how long its loss, if it came too soon, is borne.
	since time.Time
	rest  time.Duration
}

const (
	// besideRest is how long a loss may be no loss: the container has ended, or
	// another socket comes. It doubles for each that was lost within besideLong.
	besideRest = 50 * time.Millisecond
	besideLong = 10 * time.Second
	// besideAgain is when the word that failed is tried again.
	besideAgain = 5 * time.Second
	// besideGone is more than what is told to go takes.
	besideGone = 200 * time.Millisecond
)

// watch takes a socket over.
func (b *beside) watch(fd int) error {
	b.drop()
	if err := unix.SetNonblock(fd, true); err != nil {
		return &fault{"watch a socket", err}
	}
	if err := b.m.loop.add(fd, unix.EPOLLIN|unix.EPOLLRDHUP, func(uint32) { b.lost() }); err != nil {
		return err
	}
	b.fd, b.since = fd, time.Now()
	return nil
}

func (b *beside) drop() {
	b.m.loop.stop(b.next)
	b.next = nil
	b.m.loop.close(&b.fd)
}

// release tells what serves that it is over, and waits a moment until it has gone: it may
// hold ports that the caller is about to give away.
func (b *beside) release() {
	if b.fd >= 0 && unix.Shutdown(b.fd, unix.SHUT_WR) == nil {
		p := []unix.PollFd{{Fd: int32(b.fd)}}
		for end := time.Now().Add(besideGone); time.Now().Before(end); {
			if n, err := unix.Poll(p, int(besideGone/time.Millisecond)); n > 0 || err != unix.EINTR {
				break
			}
		}
	}
	b.drop()
}

// replace ends what was watched, and watches what is given, if anything is.
func (b *beside) replace(fds []int) (kept bool, err error) {
	b.release()
	if len(fds) == 0 {
		return false, nil
	}
	if len(fds) != 1 {
		return false, errWrongFDs
	}
	err = b.watch(fds[0])
	return err == nil, err
}

func (b *beside) lost() {
	b.drop()
	if time.Since(b.since) > besideLong {
		b.rest = 0
	}
	b.rest = min(max(2*b.rest, besideRest), besideAgain)
	b.in(b.rest)
}

// in has the word run in some time, if it is needed then. It brings a new socket.
func (b *beside) in(d time.Duration) {
	run := b.m.first.run
	b.next = b.m.loop.after(d, func() {
		b.next = nil
		if !b.needed(run) {
			return
		}
		b.m.words.run(b.word(), func(answer string) {
			again, after := parseAnswer(answer)
			if answer == "" { // it could not be started, or failed
				again, after = true, uint64(besideAgain/time.Millisecond)
			}
			if again && b.needed(run) {
				b.in(time.Duration(max(after, 1)) * time.Millisecond)
			}
		})
	})
}

func (b *beside) needed(run int) bool {
	first := &b.m.first
	return first.running && first.run == run && b.fd < 0 && b.next == nil && !b.m.ending && len(b.word()) > 0
}
