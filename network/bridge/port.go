package bridge

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strings"

	"golang.org/x/sys/unix"

	"berth/base/fault"
	"berth/sys/netlink"
)

// Port is a container's veth pair.
type Port struct {
	Bridge   string
	Device   string // the host's end
	Hairpin  bool   // frames may go back where they came from
	Isolated bool   // reaches no other isolated port, only the host
	Limit    Limit
	Inside   Inside
}

// Inside is the container's end.
type Inside struct {
	Name      string
	MAC       net.HardwareAddr
	MTU       int
	Addresses []netip.Prefix
	Gateways  []netip.Addr // of the default routes; none: no default route by this device
	Settings  []Setting
	// Straight are families, one address each, whose default route has no gateway.
	Straight []netip.Addr
	// Announced: those who share the wire are told of the addresses.
	Announced bool
}

// Setting is a kernel parameter of the device inside: net.FAMILY.GROUP.DEVICE.NAME.
type Setting struct {
	Family, Group, Name, Value string
}

// maxPorts is how many the kernel gives a bridge.
const maxPorts = 1023

// Configure sets lo up in the namespace, and devices that are there.
func Configure(ends []Inside, namespace *os.File) error {
	return netlink.Inside(namespace, func() error {
		in, err := netlink.Open()
		if err != nil {
			return err
		}
		defer in.Close()
		list := []netlink.Request{netlink.LinkRequest(0, loopback, netlink.Up, nil)}
		for _, e := range ends {
			more, err := inside(in, e)
			if err != nil {
				return fmt.Errorf("set %s in the container: %w", e.Name, err)
			}
			list = append(list, more...)
		}
		if err := all(in, list); err != nil {
			return fmt.Errorf("give the container addresses and routes: %w", err)
		}
		return nil
	})
}

// loopback is the number of lo in every namespace.
const loopback = 1

// Loopback sets lo up in a namespace.
func Loopback(namespace *os.File) error { return Configure(nil, namespace) }

// Connect makes a port with its end in the namespace, which Configure is to set up. c
// is a connection of the host's namespace.
func Connect(c *netlink.Conn, p Port, namespace *os.File) error {
	if err := pair(c, p, namespace); err != nil {
		return err
	}
	return limit(c, p)
}

// Room refuses one port more of a bridge that has all it can have: kind Unavailable.
func Room(c *netlink.Conn, name string) error {
	b, err := Find(c, name)
	if err != nil || b == nil {
		return err
	}
	links, err := c.Links()
	if err != nil {
		return err
	}
	ports := 0
	for _, l := range links {
		if l.Master == b.Index {
			ports++
		}
	}
	if ports >= maxPorts {
		return full(name)
	}
	return nil
}

func full(name string) error {
	return fault.New(fault.Unavailable, "connect to bridge %s: it has %d ports, more the kernel does not give; make another network for more containers", name, maxPorts)
}

func pair(c *netlink.Conn, p Port, namespace *os.File) error {
	b, err := Find(c, p.Bridge)
	if err != nil {
		return err
	}
	if b == nil {
		return fault.New(fault.NotFound, "connect to bridge %s: it is not there", p.Bridge)
	}
	end := netlink.AppendString(nil, unix.IFLA_IFNAME, p.Inside.Name)
	end = netlink.Append(end, unix.IFLA_ADDRESS, p.Inside.MAC)
	end = netlink.AppendUint32(end, unix.IFLA_MTU, uint32(p.Inside.MTU))
	end = netlink.AppendUint32(end, unix.IFLA_NET_NS_FD, uint32(namespace.Fd()))

	a := netlink.AppendString(nil, unix.IFLA_IFNAME, p.Device)
	a = netlink.AppendUint32(a, unix.IFLA_MTU, uint32(p.Inside.MTU))
	a = netlink.AppendUint32(a, unix.IFLA_MASTER, uint32(b.Index))
	info := netlink.AppendString(nil, unix.IFLA_INFO_KIND, "veth")
	info = netlink.Nest(info, unix.IFLA_INFO_DATA, netlink.VethPeer(nil, end))
	a = netlink.Nest(a, unix.IFLA_LINKINFO, info)
	list := []netlink.Request{netlink.LinkRequest(unix.NLM_F_CREATE|unix.NLM_F_EXCL, 0, netlink.Keep, a)}

	name := netlink.AppendString(nil, unix.IFLA_IFNAME, p.Device)
	// A port has no address of its own, not even IPv6's link-local one.
	spec := netlink.Nest(nil, unix.AF_INET6, netlink.Append(nil, unix.IFLA_INET6_ADDR_GEN_MODE, []byte{genModeNone}))
	list = append(list, netlink.LinkRequest(0, 0, netlink.Keep, netlink.Nest(append([]byte(nil), name...), unix.IFLA_AF_SPEC, spec)))
	up := append([]byte(nil), name...)
	if p.Hairpin || p.Isolated {
		up = netlink.Nest(up, unix.IFLA_LINKINFO, slave(p))
	}
	list = append(list, netlink.LinkRequest(0, 0, netlink.Up, up))

	errs, err := c.DoAll(list)
	if err != nil {
		return fmt.Errorf("make veth pair %s: %w", p.Device, err)
	}
	for i, e := range errs {
		switch {
		case e == nil || i == 1: // a kernel without IPv6
		case i == 0 && errors.Is(e, unix.EXFULL):
			return full(p.Bridge)
		case i == 0 && errors.Is(e, unix.EOPNOTSUPP):
			return fault.New(fault.Unsupported, "make veth pair %s: this kernel has no veth: %w", p.Device, e)
		default:
			return fmt.Errorf("make veth pair %s: %w", p.Device, e)
		}
	}
	return nil
}

// genModeNone is IN6_ADDR_GEN_MODE_NONE.
const genModeNone = 1

// slave is what the bridge keeps of a port.
func slave(p Port) []byte {
	flag := func(b []byte, kind uint16, on bool) []byte {
		if !on {
			return b
		}
		return netlink.Append(b, kind, []byte{1})
	}
	data := flag(nil, unix.IFLA_BRPORT_MODE, p.Hairpin)
	data = flag(data, unix.IFLA_BRPORT_ISOLATED, p.Isolated)
	b := netlink.AppendString(nil, unix.IFLA_INFO_SLAVE_KIND, "bridge")
	return netlink.Nest(b, unix.IFLA_INFO_SLAVE_DATA, data)
}

// Silence ends a port for good: nothing goes in or out, and the bridge forgets
// what it learned there. To remove the pair would take the kernel some 10 ms of
// waiting, which it does by itself with the namespace. That there is no such
// port is no error.
func Silence(c *netlink.Conn, name string) error {
	// Not its state: the kernel sets that to forwarding at each event of the device.
	var data []byte
	for _, off := range []uint16{unix.IFLA_BRPORT_LEARNING, unix.IFLA_BRPORT_UNICAST_FLOOD, unix.IFLA_BRPORT_MCAST_FLOOD, unix.IFLA_BRPORT_BCAST_FLOOD} {
		data = netlink.Append(data, off, []byte{0})
	}
	data = netlink.Append(data, unix.IFLA_BRPORT_LOCKED, []byte{1})
	data = netlink.Append(data, unix.IFLA_BRPORT_FLUSH, nil)
	b := netlink.AppendString(nil, unix.IFLA_INFO_SLAVE_KIND, "bridge")
	b = netlink.Nest(b, unix.IFLA_INFO_SLAVE_DATA, data)
	a := netlink.Nest(netlink.AppendString(nil, unix.IFLA_IFNAME, name), unix.IFLA_LINKINFO, b)
	err := all(c, []netlink.Request{netlink.LinkRequest(0, 0, netlink.Keep, a)})
	switch {
	case err == nil || errors.Is(err, unix.ENODEV):
		return nil
	case errors.Is(err, unix.EOPNOTSUPP):
		return Remove(c, name) // somebody took it from its bridge, or the bridge away
	}
	return fmt.Errorf("silence port %s: %w", name, err)
}

// Rejoin makes a port that is there one of its bridge again, and sets it up: somebody
// took it from it, or the bridge is another one.
func Rejoin(c *netlink.Conn, l *netlink.Link, p Port) error {
	b, err := Find(c, p.Bridge)
	if err != nil {
		return err
	}
	if b == nil {
		return fault.New(fault.NotFound, "connect to bridge %s: it is not there", p.Bridge)
	}
	if l.Master == b.Index && l.Up {
		return nil
	}
	list := []netlink.Request{netlink.LinkRequest(0, l.Index, netlink.Up, netlink.AppendUint32(nil, unix.IFLA_MASTER, uint32(b.Index)))}
	if p.Hairpin || p.Isolated {
		list = append(list, netlink.LinkRequest(0, l.Index, netlink.Keep, netlink.Nest(nil, unix.IFLA_LINKINFO, slave(p))))
	}
	if err := all(c, list); err != nil {
		return fmt.Errorf("connect port %s to bridge %s: %w", p.Device, p.Bridge, err)
	}
	return nil
}

// Hairpin lets frames of a port go back where they came from.
func Hairpin(c *netlink.Conn, name string) error {
	a := netlink.Nest(netlink.AppendString(nil, unix.IFLA_IFNAME, name), unix.IFLA_LINKINFO, slave(Port{Hairpin: true}))
	if err := all(c, []netlink.Request{netlink.LinkRequest(0, 0, netlink.Keep, a)}); err != nil {
		return fmt.Errorf("set port %s: %w", name, err)
	}
	return nil
}

// Isolate keeps a port from other isolated ones, or lets it reach all. That there is
// no such port is no error.
func Isolate(c *netlink.Conn, name string, apart bool) error {
	on := byte(0)
	if apart {
		on = 1
	}
	b := netlink.AppendString(nil, unix.IFLA_INFO_SLAVE_KIND, "bridge")
	b = netlink.Nest(b, unix.IFLA_INFO_SLAVE_DATA, netlink.Append(nil, unix.IFLA_BRPORT_ISOLATED, []byte{on}))
	a := netlink.Nest(netlink.AppendString(nil, unix.IFLA_IFNAME, name), unix.IFLA_LINKINFO, b)
	err := all(c, []netlink.Request{netlink.LinkRequest(0, 0, netlink.Keep, a)})
	if err != nil && !errors.Is(err, unix.ENODEV) {
		return fmt.Errorf("set port %s: %w", name, err)
	}
	return nil
}

// Lead makes a device that is there give the default routes instead of another, if it
// has any.
func Lead(e Inside, namespace *os.File) error {
	if len(e.Gateways)+len(e.Straight) == 0 {
		return nil
	}
	return netlink.Inside(namespace, func() error {
		in, err := netlink.Open()
		if err != nil {
			return err
		}
		defer in.Close()
		l, err := in.LinkByName(e.Name)
		if err != nil {
			return fmt.Errorf("look for %s in the container: %w", e.Name, err)
		}
		if err := all(in, e.routes(l.Index)); err != nil {
			return fmt.Errorf("lead the container's default route through %s: %w", e.Name, err)
		}
		return nil
	})
}

// routes are the default routes.
func (e Inside) routes(index int) (list []netlink.Request) {
	for _, g := range e.Gateways {
		list = append(list, netlink.RouteRequest(index, g))
	}
	for _, a := range e.Straight {
		list = append(list, netlink.StraightRequest(index, a))
	}
	return list
}

// inside prepares the container's end and says what remains to be asked.
func inside(c *netlink.Conn, e Inside) ([]netlink.Request, error) {
	l, err := c.LinkByName(e.Name)
	if err != nil {
		return nil, err
	}
	v6 := false
	for _, a := range e.Addresses {
		v6 = v6 || a.Addr().Is6()
	}
	conf := "ipv6/conf/" + e.Name
	settings := []sysctl{{conf + "/disable_ipv6", "1", true}}
	if v6 {
		settings = []sysctl{{conf + "/disable_ipv6", "0", true}, {conf + "/accept_ra", "0", true}}
	}
	if e.Announced {
		settings = append(settings, sysctl{"ipv4/conf/" + e.Name + "/arp_notify", "1", false}, sysctl{conf + "/ndisc_notify", "1", true})
	}
	for _, set := range e.Settings {
		settings = append(settings, sysctl{strings.Join([]string{set.Family, set.Group, e.Name, set.Name}, "/"), set.Value, false})
	}
	if err := apply(settings); err != nil {
		return nil, err
	}
	var list []netlink.Request
	for _, a := range e.Addresses {
		list = append(list, netlink.AddressRequest(l.Index, a))
	}
	list = append(list, netlink.LinkRequest(0, l.Index, netlink.Up, nil))
	return append(list, e.routes(l.Index)...), nil
}
