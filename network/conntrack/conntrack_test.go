package conntrack

import (
	"testing"

	"berth/sys/netlink"
)

func FuzzGoesTo(f *testing.F) {
	tuple := netlink.Nest(nil, tupleProtocol, netlink.Append(netlink.Append(nil, protocolNumber, []byte{17}), protocolDestination, []byte{0, 53}))
	if !goesTo(tuple, []Range{{53, 53}}) || goesTo(tuple, []Range{{54, 60}}) {
		f.Fatal("the port is misread")
	}
	f.Add(tuple)
	f.Fuzz(func(t *testing.T, b []byte) {
		if goesTo(b, nil) {
			t.Error("a connection to no port")
		}
		goesTo(b, []Range{{0, 65535}})
	})
}
