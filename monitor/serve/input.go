package serve

import (
	"bytes"

	"golang.org/x/sys/unix"
)

// input is what goes into the container: its standard input's FIFO or its
// terminal. Several clients may write; what each writes at once stays together.
type input struct {
	m       *monitor
	fd      int
	feeders []*feeder
	rest    []byte // did not fit; nothing more is read until it does
	closed  bool   // ended by a client, see StdinOnce
}

// feeder is a client's end.
type feeder struct{ fd int }

func newInput(m *monitor) *input { return &input{m: m, fd: -1} }

func (in *input) open(fd int) error {
	if in.fd >= 0 {
		in.m.loop.close(&in.fd)
	}
	if err := in.m.loop.add(fd, 0, func(uint32) { in.flush() }); err != nil {
		unix.Close(fd)
		return err
	}
	in.fd, in.closed, in.rest = fd, false, nil
	in.listen()
	return nil
}

// listen waits for clients if what they send has somewhere to go. One that is
// not waited for tells nothing either, not even that it has gone.
func (in *input) listen() {
	blocked := in.fd < 0 || len(in.rest) > 0
	for _, f := range in.feeders {
		if blocked {
			in.m.loop.forget(f.fd)
		} else if in.m.loop.on[f.fd] == nil {
			_ = in.m.loop.add(f.fd, unix.EPOLLIN, func(uint32) { in.ready(f) })
		}
	}
}

// feed adds a client. Where nothing is to come in, or no more, it is told at once.
func (in *input) feed(fd int) {
	if in.closed || !in.m.cfg.Stdin {
		unix.Close(fd)
		return
	}
	in.feeders = append(in.feeders, &feeder{fd})
	in.listen()
}

func (in *input) ready(f *feeder) {
	if in.fd < 0 || len(in.rest) > 0 {
		return // an event of before
	}
	var b [4 << 10]byte
	n, err := unix.Read(f.fd, b[:])
	switch {
	case err == unix.EAGAIN || err == unix.EINTR:
	case err != nil || n == 0:
		in.leave(f)
	default:
		in.write(b[:n])
	}
}

// leave takes the end of a client's input. Closing a FIFO gives the program the
// end of its input too, if that was asked for; a terminal has no such end.
func (in *input) leave(f *feeder) {
	for i, other := range in.feeders {
		if other == f {
			in.feeders = append(in.feeders[:i], in.feeders[i+1:]...)
			break
		}
	}
	in.m.loop.close(&f.fd)
	if in.m.cfg.StdinOnce && !in.m.cfg.Terminal {
		in.close()
	}
}

// close ends the container's input, and with it all clients'.
func (in *input) close() {
	in.closed = true
	in.m.loop.close(&in.fd)
	in.rest = nil
	for _, f := range in.feeders {
		in.m.loop.close(&f.fd)
	}
	in.feeders = nil
}

func (in *input) write(b []byte) {
	n := in.push(b)
	if n < len(b) {
		in.rest = bytes.Clone(b[n:])
		in.m.loop.want(in.fd, unix.EPOLLOUT)
		in.listen()
	}
}

func (in *input) push(b []byte) (n int) {
	for n < len(b) {
		m, err := unix.Write(in.fd, b[n:])
		switch {
		case err == unix.EINTR:
		case err == unix.EAGAIN:
			return n
		case err != nil: // a terminal that was hung up: nobody reads
			return len(b)
		default:
			n += m
		}
	}
	return n
}

func (in *input) flush() {
	if len(in.rest) == 0 {
		in.m.loop.want(in.fd, 0)
		return
	}
	if in.rest = in.rest[in.push(in.rest):]; len(in.rest) > 0 {
		return
	}
	in.rest = nil
	in.m.loop.want(in.fd, 0)
	in.listen()
}
