package serve

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"

	"berth/monitor/wire"
)

// streams are the first process's standard streams, FIFOs or a terminal, and
// their clients.
type streams struct {
	m        *monitor
	out      [2]*output // stdout or the terminal's, stderr; nil before begin
	in       *input
	terminal terminal
}

func (s *streams) begin() {
	s.out[0], s.out[1] = newOutput(s.m, wire.Stdout), newOutput(s.m, wire.Stderr)
	s.in = newInput(s.m)
}

// open opens our ends of the FIFOs, those that are not open.
func (s *streams) open() error {
	cfg := s.m.cfg
	if cfg.Terminal || cfg.Passthrough {
		return nil
	}
	for _, o := range s.out {
		if o.fd < 0 {
			fd, err := s.openFIFO(o.name)
			if err != nil {
				return err
			}
			if err := o.open(fd); err != nil {
				return err
			}
		}
	}
	if cfg.Stdin && s.in.fd < 0 {
		fd, err := s.openFIFO(wire.Stdin)
		if err != nil {
			return err
		}
		return s.in.open(fd)
	}
	return nil
}

// openFIFO opens a stream's end. It is open for reading as well as writing, so
// that it does not depend on whether the other end is open already.
func (s *streams) openFIFO(name string) (int, error) {
	fail := func(err error) (int, error) {
		return -1, &os.PathError{Op: "open stream", Path: s.m.cfg.Dir + "/" + name, Err: err}
	}
	fd, err := unix.Openat(s.m.dir, name, unix.O_RDWR|unix.O_NONBLOCK|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return fail(err)
	}
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil || st.Mode&unix.S_IFMT != unix.S_IFIFO {
		unix.Close(fd)
		return fail(errors.New("it is not a FIFO"))
	}
	return fd, nil
}

// drain takes the last output; what clients send now is for nobody.
func (s *streams) drain() {
	s.m.loop.close(&s.terminal.slave)
	for _, o := range s.out {
		o.drain()
	}
	s.in.close()
	s.in.closed = false
}

// finish ends a run for the log and for clients. The FIFOs are closed: what the
// next run writes may be another monitor's.
func (s *streams) finish() {
	for _, o := range s.out {
		o.finish()
		s.m.loop.close(&o.fd)
	}
	s.terminal.close(s.m.loop)
}

// clients counts who reads.
func (s *streams) clients() (n int) {
	for _, o := range s.out {
		if o != nil {
			n += len(o.sinks)
		}
	}
	return n
}

// terminal is the container's terminal. slave is held so that the terminal does
// not hang up while a program has it closed for a moment, as init systems do.
type terminal struct{ master, slave int }

var noTerminal = terminal{-1, -1}

// openTerminal takes the master over: output and, by a copy, input.
func (s *streams) openTerminal(master int) {
	s.terminal.close(s.m.loop)
	s.m.loop.close(&s.out[0].fd)
	s.terminal.master = master
	_ = unix.SetNonblock(master, true)
	if r, _, e := unix.Syscall(unix.SYS_IOCTL, uintptr(master), unix.TIOCGPTPEER, unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC); e == 0 {
		s.terminal.slave = int(r)
	}
	if fd, err := unix.FcntlInt(uintptr(master), unix.F_DUPFD_CLOEXEC, 3); err == nil {
		_ = s.out[0].open(fd)
	}
	if fd, err := unix.FcntlInt(uintptr(master), unix.F_DUPFD_CLOEXEC, 3); err == nil {
		_ = s.in.open(fd)
	}
}

func (t *terminal) close(l *loop) {
	l.close(&t.slave)
	l.close(&t.master)
}

// maxClients bounds the clients of all streams together.
const maxClients = 256

// attach joins a client's streams. On success the descriptors are kept.
func (s *streams) attach(q *wire.Attach, fds []int) error {
	m := s.m
	want := 0
	for _, on := range []bool{q.Stdin, q.Stdout, q.Stderr} {
		if on {
			want++
		}
	}
	switch {
	case len(fds) != want:
		return errWrongFDs
	case m.cfg.Passthrough:
		return errNoStreams
	case m.ending || m.first.pid > 0 && !m.first.running && m.due.again == nil:
		return &fault{"attach", unix.ESRCH}
	case s.clients()+len(s.in.feeders) > maxClients:
		return &fault{"attach", unix.EUSERS}
	}
	for _, fd := range fds {
		if err := checkStream(fd); err != nil {
			return &fault{"attach", err}
		}
	}
	if q.Stdin {
		s.in.feed(fds[0])
		fds = fds[1:]
	}
	if q.Stdout {
		newSink(s.out[0], fds[0], q.Lossy)
		fds = fds[1:]
	}
	if q.Stderr {
		newSink(s.out[1], fds[0], q.Lossy)
	}
	return nil
}

// checkStream takes pipes and sockets alone: they are asked whether they have
// room, and switched to never block, which concerns nobody else.
func checkStream(fd int) error {
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return err
	}
	if t := st.Mode & unix.S_IFMT; t != unix.S_IFIFO && t != unix.S_IFSOCK {
		return unix.EINVAL
	}
	return unix.SetNonblock(fd, true)
}
