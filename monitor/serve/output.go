package serve

import (
	"golang.org/x/sys/unix"

	"berth/monitor/logfile"
)

// output is one stream that comes out of the container.
type output struct {
	m      *monitor
	name   string
	fd     int
	stream *logfile.Stream
	sinks  []*sink
	held   int // sinks that have no room and must not lose anything
}

func newOutput(m *monitor, name string) *output {
	return &output{m: m, name: name, fd: -1, stream: m.log.Stream(name)}
}

func (o *output) open(fd int) error {
	mask := uint32(unix.EPOLLIN)
	if o.held > 0 {
		mask = 0
	}
	if err := o.m.loop.add(fd, mask, o.ready); err != nil {
		unix.Close(fd)
		return err
	}
	o.fd = fd
	return nil
}

func (o *output) ready(uint32) {
	if o.held > 0 {
		return // an event of before
	}
	n, err := unix.Read(o.fd, o.m.chunk[:])
	switch {
	case err == unix.EAGAIN || err == unix.EINTR:
	case err != nil || n == 0: // a terminal that was hung up
		o.m.loop.want(o.fd, 0)
		o.m.loop.forget(o.fd)
	default:
		o.take(o.m.chunk[:n])
	}
}

// take hands on what came out. Clients come first: they see it at once.
func (o *output) take(b []byte) {
	o.m.logged += uint64(len(b))
	for i := len(o.sinks) - 1; i >= 0; i-- { // one may go while it is written to
		o.sinks[i].write(b)
	}
	o.stream.Write(b)
}

// hold and release stop and go on with reading, for the sake of one sink.
func (o *output) hold() {
	if o.held++; o.held == 1 && o.fd >= 0 {
		o.m.loop.want(o.fd, 0)
	}
}

func (o *output) release() {
	if o.held--; o.held == 0 && o.fd >= 0 {
		o.m.loop.want(o.fd, unix.EPOLLIN)
	}
}

// drain takes what the ended process left: no more than was there when it
// ended, as others may write on. Clients get it too, however slow they are.
func (o *output) drain() {
	if o.fd < 0 {
		return
	}
	left := pending(o.fd)
	for left > 0 {
		n, err := unix.Read(o.fd, o.m.chunk[:min(left, len(o.m.chunk))])
		if err == unix.EINTR {
			continue
		}
		if err != nil || n <= 0 {
			return
		}
		left -= n
		o.take(o.m.chunk[:n])
	}
}

// pending is how many bytes wait in a FIFO. Of a terminal it is what it holds at
// most: it tells only what it has passed on already.
func pending(fd int) int {
	const terminalHolds = 1 << 20
	var st unix.Stat_t
	if unix.Fstat(fd, &st) == nil && st.Mode&unix.S_IFMT != unix.S_IFIFO {
		return terminalHolds
	}
	n, err := unix.IoctlGetInt(fd, unix.TIOCINQ)
	if err != nil {
		return 0
	}
	return n
}

// finish ends a run: the line that has no end is logged, clients get theirs.
func (o *output) finish() {
	o.stream.End()
	for i := len(o.sinks) - 1; i >= 0; i-- {
		o.sinks[i].finish()
	}
}
