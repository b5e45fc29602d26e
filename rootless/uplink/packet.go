package uplink

import (
	"encoding/binary"
	"errors"
	"net/netip"

	"golang.org/x/sys/unix"
	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/header"
)

// hops is the TTL, or hop limit, of what is sent into the namespace.
const hops = 64

// compose makes a packet of IP around a payload.
func compose(from, to netip.Addr, protocol tcpip.TransportProtocolNumber, payload []byte) []byte {
	if from.Is4() {
		b := make([]byte, header.IPv4MinimumSize+len(payload))
		h := header.IPv4(b)
		h.Encode(&header.IPv4Fields{
			TotalLength: uint16(len(b)), TTL: hops, Protocol: uint8(protocol),
			SrcAddr: tcpip.AddrFrom4(from.As4()), DstAddr: tcpip.AddrFrom4(to.As4()),
		})
		h.SetChecksum(^h.CalculateChecksum())
		copy(h.Payload(), payload)
		return b
	}
	b := make([]byte, header.IPv6MinimumSize+len(payload))
	header.IPv6(b).Encode(&header.IPv6Fields{
		PayloadLength: uint16(len(payload)), TransportProtocol: protocol, HopLimit: hops,
		SrcAddr: tcpip.AddrFrom16(from.As16()), DstAddr: tcpip.AddrFrom16(to.As16()),
	})
	copy(b[header.IPv6MinimumSize:], payload)
	return b
}

// message makes a packet of ICMP, of either family, around all that follows its sum.
func message(from, to netip.Addr, kind, code uint8, rest []byte) []byte {
	b := append([]byte{kind, code, 0, 0}, rest...)
	if from.Is4() {
		h := header.ICMPv4(b)
		h.SetChecksum(header.ICMPv4Checksum(h, 0))
		return compose(from, to, header.ICMPv4ProtocolNumber, b)
	}
	h := header.ICMPv6(b)
	h.SetChecksum(header.ICMPv6Checksum(header.ICMPv6ChecksumParams{
		Header: h, Src: tcpip.AddrFrom16(from.As16()), Dst: tcpip.AddrFrom16(to.As16()),
	}))
	return compose(from, to, header.ICMPv6ProtocolNumber, b)
}

// unreachable tells the sender of a packet, of which the kernel wants to see the ports and
// of TCP the sequence number again, why it went nowhere: RFC 792, RFC 4443 section 3.1.
func (l *link) unreachable(from, to netip.AddrPort, protocol tcpip.TransportProtocolNumber, seq uint32, why error) {
	start := make([]byte, 8)
	binary.BigEndian.PutUint16(start, from.Port())
	binary.BigEndian.PutUint16(start[2:], to.Port())
	binary.BigEndian.PutUint32(start[4:], seq)
	if protocol == header.UDPProtocolNumber {
		binary.BigEndian.PutUint32(start[4:], header.UDPMinimumSize<<16)
	}
	lost := compose(from.Addr(), to.Addr(), protocol, start)
	code4, code6 := reason(why)
	if to.Addr().Is4() {
		l.send(message(to.Addr(), from.Addr(), uint8(header.ICMPv4DstUnreachable), uint8(code4), append(make([]byte, 4), lost...)))
		return
	}
	l.send(message(to.Addr(), from.Addr(), uint8(header.ICMPv6DstUnreachable), uint8(code6), append(make([]byte, 4), lost...)))
}

// reason is an error of the host's kernel in the words of ICMP.
func reason(err error) (header.ICMPv4Code, header.ICMPv6Code) {
	switch {
	case errors.Is(err, unix.ECONNREFUSED), errors.Is(err, errOwn):
		return header.ICMPv4PortUnreachable, header.ICMPv6PortUnreachable
	case errors.Is(err, unix.ENETUNREACH):
		return header.ICMPv4NetUnreachable, header.ICMPv6NetworkUnreachable
	case errors.Is(err, unix.EACCES), errors.Is(err, unix.EPERM):
		return header.ICMPv4AdminProhibited, header.ICMPv6Prohibited
	}
	return header.ICMPv4HostUnreachable, header.ICMPv6AddressUnreachable
}
