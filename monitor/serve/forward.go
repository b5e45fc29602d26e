package serve

import (
	"bytes"
	"time"

	"golang.org/x/sys/unix"
)

// forward is the pipe to the program that sends the log elsewhere. While it is
// full the container's output waits, except for what is left at the end of a
// run. When the program dies another is started; what was in the pipe is lost.
type forward struct {
	m     *monitor
	fd    int    // we write; -1 without a program
	pid   int    // of the program, 0 none
	rest  []byte // what did not fit
	holds bool
	ended bool // close when the rest is written
}

const (
	// forwardAgain is the time between two such programs.
	forwardAgain = time.Second
	// lastWords is how long one may take after the end.
	lastWords = 15 * time.Second
	// devNull is our standard output.
	devNull = 1
)

// start starts the program unless it runs.
func (f *forward) start() {
	if f.fd >= 0 || f.ended {
		return
	}
	var p [2]int
	if unix.Pipe2(p[:], unix.O_CLOEXEC) != nil {
		return
	}
	pid, err := f.m.words.spawn(f.m.cfg.Log.Send, p[0], devNull)
	unix.Close(p[0])
	if err != nil {
		unix.Close(p[1])
		f.later()
		return
	}
	_ = unix.SetNonblock(p[1], true)
	f.fd = p[1]
	_ = f.m.loop.add(f.fd, 0, func(uint32) { f.flush() })
	f.pid = pid
	f.m.family.track(pid, func(unix.WaitStatus) { f.gone() })
	f.take([]byte(f.m.cfg.Log.Head))
}

func (f *forward) later() {
	f.m.loop.after(forwardAgain, func() {
		if f.m.first.running {
			f.start()
		}
	})
}

// gone is the end of the program.
func (f *forward) gone() {
	f.pid, f.rest = 0, nil
	f.m.loop.close(&f.fd)
	f.hold(false)
	if !f.ended {
		f.later()
	}
}

// take sends entries; what there is no program for is lost.
func (f *forward) take(b []byte) {
	if f.fd < 0 {
		return
	}
	if len(f.rest) > 0 {
		f.rest = append(f.rest, b...)
		return
	}
	if n := f.push(b); n < len(b) {
		f.rest = bytes.Clone(b[n:])
		f.m.loop.want(f.fd, unix.EPOLLOUT)
		f.hold(true)
	}
}

func (f *forward) push(b []byte) (n int) {
	for n < len(b) {
		m, err := unix.Write(f.fd, b[n:])
		switch {
		case err == unix.EINTR:
		case err == unix.EAGAIN:
			return n
		case err != nil: // it is dying: gone follows
			return len(b)
		default:
			n += m
		}
	}
	return n
}

func (f *forward) flush() {
	if f.fd < 0 {
		return
	}
	f.rest = f.rest[f.push(f.rest):]
	if len(f.rest) > 0 {
		return
	}
	f.rest = nil
	f.m.loop.want(f.fd, 0)
	f.hold(false)
	if f.ended {
		f.m.loop.close(&f.fd)
	}
}

func (f *forward) hold(on bool) {
	if f.holds == on {
		return
	}
	f.holds = on
	for _, o := range f.m.streams.out {
		if on {
			o.hold()
		} else {
			o.release()
		}
	}
}

// end closes the pipe once all is written: the program sends it and ends.
func (f *forward) end() {
	f.ended = true
	if len(f.rest) == 0 {
		f.m.loop.close(&f.fd)
	}
	if pid := f.pid; pid > 0 {
		f.m.loop.after(lastWords, func() {
			if f.pid == pid { // not reaped yet
				_ = unix.Kill(pid, unix.SIGKILL)
			}
		})
	}
}
