package uplink

import (
	"net/netip"
	"testing"

	"gvisor.dev/gvisor/pkg/tcpip/header"
)

// FuzzJudge: what is said of any bytes can be relied on by those who read on.
func FuzzJudge(f *testing.F) {
	four, six := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("2001:db8::1")
	for _, a := range []netip.Addr{four, six} {
		for _, kind := range []uint8{uint8(header.ICMPv4Echo), uint8(header.ICMPv6EchoRequest), 3} {
			f.Add(message(a, a, kind, 0, []byte{1, 2, 3, 4}))
			f.Add(message(a, a, kind, 0, nil))
		}
		f.Add(compose(a, a, header.UDPProtocolNumber, make([]byte, 8)))
		f.Add(compose(a, a, header.IPv6FragmentHeader, []byte{58, 0, 0, 1, 0, 0, 0, 0, 128, 0}))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		switch judge(b) {
		case header.IPv4ProtocolNumber:
			if !header.IPv4(b).IsValid(len(b)) {
				t.Error("no IPv4")
			}
		case header.IPv6ProtocolNumber:
			if !header.IPv6(b).IsValid(len(b)) {
				t.Error("no IPv6")
			}
		case echo:
			k, m := request(b)
			if len(m) < 8 || !k.from.IsValid() || !k.to.IsValid() || k.to.IsMulticast() {
				t.Errorf("%v, %d bytes", k, len(m))
			}
		}
	})
}
