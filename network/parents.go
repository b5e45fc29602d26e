package network

import (
	"net/netip"

	"berth/base/fault"
	"berth/base/ids"
	"berth/network/bridge"
	"berth/network/option"
	"berth/network/parent"
	"berth/sys/netlink"
)

// parents are networks whose containers are on a device of the host, beside the host.
type parents struct{}

func (parents) complete(n *Network) error { return parent.Complete(n) }

func (parents) fit(s *builder, c *netlink.Conn, n *Network) error {
	others, err := networks(s)
	if err != nil {
		return err
	}
	if err := parent.Fit(c, n, others); err != nil {
		return err
	}
	if err := n.CheckFamilies(); err != nil || n.DHCP {
		return err
	}
	var taken []netip.Prefix
	for _, o := range others {
		for _, sub := range o.Subnets {
			taken = append(taken, sub.Prefix)
		}
	}
	// The host is in the same network, perhaps, so its addresses are no obstacle where
	// a subnet is named.
	busy, err := s.takenSubnets(c, "")
	if err != nil {
		return err
	}
	return fill(s, n, busy, taken)
}

func (parents) settle(s *builder, c *netlink.Conn, l *live) error { return nil }

func (parents) there(c *netlink.Conn, l *live) (bool, error) { return parent.Whole(c, l.Network) }

func (parents) make(s *builder, c *netlink.Conn, l *live) error { return parent.Make(c, l.Network) }

func (parents) remove(s *builder, c *netlink.Conn, l *live) error {
	lives, err := s.lives()
	if err != nil {
		return err
	}
	var others []*Network
	for _, o := range lives {
		others = append(others, o.Network)
	}
	return parent.Remove(c, l.Network, others)
}

// place decides where a new endpoint is linked to the host.
func (s *firewall) place(c *netlink.Conn, container string, a *Attached, l *live) error {
	a.DHCP = l.Network.DHCP
	if l.bridged() {
		a.Device = s.ports + ids.Hex(4)
		if a.DHCP && a.MAC == "" {
			a.MAC = ownMAC(container, a.NetworkID)
		}
		return nil
	}
	w, err := parent.Of(l.Network)
	if err != nil {
		return err
	}
	a.Way = &w
	if a.DHCP && a.MAC == "" && !w.Sole() {
		a.MAC = ownMAC(container, a.NetworkID)
	}
	if o, _ := option.ReadEndpoint(a.Options); o.Limit != (bridge.Limit{}) {
		return fault.New(fault.Unsupported, "connect to network %s: what goes through %s links is not limited", l.Network.Name, w.Driver)
	}
	if a.MAC, err = w.Place(c, a.MAC); err != nil {
		return err
	}
	return unshared(&s.boot, container, a)
}

// unshared refuses what another container has on the parent.
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
			if err := a.Way.Shares(a.MAC, o.Way, e.Name, o.MAC); err != nil {
				return err
			}
		}
	}
	return nil
}
