package ipam

import (
	"fmt"
	"net/netip"

	"golang.org/x/sys/unix"

	"berth/sys/netlink"
)

// HostSubnets are those of the host's routes, in all tables, and addresses, but for
// those by way of one device.
func HostSubnets(c *netlink.Conn, except int) ([]netip.Prefix, error) {
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
