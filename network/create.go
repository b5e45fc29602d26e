package network

import (
	"context"
	"errors"
	"fmt"
	"net/netip"

	"berth/base/fault"
	"berth/base/flock"
	"berth/network/bridge"
	"berth/network/home"
	"berth/network/ipam"
	"berth/network/parent"
	"berth/network/record"
	"berth/sys/netlink"
)

// CreateRequest is network create.
type CreateRequest struct {
	Network // ID, Created, Device may be empty; subnets without Prefix or Gateway are completed
}

// Create makes a network: its record; a bridge comes with its first
// container. Kinds: Exists the name, Conflict a subnet or a device in use,
// Unavailable no pool left, Unsupported, Invalid.
func (s *Store) Create(ctx context.Context, r CreateRequest) (*Network, error) {
	return home.Of(s.at.Inside, func() (*Network, error) { return create(ctx, s, r) })
}

func create(ctx context.Context, s *Store, r CreateRequest) (*Network, error) {
	n := r.Network
	if s.at.Home != nil && parent.Is(n.Driver) {
		return nil, fault.New(fault.Unsupported, "network %s: driver %s needs a device of the host: run berth as root", n.Name, n.Driver)
	}
	c, err := netlink.Open()
	if err != nil {
		return nil, err
	}
	defer c.Close()
	if n.DefaultParent && parent.Is(n.Driver) && !n.Internal {
		if n.Options, err = parent.Default(c, n.Options); err != nil {
			return nil, err
		}
	}
	if err := s.records.Complete(&n); err != nil {
		return nil, err
	}
	if err := kindOf(&n).complete(&n); err != nil {
		return nil, err
	}
	if err := s.dropGone(); err != nil {
		return nil, err
	}
	if err := enter(&s.builder, c, &n); err != nil {
		return nil, err
	}
	if !parent.Is(n.Driver) {
		return &n, nil
	}
	// A VLAN that cannot be made is told of now.
	if _, err := s.up(c, &n); err != nil {
		return nil, errors.Join(fmt.Errorf("network %s: %w", n.Name, err), s.records.Remove(&n), s.tearDown(&n))
	}
	return &n, nil
}

// enter completes a new network and writes it down.
func enter(s *builder, c *netlink.Conn, n *Network) error {
	held, err := s.files.Lock("choose", flock.Lock)
	if err != nil {
		return err
	}
	defer held.Unlock()
	if _, err := s.records.Load(n.Name); err == nil {
		return record.Exists(n.Name)
	}
	if err := kindOf(n).fit(s, c, n); err != nil {
		return err
	}
	return s.records.Save(n)
}

// ownDevice refuses a device that another network has.
func ownDevice(s *builder, n *Network) error {
	others, err := networks(s)
	if err != nil {
		return err
	}
	standard := s.records.BuiltIn()[0]
	standard.Device = standard.Bridge()
	for _, o := range append(others, standard) {
		if o.Device == n.Device && o.Driver == n.Driver {
			return fault.New(fault.Conflict, "cannot create network %s (%s): conflicts with network %s (%s): networks have same bridge name",
				n.ID, n.Device, o.ID, o.Device)
		}
	}
	return nil
}

// networks are those that were made, and those that are up.
func networks(s *builder) ([]*Network, error) {
	all, err := s.records.Made()
	if err != nil {
		return nil, err
	}
	lives, err := s.lives()
	for _, l := range lives {
		all = append(all, l.Network)
	}
	return all, err
}

// subnets completes the subnets of a new bridge network, clear of all others.
func (s *builder) subnets(c *netlink.Conn, n *Network) error {
	taken, err := s.takenSubnets(c, n.Device)
	if err != nil {
		return err
	}
	if err := n.CheckFamilies(); err != nil {
		return err
	}
	if n.Several() {
		return fault.New(fault.Invalid, "bridge driver doesn't support multiple subnets")
	}
	if err := foreignSubnets(s, c, n); err != nil || n.DHCP {
		return err
	}
	busy, err := s.at.Busy(taken)
	if err != nil {
		return err
	}
	return fill(s, n, busy, taken)
}

// fill completes the subnets: one that nobody named is clear of what is busy, and none
// overlaps what is taken.
func fill(s *builder, n *Network, busy, taken []netip.Prefix) error {
	if !n.Has(false) && !n.NoIPv4 {
		p, err := ipam.Choose(s.pools(), append(s.defaults(busy), busy...), false)
		if err != nil {
			return err
		}
		n.Subnets = append([]Subnet{{Prefix: p}}, n.Subnets...)
	}
	if n.IPv6 && !n.Has(true) {
		n.Subnets = append(n.Subnets, Subnet{Prefix: choose6(s, n, taken)})
	}
	for i := range n.Subnets {
		sub := &n.Subnets[i]
		sub.Prefix = sub.Prefix.Masked()
		if !ipam.Free(sub.Prefix, taken) {
			return fault.New(fault.Conflict, "Pool overlaps with other one on this address space")
		}
		taken = append(taken, sub.Prefix)
		if err := sub.Complete(); err != nil {
			return err
		}
	}
	return nil
}

// choose6 is a subnet of IPv6 that nobody named: of the pools, else the network's own.
func choose6(s *builder, n *Network, taken []netip.Prefix) netip.Prefix {
	p, err := ipam.Choose(s.pools(), taken, true)
	if err != nil {
		return record.OwnPrefix(n.ID)
	}
	return p
}

// foreignSubnets are those of a bridge of the administrator that is named and no
// subnet with it.
func foreignSubnets(s *builder, c *netlink.Conn, n *Network) error {
	link, err := bridge.Find(c, n.Device)
	if err == nil && link == nil && n.Unmanaged() {
		return noBridge(n)
	}
	if err != nil || link == nil || bridge.Owner(link) != "" {
		return err
	}
	l := live{Network: n}
	return foreign(c, &l, link)
}

// defaults is the subnet that the default bridge would have, if it has none yet:
// it is to be the pools' first one, as people know it.
func (s *builder) defaults(taken []netip.Prefix) []netip.Prefix {
	if a := s.records.Settings.Address; a.IsValid() {
		return []netip.Prefix{a.Masked()}
	}
	var l live
	if found, err := s.files.Get("nets", s.records.BuiltIn()[0].ID, &l); err != nil || found || s.records.Settings.Bridge != "" {
		return nil
	}
	p, err := ipam.Choose(s.pools(), taken, false)
	if err != nil {
		return nil
	}
	return []netip.Prefix{p}
}
