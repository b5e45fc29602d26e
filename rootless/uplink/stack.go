package uplink

import (
	"errors"
	"fmt"
	"net/netip"
	"time"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/link/qdisc/fifo"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv4"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv6"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
	"gvisor.dev/gvisor/pkg/tcpip/transport/tcp"
	"gvisor.dev/gvisor/pkg/tcpip/transport/udp"

	"berth/rootless/uplink/order"
)

// uplink is the whole.
type uplink struct {
	link        *link
	stack       *stack.Stack
	reach       *reach
	forwarder   *tcp.Forwarder
	connections connections
	flows       flows
}

const (
	nic        = 1
	maxWaiting = 1000 // packets on their way to the device
)

// newUplink makes the stack on the device of order.Tun.
func newUplink(o order.Order) (*uplink, error) {
	l, err := newLink(order.Tun, o.MTU)
	if err != nil {
		return nil, err
	}
	r, err := newReach(o.Host)
	if err != nil {
		return nil, err
	}
	l.pings = &pings{link: l, reach: r, list: map[pingKey]*ping{}, most: maxPings}
	u := &uplink{link: l, reach: r}
	u.connections.init()
	u.flows.list = map[*flow]struct{}{}
	if u.stack, err = newStack(l); err != nil {
		return nil, err
	}
	u.forwarder = tcp.NewForwarder(u.stack, shares[0].buffer, maxTCP, u.serveTCP)
	u.stack.SetTransportProtocolHandler(tcp.ProtocolNumber, u.takeSegment)
	u.stack.SetTransportProtocolHandler(udp.ProtocolNumber, udp.NewForwarder(u.stack, u.takeDatagram).HandlePacket)
	return u, nil
}

// limit sets how much there may be at once, where files may be open.
func (u *uplink) limit(files int) {
	const all = maxTCP + maxUDP + maxPings
	files = max(files-otherFiles, 16)
	part := func(n int) int { return max(min(n, files*n/all), 1) }
	u.connections.most, u.flows.most, u.link.pings.most = part(maxTCP), part(maxUDP), part(maxPings)
}

// newStack is one that takes packets to any address as its own.
func newStack(l *link) (*stack.Stack, error) {
	s := stack.New(stack.Options{
		NetworkProtocols:   []stack.NetworkProtocolFactory{ipv4.NewProtocol, ipv6.NewProtocol},
		TransportProtocols: []stack.TransportProtocolFactory{tcp.NewProtocol, udp.NewProtocol},
	})
	// A packet is written by nobody who holds a connection's lock, for which others would
	// wait in a loop: the kernel does all that the namespace does with it in that call.
	if err := s.CreateNICWithOptions(nic, l, stack.NICOptions{QDisc: fifo.New(l, 1, maxWaiting)}); err != nil {
		return nil, problem("make the stack's device", err)
	}
	if err := errors.Join(problem("take packets to any address", s.SetPromiscuousMode(nic, true)),
		problem("send packets from any address", s.SetSpoofing(nic, true))); err != nil {
		return nil, err
	}
	s.SetRouteTable([]tcpip.Route{{Destination: header.IPv4EmptySubnet, NIC: nic}, {Destination: header.IPv6EmptySubnet, NIC: nic}})
	return s, errors.Join(tuneTCP(s), tuneUDP(s))
}

// tuneTCP: the way to the namespace is short and loses nothing; the long one to the world is
// the host kernel's.
func tuneTCP(s *stack.Stack) error {
	least, most := shares[len(shares)-1].buffer, shares[0].buffer
	sack := tcpip.TCPSACKEnabled(true)
	receive := tcpip.TCPReceiveBufferSizeRangeOption{Min: 4 << 10, Default: least, Max: most}
	send := tcpip.TCPSendBufferSizeRangeOption{Min: 4 << 10, Default: least, Max: most}
	// An end here, which closed first, remembers for a moment only: its port's next
	// connection would find it, not the forwarder.
	wait := tcpip.TCPTimeWaitTimeoutOption(time.Second)
	for _, o := range []tcpip.SettableTransportProtocolOption{&sack, &receive, &send, &wait} {
		if err := s.SetTransportProtocolOption(tcp.ProtocolNumber, o); err != nil {
			return problem(fmt.Sprintf("set %T", o), err)
		}
	}
	return nil
}

// tuneUDP has room for one datagram more than the longest.
func tuneUDP(s *stack.Stack) error {
	const room = 2 * maxDatagram
	return errors.Join(problem("set buffers", s.SetOption(tcpip.SendBufferSizeOption{Min: 4 << 10, Default: room, Max: room})),
		problem("set buffers", s.SetOption(tcpip.ReceiveBufferSizeOption{Min: 4 << 10, Default: room, Max: room})))
}

// problem is an error of the stack's as one of Go's.
func problem(what string, err tcpip.Error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s: %s", what, err)
}

// address is one of the stack's as one of Go's.
func address(a tcpip.Address) netip.Addr {
	if a.Len() == 4 {
		return netip.AddrFrom4(a.As4())
	}
	return netip.AddrFrom16(a.As16())
}
