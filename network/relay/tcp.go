package relay

import (
	"errors"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"berth/sys/accept"
)

const (
	dialTime = 10 * time.Second
	// A connection of which nobody has said anything for so long is asked whether its
	// other end is still there: seconds to the first question, between two, and how many.
	aliveAfter, aliveEach, aliveCount = 120, 30, 5
	// bufferSize is how much of a connection is under way here, each way.
	bufferSize = 16 << 10
)

var buffers = sync.Pool{New: func() any { return new([bufferSize]byte) }}

// serveTCP takes connections from a door. Those who are too many wait there.
func (s *server) serveTCP(d *door) {
	c, err := d.SyscallConn()
	if err != nil {
		return
	}
	for {
		s.slots <- struct{}{}
		client, open := accept.Next(c)
		if !open {
			return
		}
		go func() {
			s.carry(client, d)
			<-s.slots
		}()
	}
}

// carry connects a client with the container, until both have said all, or one is lost.
func (s *server) carry(client *os.File, d *door) {
	defer client.Close()
	keepAlive(client)
	inside, err := s.dial(client, d)
	if err != nil {
		abort(client)
		return
	}
	defer inside.Close()
	keepAlive(inside)
	var both sync.WaitGroup
	both.Go(func() { pass(inside, client) })
	pass(client, inside)
	both.Wait()
}

// pass sends on what comes, and its end. If one side is lost, so is the other.
func pass(to, from *os.File) {
	err := copyAll(to, from)
	if err == nil {
		err = control(to, func(fd int) error { return unix.Shutdown(fd, unix.SHUT_WR) })
		if err == nil || errors.Is(err, unix.ENOTCONN) {
			return
		}
	}
	for _, f := range []*os.File{from, to} {
		abort(f)
		_ = f.SetDeadline(time.Unix(1, 0)) // who waits on it, wakes
	}
}

// copyAll sends on what comes, until its end. It has a buffer only while there is
// something in it.
func copyAll(to, from *os.File) error {
	c, err := from.SyscallConn()
	if err != nil {
		return err
	}
	for {
		var b *[bufferSize]byte
		n := 0
		var failed error
		err := c.Read(func(fd uintptr) bool {
			b = buffers.Get().(*[bufferSize]byte)
			if n, failed = unix.Read(int(fd), b[:]); failed != unix.EAGAIN && failed != unix.EINTR {
				return true
			}
			buffers.Put(b)
			return false
		})
		if err != nil {
			return err
		}
		if failed == nil && n > 0 {
			_, failed = to.Write(b[:n])
		}
		buffers.Put(b)
		if failed != nil || n == 0 {
			return failed
		}
	}
}

// dial connects to the container for a client.
func (s *server) dial(client *os.File, d *door) (*os.File, error) {
	var name unix.Sockaddr
	err := control(client, func(fd int) (err error) {
		name, err = unix.Getpeername(fd)
		return err
	})
	if err != nil {
		return nil, err
	}
	p, _ := addressOf(name)
	fd, err := s.ways.socket(p, d.port, unix.SOCK_STREAM)
	if err != nil {
		return nil, err
	}
	f := os.NewFile(uintptr(fd), "container")
	if err := connected(f); err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// connected waits until a socket is.
func connected(f *os.File) error {
	if err := f.SetWriteDeadline(time.Now().Add(dialTime)); err != nil {
		return err
	}
	c, err := f.SyscallConn()
	if err != nil {
		return err
	}
	var failed error
	err = c.Write(func(fd uintptr) bool {
		p := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLOUT}}
		if n, _ := unix.Poll(p, 0); n <= 0 {
			return false
		}
		e, err := unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_ERROR)
		if failed = err; err == nil && e != 0 {
			failed = unix.Errno(e)
		}
		return true
	})
	if err = errors.Join(err, failed); err != nil {
		return err
	}
	return f.SetWriteDeadline(time.Time{})
}

// keepAlive finds out, some time, that an other end is not there any more.
func keepAlive(f *os.File) {
	_ = control(f, func(fd int) error {
		_ = unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1)
		_ = unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_KEEPIDLE, aliveAfter)
		_ = unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_KEEPINTVL, aliveEach)
		_ = unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_KEEPCNT, aliveCount)
		return unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_KEEPALIVE, 1)
	})
}

// abort has the close of a connection say that it was lost, not that all was said.
func abort(f *os.File) {
	_ = control(f, func(fd int) error {
		return unix.SetsockoptLinger(fd, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1})
	})
}

// control calls do with a file's descriptor, which stays open meanwhile.
func control(f *os.File, do func(fd int) error) error {
	c, err := f.SyscallConn()
	if err != nil {
		return err
	}
	var failed error
	err = c.Control(func(fd uintptr) { failed = do(int(fd)) })
	return errors.Join(err, failed)
}
