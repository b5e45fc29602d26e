package serve

import (
	"bytes"
	"strconv"

	"golang.org/x/sys/unix"
)

// sink is a client of an output. The kernel's buffer of its pipe is the ring: a
// lossy client that leaves it full loses what comes and is told so; for another
// one the rest of a chunk is kept and the container waits.
type sink struct {
	out     *output
	fd      int
	lossy   bool
	dropped uint64
	rest    []byte
	holds   bool // the output waits for it
	ended   bool // close when the rest is written
}

func newSink(o *output, fd int, lossy bool) {
	s := &sink{out: o, fd: fd, lossy: lossy}
	if lossy {
		_, _ = unix.FcntlInt(uintptr(fd), unix.F_SETPIPE_SZ, lossyRoom)
	}
	if o.m.loop.add(fd, 0, s.ready) != nil {
		unix.Close(fd)
		return
	}
	o.sinks = append(o.sinks, s)
}

// lossyRoom is how far a lossy client may fall behind.
const lossyRoom = 256 << 10

// write hands b to the client; it never blocks.
func (s *sink) write(b []byte) {
	if s.ended {
		return // this is of the next run
	}
	if len(s.rest) > 0 {
		s.rest = append(s.rest, b...) // only while the last output is drained
		return
	}
	if s.dropped > 0 && !s.mark() {
		s.lose(len(b))
		return
	}
	n, ok := s.push(b)
	switch {
	case !ok:
		s.close()
	case n == len(b):
	case s.lossy:
		s.lose(len(b) - n)
	default:
		s.rest = bytes.Clone(b[n:])
		s.hold(true)
		s.out.m.loop.want(s.fd, unix.EPOLLOUT)
	}
}

// push writes what there is room for; not ok: the client is gone.
func (s *sink) push(b []byte) (n int, ok bool) {
	for n < len(b) {
		m, err := unix.Write(s.fd, b[n:])
		switch {
		case err == unix.EINTR:
		case err == unix.EAGAIN:
			return n, true
		case err != nil:
			return n, false
		default:
			n += m
		}
	}
	return n, true
}

// mark tells the client what it lost. It is shorter than PIPE_BUF, so a pipe
// takes all of it or nothing.
func (s *sink) mark() bool {
	line := "\n[" + strconv.FormatUint(s.dropped, 10) + " bytes dropped: the reader was too slow]\n"
	if n, ok := s.push([]byte(line)); n < len(line) || !ok {
		return false
	}
	s.dropped = 0
	return true
}

// hold makes the output wait for this client, or not any more.
func (s *sink) hold(on bool) {
	if s.holds == on {
		return
	}
	if s.holds = on; on {
		s.out.hold()
	} else {
		s.out.release()
	}
}

func (s *sink) lose(n int) {
	s.dropped += uint64(n)
	s.out.m.dropped += uint64(n)
}

func (s *sink) ready(events uint32) {
	if events&(unix.EPOLLERR|unix.EPOLLHUP) != 0 {
		s.close()
		return
	}
	n, ok := s.push(s.rest)
	if s.rest = s.rest[n:]; !ok {
		s.close()
		return
	}
	if len(s.rest) > 0 {
		return
	}
	s.rest = nil
	s.out.m.loop.want(s.fd, 0)
	s.hold(false)
	if s.ended {
		s.close()
	}
}

// finish gives the client the end of the stream, after what it has not read.
// Its pipe is made to hold all of that, so that nobody waits for the client.
func (s *sink) finish() {
	if s.dropped > 0 {
		s.mark()
	}
	if len(s.rest) > 0 {
		if size, err := unix.FcntlInt(uintptr(s.fd), unix.F_GETPIPE_SZ, 0); err == nil {
			_, _ = unix.FcntlInt(uintptr(s.fd), unix.F_SETPIPE_SZ, size+len(s.rest)+pageSize)
		}
		s.ended = true
		s.hold(false)
		s.ready(unix.EPOLLOUT)
		return
	}
	s.close()
}

const pageSize = 4 << 10

func (s *sink) close() {
	if s.fd < 0 {
		return
	}
	o := s.out
	o.m.loop.close(&s.fd)
	for i, other := range o.sinks {
		if other == s {
			o.sinks = append(o.sinks[:i], o.sinks[i+1:]...)
			break
		}
	}
	s.rest = nil
	s.hold(false)
	o.m.settle()
}
