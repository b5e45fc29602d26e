package netlink

import (
	"encoding/binary"
	"net/netip"

	"golang.org/x/sys/unix"
)

// Bit is what a LinkRequest does with IFF_UP.
type Bit int

// A link stays as it is, or is set up or down.
const (
	Keep Bit = iota
	Up
	Down
)

// LinkRequest makes or changes a device: by its number, or if that is 0 by the
// IFLA_IFNAME among the attributes. Flags are NLM_F_CREATE and NLM_F_EXCL, or 0.
func LinkRequest(flags uint16, index int, up Bit, attributes []byte) Request {
	var value, change uint32
	if up != Keep {
		change = unix.IFF_UP
	}
	if up == Up {
		value = unix.IFF_UP
	}
	return Request{Kind: unix.RTM_NEWLINK, Flags: flags, Payload: append(infoMessage(index, value, change), attributes...)}
}

// Nest appends a list of attributes as one.
func Nest(b []byte, kind uint16, inner []byte) []byte {
	return Append(b, kind|unix.NLA_F_NESTED, inner)
}

// VethPeer appends the other end of a veth pair: the form of VETH_INFO_PEER.
func VethPeer(b []byte, attributes []byte) []byte {
	const vethInfoPeer = 1
	return Nest(b, vethInfoPeer, append(infoMessage(0, 0, 0), attributes...))
}

// DeleteLink removes a device by name; the error unwraps to ENODEV if there is
// none.
func (c *Conn) DeleteLink(name string) error {
	_, err := c.Do(unix.RTM_DELLINK, 0, AppendString(infoMessage(0, 0, 0), unix.IFLA_IFNAME, name))
	return err
}

// AddressRequest gives a device an address, with its subnet's broadcast
// address. An IPv6 address is usable at once: nobody asks whether another has it.
func AddressRequest(index int, p netip.Prefix) Request {
	b := make([]byte, unix.SizeofIfAddrmsg)
	b[0], b[1] = family(p.Addr()), byte(p.Bits())
	binary.NativeEndian.PutUint32(b[4:], uint32(index))
	ip := p.Addr().AsSlice()
	b = Append(b, unix.IFA_LOCAL, ip)
	b = Append(b, unix.IFA_ADDRESS, ip)
	if p.Addr().Is4() && p.Bits() < 31 {
		b = Append(b, unix.IFA_BROADCAST, broadcast(p))
	}
	if p.Addr().Is6() {
		b = AppendUint32(b, unix.IFA_FLAGS, unix.IFA_F_NODAD)
	}
	return Request{Kind: unix.RTM_NEWADDR, Flags: unix.NLM_F_CREATE | unix.NLM_F_REPLACE, Payload: b}
}

func family(a netip.Addr) byte {
	if a.Is4() {
		return unix.AF_INET
	}
	return unix.AF_INET6
}

func broadcast(p netip.Prefix) []byte {
	b := p.Addr().As4()
	v := binary.BigEndian.Uint32(b[:]) | (1<<(32-p.Bits()) - 1)
	return binary.BigEndian.AppendUint32(nil, v)
}

// RouteRequest leads all that has no other way to a gateway.
func RouteRequest(index int, gateway netip.Addr) Request {
	b := make([]byte, unix.SizeofRtMsg)
	b[0], b[4], b[5], b[6], b[7] = family(gateway), unix.RT_TABLE_MAIN, unix.RTPROT_BOOT, unix.RT_SCOPE_UNIVERSE, unix.RTN_UNICAST
	b = Append(b, unix.RTA_GATEWAY, gateway.AsSlice())
	b = AppendUint32(b, unix.RTA_OIF, uint32(index))
	return Request{Kind: unix.RTM_NEWROUTE, Flags: unix.NLM_F_CREATE | unix.NLM_F_REPLACE, Payload: b}
}

// LocalRequest takes what is for an address of IPv6, and comes in by a device, for the
// host's own, beside the route that the kernel has for it. That it is there already is
// EEXIST.
func LocalRequest(index int, a netip.Addr) Request {
	b := make([]byte, unix.SizeofRtMsg)
	b[0], b[1], b[4], b[5], b[6], b[7] = unix.AF_INET6, 128, unix.RT_TABLE_LOCAL, unix.RTPROT_BOOT, unix.RT_SCOPE_UNIVERSE, unix.RTN_LOCAL
	b = Append(b, unix.RTA_DST, a.AsSlice())
	b = AppendUint32(b, unix.RTA_OIF, uint32(index))
	return Request{Kind: unix.RTM_NEWROUTE, Flags: unix.NLM_F_CREATE, Payload: b}
}

// StraightRequest leads all that has no other way, of the family of an address, out of
// a device whose other end knows what to do with it.
func StraightRequest(index int, family netip.Addr) Request {
	r := RouteRequest(index, family)
	b := append([]byte(nil), r.Payload[:unix.SizeofRtMsg]...)
	b[6] = unix.RT_SCOPE_LINK
	r.Payload = AppendUint32(b, unix.RTA_OIF, uint32(index))
	return r
}

// Route is one route: where to, and through which device.
type Route struct {
	To    netip.Prefix // zero: the default route
	Index int          // 0: none, or several
}

// Routes lists the routes of one family, unix.AF_INET or AF_INET6, in all
// tables but that of the host's own addresses; those that lead nowhere, too.
func (c *Conn) Routes(family byte) ([]Route, error) {
	req := make([]byte, unix.SizeofRtMsg)
	req[0] = family
	list, err := c.Do(unix.RTM_GETROUTE, unix.NLM_F_DUMP, req)
	if err != nil {
		return nil, err
	}
	var out []Route
	for _, m := range list {
		d := m.Data
		if m.Type != unix.RTM_NEWROUTE || len(d) < unix.SizeofRtMsg || d[0] != family || d[4] == unix.RT_TABLE_LOCAL || !leads(d[7]) {
			continue
		}
		var r Route
		for _, a := range Attributes(d[unix.SizeofRtMsg:]) {
			switch a.Type {
			case unix.RTA_DST:
				if ip, ok := netip.AddrFromSlice(a.Data); ok {
					r.To = netip.PrefixFrom(ip, int(d[1]))
				}
			case unix.RTA_OIF:
				r.Index = int(a.Uint32())
			}
		}
		out = append(out, r)
	}
	return out, nil
}

// leads reports whether routes of a type decide about the packets of others.
func leads(kind byte) bool {
	switch kind {
	case unix.RTN_UNICAST, unix.RTN_BLACKHOLE, unix.RTN_UNREACHABLE, unix.RTN_PROHIBIT, unix.RTN_THROW:
		return true
	}
	return false
}

// LinkAddress is an address of a device.
type LinkAddress struct {
	Index  int
	Prefix netip.Prefix
}

// AllAddresses lists the addresses of all devices.
func (c *Conn) AllAddresses() ([]LinkAddress, error) {
	list, err := c.Do(unix.RTM_GETADDR, unix.NLM_F_DUMP, make([]byte, unix.SizeofIfAddrmsg))
	if err != nil {
		return nil, err
	}
	var out []LinkAddress
	for _, m := range list {
		d := m.Data
		if m.Type != unix.RTM_NEWADDR || len(d) < unix.SizeofIfAddrmsg {
			continue
		}
		a := Address{attributes: Attributes(d[unix.SizeofIfAddrmsg:])}
		if ip, ok := netip.AddrFromSlice(a.IP()); ok {
			out = append(out, LinkAddress{int(binary.NativeEndian.Uint32(d[4:])), netip.PrefixFrom(ip, int(d[1]))})
		}
	}
	return out, nil
}
