package bridge

import (
	"crypto/sha256"
	"net"
	"net/netip"
)

// MAC is a bridge's link address, the same for as long as there is the
// network; locally administered, of Docker's range.
func MAC(id string) string {
	sum := sha256.Sum256([]byte("bridge " + id))
	return net.HardwareAddr{2, 0x42, sum[0], sum[1], sum[2], sum[3]}.String()
}

// MACOf is made of the address, so that neighbours that remember an
// address given to another container are not misled for long.
func MACOf(a netip.Addr) string {
	b := a.AsSlice()
	b = b[len(b)-4:]
	return net.HardwareAddr{2, 0x42, b[0], b[1], b[2], b[3]}.String()
}

// LinkLocal is the address that the kernel makes of a link address (EUI-64, RFC
// 4291, appendix A).
func LinkLocal(mac net.HardwareAddr) netip.Addr {
	var b [16]byte
	b[0], b[1] = 0xfe, 0x80
	copy(b[8:], []byte{mac[0] ^ 2, mac[1], mac[2], 0xff, 0xfe, mac[3], mac[4], mac[5]})
	return netip.AddrFrom16(b)
}
