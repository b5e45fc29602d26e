package dhcp

import (
	"encoding/binary"
)

// Ports of both sides.
const (
	serverPort = 67
	clientPort = 68
)

// Sizes of the headers before a message.
const (
	ipSize  = 20
	udpSize = 8
)

// wrap puts a client's message into a datagram, broadcast from an address, perhaps none.
func wrap(from, to [4]byte, payload []byte) []byte {
	b := make([]byte, ipSize+udpSize, ipSize+udpSize+len(payload))
	size := len(b) + len(payload)
	b[0], b[8], b[9] = 0x45, 64, 17
	binary.BigEndian.PutUint16(b[2:], uint16(size))
	copy(b[12:], from[:])
	copy(b[16:], to[:])
	binary.BigEndian.PutUint16(b[10:], ^sum(0, b[:ipSize]))
	udp := b[ipSize:]
	binary.BigEndian.PutUint16(udp[0:], clientPort)
	binary.BigEndian.PutUint16(udp[2:], serverPort)
	binary.BigEndian.PutUint16(udp[4:], uint16(size-ipSize))
	b = append(b, payload...)
	check := ^sum(pseudo(b), b[ipSize:])
	if check == 0 {
		check = 0xffff
	}
	binary.BigEndian.PutUint16(b[ipSize+6:], check)
	return b
}

// unwrap finds the message in a datagram that the wire gave; nil if there is none
// for us, or not a whole one.
func unwrap(b []byte) []byte {
	if len(b) < ipSize || b[0]>>4 != 4 {
		return nil
	}
	head, size := int(b[0]&15)*4, int(binary.BigEndian.Uint16(b[2:]))
	if head < ipSize || size > len(b) || size < head+udpSize || b[9] != 17 || binary.BigEndian.Uint16(b[6:])&0x3fff != 0 || sum(0, b[:head]) != 0xffff {
		return nil
	}
	udp := b[head:size]
	length := int(binary.BigEndian.Uint16(udp[4:]))
	if length < udpSize || length > len(udp) || binary.BigEndian.Uint16(udp) != serverPort || binary.BigEndian.Uint16(udp[2:]) != clientPort {
		return nil
	}
	return udp[udpSize:length]
}

// pseudo is the sum of what UDP's checksum takes of the IP header.
func pseudo(b []byte) uint32 {
	s := uint32(17) + uint32(len(b)-ipSize)
	for i := 12; i < ipSize; i += 2 {
		s += uint32(binary.BigEndian.Uint16(b[i:]))
	}
	return s
}

// sum is the Internet checksum, not yet inverted.
func sum(s uint32, b []byte) uint16 {
	for ; len(b) > 1; b = b[2:] {
		s += uint32(binary.BigEndian.Uint16(b))
	}
	if len(b) > 0 {
		s += uint32(b[0]) << 8
	}
	for s>>16 != 0 {
		s = s&0xffff + s>>16
	}
	return uint16(s)
}
