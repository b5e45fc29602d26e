package uplink

import (
	"io"
	"net"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
	"gvisor.dev/gvisor/pkg/tcpip"
)

// pool has buffers of one size. A connection has one only while there is something in it.
type pool struct {
	size int
	free sync.Pool
}

func (p *pool) get() *[]byte {
	if b, ok := p.free.Get().(*[]byte); ok {
		return b
	}
	b := make([]byte, p.size)
	return &b
}

func (p *pool) put(b *[]byte) { p.free.Put(b) }

// maxDatagram is the longest there can be, and what fits one packet.
const maxDatagram = 64 << 10

var (
	large = pool{size: 256 << 10}
	small = pool{size: 16 << 10}
	whole = pool{size: maxDatagram} // datagrams
)

// carry copies until both sides have said all, or one is lost.
func (c *connection) carry() {
	p := &large
	if c.small {
		p = &small
	}
	var both sync.WaitGroup
	both.Go(func() { c.pass(c.out(p)) })
	c.pass(c.in(p))
	both.Wait()
	c.outside.Close()
	c.linger()
}

// pass: if one way was lost, so is the connection, on both sides.
func (c *connection) pass(err error) {
	if err == nil {
		return
	}
	c.Abort()
	_ = c.outside.SetLinger(0)
	_ = c.outside.SetDeadline(time.Unix(1, 0)) // who waits on it, wakes
}

// out sends into the world what comes from the namespace, and its end.
func (c *connection) out(p *pool) error {
	for {
		err := c.next(p, func(b []byte) error {
			_, err := c.outside.Write(b)
			c.ModerateRecvBuf(len(b))
			return err
		})
		switch {
		case err == io.EOF:
			return gone(c.outside.CloseWrite())
		case err != nil:
			return err
		}
	}
}

// in is the other way.
func (c *connection) in(p *pool) error {
	raw, err := c.outside.SyscallConn()
	if err != nil {
		return err
	}
	for {
		err := nextOf(raw, p, true, c.write)
		switch {
		case err == io.EOF:
			if terr := c.Shutdown(tcpip.ShutdownWrite); terr != nil {
				if _, closed := terr.(*tcpip.ErrNotConnected); !closed {
					return problem("shut down", terr)
				}
			}
			return nil
		case err != nil:
			return err
		}
	}
}

// gone: a connection that has ended needs no end any more.
func gone(err error) error {
	if op, ok := err.(*net.OpError); ok {
		if s, ok := op.Err.(syscall.Errno); ok && s == unix.ENOTCONN {
			return nil
		}
	}
	return err
}

// nextOf reads from a socket what end.next reads from the stack. An empty read is the end of
// a stream.
func nextOf(raw syscall.RawConn, p *pool, stream bool, use func([]byte) error) error {
	var b *[]byte
	n := 0
	var failed error
	err := raw.Read(func(fd uintptr) bool {
		b = p.get()
		for {
			if n, failed = unix.Read(int(fd), *b); failed != unix.EINTR {
				break
			}
		}
		if failed != unix.EAGAIN {
			return true
		}
		p.put(b)
		return false
	})
	switch {
	case err != nil:
		return err
	case failed == nil && n == 0 && stream:
		failed = io.EOF
	case failed == nil:
		failed = use((*b)[:n])
	}
	p.put(b)
	return failed
}
