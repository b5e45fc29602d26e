package network

import (
	"cmp"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"os"
	"slices"

	"berth/base/fault"
	"berth/base/ids"
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
		return parent.Remove(*a.Way, a.Interface, namespace)
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

// parents are networks whose containers are on a device of the host, beside the host.
type parents struct{}

func (parents) complete(n *Network) error {
	w, err := wayOf(n)
	if err != nil {
		return err
	}
	n.Device = w.Parent
	if err := n.CheckDHCP(); err != nil {
		return err
	}
	return record.CheckMTU(n.Options[record.OptionMTU])
}

// wayOf is how the network's containers are linked to its parent.
func wayOf(n *Network) (parent.Way, error) {
	w, err := parent.Read(n.Driver, n.Options, n.Internal)
	w.Parent = cmp.Or(w.Parent, parent.StandIn(n.ID))
	w.Straight = w.Routed() && !n.Internal
	return w, err
}

// checkChange refuses to change how containers are linked to the parent.
func checkChange(n *Network, options map[string]string) error {
	then := *n
	then.Options = merged(maps.Clone(n.Options), options)
	was, _ := wayOf(n)
	now, err := wayOf(&then)
	if err == nil && now != was {
		err = fault.New(fault.Unsupported, "parent and mode of network %s cannot be changed: make another network", n.Name)
	}
	return cmp.Or(err, record.CheckMTU(options[record.OptionMTU]))
}

func (parents) fit(s *builder, c *netlink.Conn, n *Network) error {
	w, err := wayOf(n)
	if err != nil {
		return err
	}
	others, err := networks(s)
	if err != nil {
		return err
	}
	var taken []netip.Prefix
	for _, o := range others {
		for _, sub := range o.Subnets {
			taken = append(taken, sub.Prefix)
		}
		if !parent.Is(o.Driver) {
			continue
		}
		other, err := wayOf(o)
		if err != nil {
			return err
		}
		if err := w.Beside(other, o.Name); err != nil {
			return err
		}
	}
	if err := parent.Check(c, w); err != nil {
		return err
	}
	if err := n.CheckFamilies(); err != nil || n.DHCP {
		return err
	}
	// The host is in the same network, perhaps, so its addresses are no obstacle where
	// a subnet is named.
	busy, err := s.takenSubnets(c, "")
	if err != nil {
		return err
	}
	return fill(s, n, busy, taken)
}

func (parents) settle(s *builder, c *netlink.Conn, l *live) error {
	return nil
}

func (parents) there(c *netlink.Conn, l *live) (bool, error) {
	link, err := bridge.Find(c, l.Network.Device)
	return link != nil && (link.Up || bridge.Owner(link) != l.Network.ID), err
}

// lacks reports whether a parent that can be made is not there.
func (p parents) lacks(c *netlink.Conn, l *live) (bool, error) {
	there, err := p.there(c, l)
	if err != nil || there {
		return false, err
	}
	w, err := wayOf(l.Network)
	return err == nil && parent.Check(c, w) == nil, err
}

func (parents) make(s *builder, c *netlink.Conn, l *live) error {
	w, err := wayOf(l.Network)
	if err != nil {
		return err
	}
	return parent.Make(c, w, l.Network.ID)
}

// remove removes a parent that was made, unless another network has it, too: then it
// is that one's.
func (parents) remove(s *builder, c *netlink.Conn, l *live) error {
	link, err := bridge.Find(c, l.Network.Device)
	if err != nil || link == nil || bridge.Owner(link) != l.Network.ID {
		return err
	}
	lives, err := s.lives()
	if err != nil {
		return err
	}
	for _, o := range lives {
		if o.Network.ID != l.Network.ID && o.Network.Device == l.Network.Device && !o.bridged() {
			return bridge.Own(c, o.Network.Device, o.Network.ID)
		}
	}
	return bridge.Remove(c, l.Network.Device)
}

// place decides where a new endpoint is linked to the host.
func (s *firewall) place(c *netlink.Conn, container string, a *Attached, l *live) error {
	if l.bridged() {
		a.Device = s.ports + ids.Hex(4)
		return nil
	}
	w, err := wayOf(l.Network)
	if err != nil {
		return err
	}
	a.Way, a.DHCP = &w, l.Network.DHCP
	if a.DHCP && a.MAC == "" && !w.Sole() {
		a.MAC = ownMAC(container, a.NetworkID)
	}
	if o, _ := option.ReadEndpoint(a.Options); o.Limit != (bridge.Limit{}) {
		return fault.New(fault.Unsupported, "connect to network %s: what goes through %s links is not limited", l.Network.Name, w.Driver)
	}
	if a.MAC != "" && !w.OwnMAC() {
		return fault.New(fault.Invalid, "%s interfaces do not support custom mac address assignment", w.Driver)
	}
	if w.Sole() && a.MAC == "" {
		link, err := bridge.Find(c, w.Parent)
		if err != nil {
			return err
		}
		if link != nil {
			a.MAC = net.HardwareAddr(link.Address).String()
		}
	}
	return unshared(&s.boot, container, a)
}

// unshared refuses what another container has on the parent: its link address, or all of
// it in mode passthru.
func unshared(s *boot, container string, a *Attached) error {
	if !a.Way.Sole() && a.MAC == "" {
		return nil
	}
	all, err := s.endpointFiles()
	if err != nil {
		return err
	}
	for _, e := range all {
		if e.Container == container || e.State != stateUp || !s.live(e.Container) {
			continue
		}
		for _, o := range e.Endpoints {
			switch {
			case o.Way == nil || o.Way.Parent != a.Way.Parent:
			case a.Way.Sole():
				return fault.New(fault.Conflict, "container %s has parent interface %s, which in mode passthru is for one", e.Name, o.Way.Parent)
			case o.MAC == a.MAC:
				return fault.New(fault.Conflict, "container %s has mac address %s on parent interface %s", e.Name, a.MAC, o.Way.Parent)
			}
		}
	}
	return nil
}

// routed6 reports whether the host forwards IPv6 for the container.
func (e *endpointFile) routed6() bool {
	return slices.ContainsFunc(e.Endpoints, func(a Attached) bool { return a.bridged() && a.IPv6.IsValid() })
}
