package serve

import (
	"time"

	"golang.org/x/sys/unix"
)

// beside is a socket to what serves the container from outside of it, as the
// resolver of names does. Nothing is said on it: it hangs up when that is lost.
type beside struct {
	m    *monitor
	fd   int // -1 without one
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
)

// watch takes a socket over.
func (b *beside) watch(fd int) error {
	b.drop()
	if err := unix.SetNonblock(fd, true); err != nil {
		return &fault{"watch a socket", err}
	}
	if err := b.m.loop.add(fd, unix.EPOLLRDHUP, func(uint32) { b.lost() }); err != nil {
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
		b.m.words.run(b.m.cfg.Beside, func(answer string) {
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
	return first.running && first.run == run && b.fd < 0 && b.next == nil && !b.m.ending && len(b.m.cfg.Beside) > 0
}
