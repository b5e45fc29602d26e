package uplink

import (
	"errors"
	"net/netip"
	"sync"

	"golang.org/x/sys/unix"

	"berth/sys/netlink"
)

// reach says where flows may lead, by the host's routes at that moment.
type reach struct {
	host bool // its own addresses are allowed
	mu   sync.Mutex
	c    *netlink.Conn
}

// errOwn is of a destination that is the host itself, or nobody's alone.
var errOwn = errors.New("not led to: an address of this host, or of many")

func newReach(host bool) (*reach, error) {
	c, err := netlink.Open()
	if err != nil {
		return nil, err
	}
	return &reach{host: host, c: c}, nil
}

// check allows a flow of a protocol (unix.IPPROTO_*) to a destination: nil, errOwn, or the
// error number with which the kernel has no way there.
func (r *reach) check(to netip.AddrPort, protocol uint8) error {
	a := to.Addr()
	if never(a) {
		return errOwn
	}
	kind, err := r.route(to, protocol)
	switch {
	case err != nil:
		return err
	case kind == unix.RTN_UNICAST, kind == unix.RTN_LOCAL && r.host:
		return nil
	}
	return errOwn
}

// never are addresses that lead to the host or to many whatever its routes are: those in
// the form of IPv6 that mean one of IPv4 would be dialed as that (RFC 4291, 2.5.5).
func never(a netip.Addr) bool {
	if a.Is4() {
		b := a.As4()
		return b[0] == 0 || b[0] == 127 || a.IsMulticast() || b == [4]byte{255, 255, 255, 255}
	}
	return a.Is4In6() || a.IsMulticast() || [12]byte(a.AsSlice()[:12]) == [12]byte{} // ::, ::1, ::a.b.c.d
}

// route asks for the type of the route (RTN_*) that a packet would take: rtnetlink(7).
func (r *reach) route(to netip.AddrPort, protocol uint8) (uint8, error) {
	dst := to.Addr().AsSlice()
	family := uint8(unix.AF_INET6)
	if to.Addr().Is4() {
		family = unix.AF_INET
	}
	req := make([]byte, unix.SizeofRtMsg)
	req[0], req[1] = family, uint8(8*len(dst))
	req = netlink.Append(req, unix.RTA_DST, dst)
	req = netlink.Append(req, unix.RTA_IP_PROTO, []byte{protocol})
	if to.Port() != 0 {
		req = netlink.Append(req, unix.RTA_DPORT, []byte{byte(to.Port() >> 8), byte(to.Port())})
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	list, err := r.c.Do(unix.RTM_GETROUTE, 0, req)
	if err != nil {
		return 0, err
	}
	for _, m := range list {
		if m.Type == unix.RTM_NEWROUTE && len(m.Data) >= unix.SizeofRtMsg {
			return m.Data[7], nil
		}
	}
	return 0, unix.ENETUNREACH
}
