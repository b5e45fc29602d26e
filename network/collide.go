package network

import (
	"fmt"
	"net/netip"
	"slices"

	"golang.org/x/sys/unix"

	"berth/network/ipam"
	"berth/sys/netlink"
)

// hostSubnets are those of the host's routes, in all tables, and addresses, but for
// those by way of one device.
func hostSubnets(c *netlink.Conn, except int) ([]netip.Prefix, error) {
	var taken []netip.Prefix
	for _, family := range []byte{unix.AF_INET, unix.AF_INET6} {
		routes, err := c.Routes(family)
		if err != nil {
			return nil, fmt.Errorf("list routes: %w", err)
		}
		for _, r := range routes {
			if !isDefault(r.To) && (except == 0 || r.Index != except) {
				taken = append(taken, r.To)
			}
		}
	}
	addresses, err := c.AllAddresses()
	if err != nil {
		return nil, fmt.Errorf("list addresses: %w", err)
	}
	for _, a := range addresses {
		if a.Index != except {
			taken = append(taken, a.Prefix.Masked())
		}
	}
	return taken, nil
}

// isDefault reports whether a route is for all that has no other: the default route,
// or one of the two halves that tunnels put before it.
func isDefault(to netip.Prefix) bool { return !to.IsValid() || to.Bits() <= 1 }

// clear looks at the subnets of a network that comes up: the host may use them for
// something else by now. In the place of one that nobody asked for comes another; one
// that somebody did stays what it was asked to be.
func (s *builder) clear(c *netlink.Conn, n *Network) error {
	taken, err := hostSubnets(c, 0)
	if err != nil {
		return err
	}
	n.Subnets = slices.Clone(n.Subnets)
	for i := range n.Subnets {
		sub := &n.Subnets[i]
		if sub.Asked || sub.Prefix.Addr().Is6() || ipam.Free(sub.Prefix, taken) {
			continue
		}
		all, err := s.takenSubnets(c, n.Device)
		if err != nil {
			return err
		}
		p, err := ipam.Choose(s.pools(), append(s.defaults(all), all...), false)
		if err != nil {
			return err
		}
		*sub = Subnet{Prefix: p, Gateway: p.Addr().Next()}
	}
	return nil
}
