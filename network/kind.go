package network

import (
	"cmp"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"

	"berth/network/bridge"
	"berth/network/nft"
	"berth/network/option"
	"berth/network/parent"
	"berth/network/record"
	"berth/sys/netlink"
)

// kind is what networks of one driver have done for them in a way of their own.
type kind interface {
	// complete fills in a new network, and refuses what it cannot be.
	complete(n *Network) error
	// fit refuses what others have, and completes the subnets.
	fit(s *builder, c *netlink.Conn, n *Network) error
	// settle decides what the network is in this boot.
	settle(s *builder, c *netlink.Conn, l *live) error
	// there reports whether all that make made is there still.
	there(c *netlink.Conn, l *live) (bool, error)
	make(s *builder, c *netlink.Conn, l *live) error
	remove(s *builder, c *netlink.Conn, l *live) error
}

// kindOf is the network's kind; host and null have none.
func kindOf(n *Network) kind {
	switch {
	case n.Driver == "bridge":
		return bridges{}
	case parent.Is(n.Driver):
		return parents{}
	}
	return nil
}

// bridges are networks whose containers are on a bridge of the host.
type bridges struct{}

func (bridges) complete(n *Network) error {
	n.Device = cmp.Or(n.Bridge(), "br-"+n.ID[:12])
	return cmp.Or(n.CheckDHCP(), record.CheckOptions(n.Options), n.CheckModes())
}

func (bridges) fit(s *builder, c *netlink.Conn, n *Network) error {
	if err := ownDevice(s, n); err != nil {
		return err
	}
	return s.subnets(c, n)
}

func (bridges) there(c *netlink.Conn, l *live) (bool, error) {
	link, err := bridge.Find(c, l.Network.Device)
	return link != nil && (link.Up || l.Foreign), err
}

func (bridges) make(s *builder, c *netlink.Conn, l *live) error {
	if !l.Foreign {
		if _, err := bridge.Make(c, l.bridge()); err != nil {
			return err
		}
	}
	if err := s.rejoin(c, l); err != nil {
		return err
	}
	if err := s.wall().TellOthers(); err != nil {
		return err
	}
	return s.wall().Change(l.firewall().Elements(), nil)
}

func (bridges) remove(s *builder, c *netlink.Conn, l *live) error {
	if err := s.wall().Change(nil, l.firewall().Elements()); err != nil || l.Foreign {
		return err
	}
	return bridge.Remove(c, l.Network.Device)
}

// bridged reports whether the host's firewall sees the network's frames.
func (l *live) bridged() bool { return l.Network.Driver == "bridge" }

// elements are the network's in the firewall.
func (l *live) elements() []nft.Element {
	if !l.bridged() {
		return nil
	}
	return l.firewall().Elements()
}

// bridged reports whether the endpoint is a port of a bridge.
func (a *Attached) bridged() bool { return a.Way == nil }

// walled reports whether the container has endpoints that the firewall knows, or had.
func (e *endpointFile) walled() bool {
	return slices.ContainsFunc(e.Endpoints, func(a Attached) bool { return a.bridged() }) || slices.ContainsFunc(e.before(), (*endpointFile).walled)
}

// link is an endpoint to be made, and the network that it is on.
type link struct {
	Attached
	live    *live
	hairpin bool
}

// plug makes the devices of endpoints in a container's namespace.
func plug(c *netlink.Conn, links []link, namespace *os.File) error {
	var ends []bridge.Inside
	for _, l := range links {
		var err error
		if l.bridged() {
			err = bridge.Connect(c, l.port(l.live, l.hairpin), namespace)
		} else if err = parent.Connect(c, *l.Way, l.inside(), namespace); err != nil {
			err = fmt.Errorf("network %s: %w", l.Network, err)
		}
		if err != nil {
			return err
		}
		in := l.inside()
		if l.DHCP { // its router comes with the address
			in.Gateways = nil
		}
		ends = append(ends, in)
	}
	return parent.Patiently(func() error { return bridge.Configure(ends, namespace) })
}

// plugged reports whether the endpoint's device is there.
func (a *Attached) plugged(c *netlink.Conn, namespace *os.File) (bool, error) {
	if !a.bridged() {
		return parent.There(*a.Way, a.Interface, namespace)
	}
	link, err := bridge.Find(c, a.Device)
	return link != nil, err
}

// unplug takes the endpoint's device away, if it is there.
func (a *Attached) unplug(c *netlink.Conn, namespace *os.File) error {
	if !a.bridged() {
		return parent.Unlink(*a.Way, a.Interface, namespace)
	}
	return cmp.Or(bridge.Remove(c, a.Device), a.unlimit(c))
}

// rejoin makes a port that is there one of its bridge again.
func (a *Attached) rejoin(c *netlink.Conn, l *live, hairpin bool) error {
	if !a.bridged() {
		return nil
	}
	link, err := bridge.Find(c, a.Device)
	if err != nil || link == nil {
		return err
	}
	return bridge.Rejoin(c, link, a.port(l, hairpin))
}

// straight reports whether the endpoint's default routes need no gateway.
func (a *Attached) straight() bool { return !a.bridged() && a.Way.Straight }

// inside is the container's end of an endpoint.
func (a *Attached) inside() bridge.Inside {
	mac, _ := net.ParseMAC(a.MAC)
	o, _ := option.ReadEndpoint(a.Options) // which Prepare has checked
	in := bridge.Inside{Name: a.Interface, MAC: mac, MTU: a.MTU, Settings: o.Sysctls, Announced: !a.bridged()}
	for _, one := range []struct {
		ip      netip.Prefix
		gateway netip.Addr
		leads   bool
	}{{a.IPv4, a.Gateway, a.Default}, {a.IPv6, a.Gateway6, a.Default6}} {
		if one.ip.IsValid() && !a.DHCP { // who has leased it gives it to the device
			in.Addresses = append(in.Addresses, one.ip)
		}
		switch {
		case !one.leads || !one.ip.IsValid():
		case a.straight():
			in.Straight = append(in.Straight, one.ip.Addr())
		case one.gateway.IsValid():
			in.Gateways = append(in.Gateways, one.gateway)
		}
	}
	return in
}

// routed6 reports whether the host forwards IPv6 for the container.
func (e *endpointFile) routed6() bool {
	return slices.ContainsFunc(e.Endpoints, func(a Attached) bool { return a.bridged() && a.IPv6.IsValid() })
}
