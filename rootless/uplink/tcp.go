package uplink

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"os"
	"time"

	"golang.org/x/sys/unix"
	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
	"gvisor.dev/gvisor/pkg/tcpip/transport/tcp"
	"gvisor.dev/gvisor/pkg/waiter"
)

const (
	// dialTime is less than most kernels wait: then the sender's next SYN asks again.
	dialTime = 60 * time.Second
	// A connection of which nobody has said anything for so long is asked whether its
	// other end is still there, then each so long, so often.
	aliveAfter, aliveEach, aliveCount = 120 * time.Second, 30 * time.Second, 5
	// lingerTime is how long one that both have ended may take to deliver the rest.
	lingerTime = 60 * time.Second
)

// takeSegment sees what belongs to no connection. A SYN begins one; all else is not handled,
// so that the stack resets it.
func (u *uplink) takeSegment(id stack.TransportEndpointID, p *stack.PacketBuffer) bool {
	h := header.TCP(p.TransportHeader().Slice())
	if h.Flags()&(header.TCPFlagSyn|header.TCPFlagAck) != header.TCPFlagSyn {
		return false
	}
	if !u.connections.ask(id, h.SequenceNumber()) {
		return true
	}
	if !u.forwarder.HandlePacket(id, p) {
		u.connections.asked(id)
		u.connections.end()
		return false
	}
	return true
}

// serveTCP is the life of one connection, in a goroutine of its own.
func (u *uplink) serveTCP(r *tcp.ForwarderRequest) {
	defer u.connections.end()
	id := r.ID()
	inside, outside, ok := u.connect(id, r)
	u.connections.asked(id)
	if !ok {
		return
	}
	c := &connection{end: inside, outside: outside}
	size, back := u.connections.share()
	defer back()
	c.tune(size)
	c.carry()
}

// connect dials, and then answers in the same way.
func (u *uplink) connect(id stack.TransportEndpointID, r *tcp.ForwarderRequest) (*end, *net.TCPConn, bool) {
	to := netip.AddrPortFrom(address(id.LocalAddress), id.LocalPort)
	outside, err := u.dial(to)
	if err != nil {
		reset := errors.Is(err, unix.ECONNREFUSED) || errors.Is(err, unix.ECONNRESET) || errors.Is(err, errOwn)
		if !reset && !silent(err) {
			from := netip.AddrPortFrom(address(id.RemoteAddress), id.RemotePort)
			u.link.unreachable(from, to, tcp.ProtocolNumber, u.connections.seq(id), err)
		}
		r.Complete(reset)
		return nil, nil, false
	}
	var queue waiter.Queue
	e, terr := r.CreateEndpoint(&queue)
	r.Complete(false)
	if terr != nil { // the asker has gone
		_ = outside.SetLinger(0)
		outside.Close()
		return nil, nil, false
	}
	return newEnd(e, &queue), outside, true
}

// dial connects where that is allowed.
func (u *uplink) dial(to netip.AddrPort) (*net.TCPConn, error) {
	if err := u.reach.check(to, unix.IPPROTO_TCP); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), dialTime)
	defer cancel()
	d := net.Dialer{KeepAliveConfig: net.KeepAliveConfig{Enable: true, Idle: aliveAfter, Interval: aliveEach, Count: aliveCount}}
	return d.DialTCP(ctx, "tcp", netip.AddrPort{}, to)
}

// silent says that nobody has answered, or that it was this process that could not ask: the
// sender asks again.
func silent(err error) bool {
	for _, e := range []error{os.ErrDeadlineExceeded, context.DeadlineExceeded, unix.ETIMEDOUT, unix.EMFILE, unix.ENFILE, unix.ENOBUFS, unix.ENOMEM, unix.EADDRNOTAVAIL} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

// connection is one that both sides have.
type connection struct {
	*end
	outside *net.TCPConn
	small   bool // it has the least share
}

func (c *connection) tune(size int) {
	c.small = size == shares[len(shares)-1].buffer
	o := c.SocketOptions()
	o.SetReceiveBufferSize(int64(size), true)
	o.SetSendBufferSize(int64(size), true)
	o.SetDelayOption(false)
	o.SetKeepAlive(true)
	idle, each := tcpip.KeepaliveIdleOption(aliveAfter), tcpip.KeepaliveIntervalOption(aliveEach)
	_, _ = c.SetSockOpt(&idle), c.SetSockOpt(&each)
	_ = c.SetSockOptInt(tcpip.KeepaliveCountOption, aliveCount)
}

// linger waits until the stack has delivered the rest, or gives it up.
func (c *connection) linger() {
	c.Close()
	until := time.Now().Add(lingerTime)
	for wait := time.Millisecond; time.Now().Before(until); wait = min(2*wait, time.Second) {
		switch tcp.EndpointState(c.State()) {
		case tcp.StateClose, tcp.StateError, tcp.StateTimeWait, tcp.StateFinWait2:
			return
		}
		time.Sleep(wait)
	}
	c.Abort()
}
