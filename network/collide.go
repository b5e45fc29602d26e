package network

import (
	"slices"

	"berth/network/ipam"
	"berth/sys/netlink"
)

// clear looks at the subnets of a network that comes up: the host may use them for
// something else by now. In the place of one that nobody asked for comes another; one
// that somebody did stays what it was asked to be.
func (s *builder) clear(c *netlink.Conn, n *Network) error {
	taken, err := ipam.HostSubnets(c, 0)
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
