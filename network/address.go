package network

import (
	"fmt"
	"net/netip"
	"slices"

	"berth/base/fault"
	"berth/base/flock"
	"berth/network/bridge"
	"berth/network/ipam"
)

// address reserves the addresses of an endpoint.
func (s *boot) address(owner string, a *Attached, l *live, want Endpoint, old *endpointFile) error {
	held, err := s.files.Lock(a.NetworkID, flock.Lock)
	if err != nil {
		return err
	}
	defer held.Unlock()
	if err := askable(l.Network, want); err != nil {
		return err
	}
	for _, v6 := range []bool{false, true} {
		if !l.Network.Has(v6) {
			continue
		}
		asked := want.IPv4
		if v6 {
			asked = want.IPv6
		}
		ip, sub, err := s.addressOf(owner, l, asked, previous(old, a.NetworkID, v6), v6)
		if fault.Is(err, fault.Invalid) || fault.Is(err, fault.Conflict) {
			return err // in Docker's words
		}
		if err != nil {
			return fmt.Errorf("network %s: %w", a.Network, err)
		}
		whole := netip.PrefixFrom(ip, sub.Prefix.Bits())
		gateway := sub.Router()
		if !l.Network.Leads(sub) || a.Way != nil && a.Way.Routed() {
			gateway = netip.Addr{}
		}
		if ip.Is4() {
			a.IPv4, a.Gateway = whole, gateway
		} else {
			a.IPv6, a.Gateway6 = whole, gateway
		}
	}
	if a.DHCP {
		a.Had = previous(old, a.NetworkID, false)
	}
	if a.MAC == "" && (a.bridged() || a.Way.OwnMAC()) {
		ip := a.IPv4.Addr()
		if !ip.IsValid() {
			ip = a.IPv6.Addr()
		}
		a.MAC = bridge.MACOf(ip)
	}
	return nil
}

// addressOf reserves an address of one family: in the subnet of the one that was asked
// for, or that the container had, else in the first that has one.
func (s *boot) addressOf(owner string, l *live, asked, had netip.Addr, v6 bool) (ip netip.Addr, sub Subnet, err error) {
	var list []Subnet
	for _, one := range l.Network.Subnets {
		switch {
		case one.Prefix.Addr().Is6() != v6:
		case one.Prefix.Contains(asked) || !asked.IsValid() && one.Prefix.Contains(had):
			list = slices.Insert(list, 0, one)
		default:
			list = append(list, one)
		}
	}
	for _, sub = range list {
		r := ipam.Range{Network: l.Network.ID, Subnet: sub.Prefix, Within: sub.Range, Not: []netip.Addr{sub.Gateway}}
		r.Not = append(r.Not, l.Taken...)
		for _, aux := range sub.Aux {
			r.Not = append(r.Not, aux)
		}
		ip, err = s.reserve(owner, r, asked, had)
		if !fault.Is(err, fault.Unavailable) {
			break
		}
	}
	return ip, sub, err
}

// askable refuses addresses that were asked for on a network whose subnet nobody
// named: Docker's rule, but not for the default bridge, where it asks for none.
func askable(n *Network, want Endpoint) error {
	for _, a := range []netip.Addr{want.IPv4, want.IPv6} {
		if a.IsValid() && n.Name != Default && !slices.ContainsFunc(n.Subnets, func(sub Subnet) bool { return sub.Asked && sub.Prefix.Addr().Is6() == a.Is6() }) {
			return fault.New(fault.Invalid, "user specified IP address is supported only when connecting to networks with user configured subnets")
		}
	}
	return nil
}

// previous is the address that a container had on a network in this boot.
func previous(old *endpointFile, network string, v6 bool) netip.Addr {
	if old == nil {
		return netip.Addr{}
	}
	for _, one := range append(old.before(), old) {
		if a := one.on(network); a != nil && v6 {
			return a.IPv6.Addr()
		} else if a != nil {
			return a.IPv4.Addr()
		}
	}
	return netip.Addr{}
}

// reserve reserves the address that was asked for, else the one that the
// container had, else any.
func (s *boot) reserve(owner string, r ipam.Range, asked, had netip.Addr) (netip.Addr, error) {
	if asked.IsValid() {
		return asked, s.book().Take(owner, r, asked)
	}
	if had.IsValid() {
		if err := s.book().Take(owner, r, had); err == nil {
			return had, nil
		}
	}
	return s.book().Next(owner, r)
}

// giveBack gives the addresses of e back that keep does not have.
func (s *boot) giveBack(e, keep *endpointFile) error {
	kept := map[string]bool{}
	if keep != nil {
		for _, a := range keep.Endpoints {
			kept[a.NetworkID+a.IPv4.String()], kept[a.NetworkID+a.IPv6.String()] = true, true
		}
	}
	var first error
	for _, a := range e.Endpoints {
		for _, p := range []netip.Prefix{a.IPv4, a.IPv6} {
			if !p.IsValid() || kept[a.NetworkID+p.String()] {
				continue
			}
			if err := s.book().Give(e.Container, a.NetworkID, p.Addr()); err != nil && first == nil {
				first = err
			}
		}
	}
	if keep == nil {
		if err := s.book().Forget(e.Container); err != nil && first == nil {
			first = err
		}
	}
	return first
}
