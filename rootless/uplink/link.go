package uplink

import (
	"os"

	"golang.org/x/sys/unix"
	"gvisor.dev/gvisor/pkg/buffer"
	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
)

// link is the stack's end of the device. Packets of IP go over it as they are.
type link struct {
	f     *os.File
	fd    int
	mtu   uint32
	to    stack.NetworkDispatcher
	pings *pings // echo requests go there, not to the stack, which would answer them itself
}

func newLink(fd, mtu int) (*link, error) {
	if err := unix.SetNonblock(fd, true); err != nil {
		return nil, os.NewSyscallError("fcntl", err)
	}
	return &link{f: os.NewFile(uintptr(fd), "tun"), fd: fd, mtu: uint32(mtu)}, nil
}

// long is the length from which a packet keeps the room that it was read into; shorter
// ones move to a smaller one.
const long = 24 << 10

// serve hands packets to the stack until the device is gone.
func (l *link) serve() {
	c, err := l.f.SyscallConn()
	if err != nil {
		return
	}
	room := buffer.NewViewSize(buffer.MaxChunkSize)
	_ = c.Read(func(fd uintptr) bool {
		for {
			n, err := unix.Read(int(fd), room.AsSlice())
			switch {
			case err == unix.EAGAIN:
				return false
			case err == unix.EINTR:
				continue
			case err != nil:
				return true
			}
			v := room
			if n >= long {
				v.CapLength(n)
				room = buffer.NewViewSize(buffer.MaxChunkSize)
			} else {
				v = buffer.NewViewWithData(room.AsSlice()[:n])
			}
			l.take(v)
		}
	})
}

// take leads one packet on, or drops it.
func (l *link) take(v *buffer.View) {
	protocol := judge(v.AsSlice())
	switch protocol {
	case 0:
		v.Release()
		return
	case echo:
		l.pings.take(v.AsSlice())
		v.Release()
		return
	}
	p := stack.NewPacketBuffer(stack.PacketBufferOptions{Payload: buffer.MakeWithView(v)})
	l.to.DeliverNetworkPacket(protocol, p)
	p.DecRef()
}

// echo is what judge says of an echo request; it is no number of a protocol (EtherType).
const echo = 1

// judge tells what a packet is for: the stack, by the protocol's number, the pings, or 0,
// nobody. What goes to many does not leave the namespace.
func judge(b []byte) tcpip.NetworkProtocolNumber {
	if len(b) == 0 {
		return 0
	}
	switch b[0] >> 4 {
	case header.IPv4Version:
		if h := header.IPv4(b); h.IsValid(len(b)) && !header.IsV4MulticastAddress(h.DestinationAddress()) {
			return judge4(h)
		}
	case header.IPv6Version:
		if h := header.IPv6(b); h.IsValid(len(b)) && !header.IsV6MulticastAddress(h.DestinationAddress()) {
			return judge6(h)
		}
	}
	return 0
}

// judge4: there are no echo requests in pieces, which the stack would answer itself.
func judge4(h header.IPv4) tcpip.NetworkProtocolNumber {
	if h.Protocol() != uint8(header.ICMPv4ProtocolNumber) {
		return header.IPv4ProtocolNumber
	}
	m := header.ICMPv4(h.Payload())
	switch {
	case h.More() || h.FragmentOffset() != 0 || len(m) < header.ICMPv4MinimumSize:
		return 0
	case m.Type() == header.ICMPv4Echo:
		return echo
	}
	return header.IPv4ProtocolNumber
}

// judge6: nor behind headers of options and routes (RFC 8200, section 4), which nobody needs.
func judge6(h header.IPv6) tcpip.NetworkProtocolNumber {
	next, rest := h.NextHeader(), h.Payload()
	if next == header.IPv6FragmentHeader && len(rest) >= header.IPv6FragmentHeaderSize {
		if next = rest[0]; next == uint8(header.ICMPv6ProtocolNumber) {
			return 0
		}
	}
	switch next {
	case uint8(header.TCPProtocolNumber), uint8(header.UDPProtocolNumber):
		return header.IPv6ProtocolNumber
	case uint8(header.ICMPv6ProtocolNumber):
		if len(rest) < header.ICMPv6MinimumSize {
			return 0
		}
		if header.ICMPv6(rest).Type() == header.ICMPv6EchoRequest {
			return echo
		}
		return header.IPv6ProtocolNumber
	}
	return 0
}

// send writes one packet. The device takes it or drops it, and never has one wait.
func (l *link) send(b []byte) { _, _ = unix.Write(l.fd, b) }

// WritePackets is stack.LinkWriter's.
func (l *link) WritePackets(list stack.PacketBufferList) (int, tcpip.Error) {
	packets := list.AsSlice()
	for _, p := range packets {
		_, _ = unix.Writev(l.fd, p.AsSlices())
	}
	return len(packets), nil
}

// What follows makes it a stack.LinkEndpoint, of a device without headers and addresses.

func (l *link) MTU() uint32                             { return l.mtu }
func (l *link) SetMTU(uint32)                           {}
func (l *link) MaxHeaderLength() uint16                 { return 0 }
func (l *link) LinkAddress() tcpip.LinkAddress          { return "" }
func (l *link) SetLinkAddress(tcpip.LinkAddress)        {}
func (l *link) Attach(d stack.NetworkDispatcher)        { l.to = d }
func (l *link) IsAttached() bool                        { return l.to != nil }
func (l *link) Wait()                                   {}
func (l *link) ARPHardwareType() header.ARPHardwareType { return header.ARPHardwareNone }
func (l *link) AddHeader(*stack.PacketBuffer)           {}
func (l *link) ParseHeader(*stack.PacketBuffer) bool    { return true }
func (l *link) Close()                                  {}
func (l *link) SetOnCloseAction(func())                 {}

// Capabilities: what comes from the kernel of this machine has right sums.
func (l *link) Capabilities() stack.LinkEndpointCapabilities {
	return stack.CapabilityRXChecksumOffload
}
