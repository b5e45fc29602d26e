package serve

import (
	"errors"
	"os"
	"strconv"

	"golang.org/x/sys/unix"

	"berth/monitor/wire"
)

// conn is a caller of ours: an engine, one connection.
type conn struct {
	m       *monitor
	fd      int
	starter bool   // the one that started this monitor
	birth   *birth // its newest child, not adopted yet
	waits   bool   // for an answer: what it sends meanwhile stays unread
	gives   []int  // descriptors that go with the next answer, and then are closed
}

// listen opens the socket in the run folder. It gets its name when it is ready.
func (m *monitor) listen() error {
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return os.NewSyscallError("socket", err)
	}
	m.listener = fd
	stage := "." + wire.Socket
	_ = unix.Unlinkat(m.dir, stage, 0)
	// The folder's path may be longer than sun_path.
	name := "/proc/self/fd/" + strconv.Itoa(m.dir) + "/" + stage
	for _, step := range []struct {
		name string
		do   func() error
	}{
		{"bind", func() error { return unix.Bind(fd, &unix.SockaddrUnix{Name: name}) }},
		{"fchmodat", func() error { return unix.Fchmodat(m.dir, stage, socketMode, 0) }},
		{"listen", func() error { return unix.Listen(fd, 64) }},
		{"renameat", func() error { return unix.Renameat(m.dir, stage, m.dir, wire.Socket) }},
	} {
		if err := step.do(); err != nil {
			return &os.PathError{Op: step.name, Path: m.cfg.Dir + "/" + wire.Socket, Err: err}
		}
	}
	return m.loop.add(fd, unix.EPOLLIN, func(uint32) { m.accept() })
}

// unlinkSocket removes the socket's name unless a later monitor has it.
func (m *monitor) unlinkSocket() {
	c, err := unix.Socket(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return
	}
	defer unix.Close(c)
	name := "/proc/self/fd/" + strconv.Itoa(m.dir) + "/" + wire.Socket
	if unix.Connect(c, &unix.SockaddrUnix{Name: name}) != nil {
		return
	}
	if cred, err := unix.GetsockoptUcred(c, unix.SOL_SOCKET, unix.SO_PEERCRED); err == nil && int(cred.Pid) == os.Getpid() {
		_ = unix.Unlinkat(m.dir, wire.Socket, 0)
	}
}

func (m *monitor) accept() {
	for {
		fd, _, err := unix.Accept4(m.listener, unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK)
		if err == unix.EINTR || err == unix.ECONNABORTED {
			continue
		}
		if err != nil {
			return
		}
		if m.conns >= maxConns || guardPeer && !ours(fd) {
			unix.Close(fd)
			continue
		}
		if m.listenTo(fd, false) != nil {
			unix.Close(fd)
		}
	}
}

// ours tells whether a caller is root or has our user.
func ours(fd int) bool {
	cred, err := unix.GetsockoptUcred(fd, unix.SOL_SOCKET, unix.SO_PEERCRED)
	return err == nil && (cred.Uid == 0 || int(cred.Uid) == os.Geteuid())
}

func (m *monitor) listenTo(fd int, starter bool) error {
	if err := unix.SetNonblock(fd, true); err != nil {
		return os.NewSyscallError("fcntl", err)
	}
	c := &conn{m: m, fd: fd, starter: starter}
	if err := m.loop.add(fd, unix.EPOLLIN, c.ready); err != nil {
		return err
	}
	m.conns++
	return nil
}

func (c *conn) ready(events uint32) {
	if events&unix.EPOLLIN == 0 || c.waits {
		if events&(unix.EPOLLHUP|unix.EPOLLERR) != 0 {
			c.close()
		}
		return
	}
	b, fds, err := receive(c.fd, 0)
	switch {
	case err == unix.EAGAIN:
	case err != nil || len(b) == 0:
		closeAll(fds)
		c.close()
	default:
		c.m.tidy()
		answer, err := c.serve(wire.Op(b[0]), b[1:], fds)
		switch {
		case err != nil:
			c.answer(wire.Failure(errnoOf(err), err.Error()))
		case answer != nil:
			c.answer(wire.Answer(answer))
		default:
			c.waits = true // who answers later says so
		}
	}
}

// late answers a request that had to wait.
func (c *conn) late() {
	c.waits = false
	c.answer(wire.Answer(&wire.Nothing{}))
}

func (c *conn) answer(b []byte) {
	if c.fd < 0 {
		return
	}
	var rights []byte
	if len(c.gives) > 0 {
		rights = unix.UnixRights(c.gives...)
		defer closeAll(c.gives)
	}
	c.gives = nil
	for {
		_, err := unix.SendmsgN(c.fd, b, rights, nil, unix.MSG_NOSIGNAL|unix.MSG_DONTWAIT)
		if err == unix.EINTR {
			continue
		}
		if err != nil { // gone, or it does not read its answers
			c.close()
		}
		return
	}
}

// close drops a caller: what it made and nobody adopted goes too.
func (c *conn) close() {
	if c.fd < 0 {
		return
	}
	m := c.m
	m.loop.close(&c.fd)
	m.conns--
	if c.birth != nil {
		m.abandon(c, 0)
	}
	for _, s := range m.sessions {
		if s.by == c {
			s.by = nil
			s.drain(m)
		}
	}
	if m.idle() {
		m.end()
	}
}

// closeAll closes descriptors that a request brought.
func closeAll(fds []int) {
	for _, fd := range fds {
		unix.Close(fd)
	}
}

// message is where requests are received: one at a time.
var message struct {
	text [wire.MaxMessage]byte
	oob  [2048]byte // more than SCM_MAX_FD descriptors
}

// receive takes one message, or as the flags say. The bytes are good until the next call.
func receive(fd, flag int) (b []byte, fds []int, err error) {
	var n, oobn, flags int
	for {
		n, oobn, flags, _, err = unix.Recvmsg(fd, message.text[:], message.oob[:], flag|unix.MSG_CMSG_CLOEXEC|unix.MSG_DONTWAIT)
		if err != unix.EINTR {
			break
		}
	}
	if err != nil {
		return nil, nil, err
	}
	if oobn > 0 {
		parts, err := unix.ParseSocketControlMessage(message.oob[:oobn])
		if err != nil {
			return nil, nil, err
		}
		for i := range parts {
			if got, err := unix.ParseUnixRights(&parts[i]); err == nil {
				fds = append(fds, got...)
			}
		}
	}
	if flags&(unix.MSG_TRUNC|unix.MSG_CTRUNC) != 0 {
		closeAll(fds)
		return nil, nil, errors.New("a message that is too long")
	}
	return message.text[:n], fds, nil
}
