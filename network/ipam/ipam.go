// Package ipam gives addresses: a subnet for a network, out of pools and clear
// of what the host uses already, and an address for a container, reserved by a
// file that names its owner and the boot. It makes no device. Row 3, below
// network.
package ipam

import (
	"net/netip"

	"berth/base/fault"
)

// Pool is a supply of subnets: Base cut into pieces of Size bits.
type Pool struct {
	Base netip.Prefix
	Size int
}

// DefaultPools are those that Docker's users know.
func DefaultPools() []Pool {
	return []Pool{
		{netip.MustParsePrefix("172.17.0.0/16"), 16},
		{netip.MustParsePrefix("172.18.0.0/16"), 16},
		{netip.MustParsePrefix("172.19.0.0/16"), 16},
		{netip.MustParsePrefix("172.20.0.0/14"), 16},
		{netip.MustParsePrefix("172.24.0.0/14"), 16},
		{netip.MustParsePrefix("172.28.0.0/14"), 16},
		{netip.MustParsePrefix("192.168.0.0/16"), 20},
	}
}

// maxPieces bounds the search in one pool: a /8 cut into /28 has as many.
const maxPieces = 1 << 20

// Choose gives the first subnet of the pools that overlaps none of taken: kind
// Unavailable if there is none.
func Choose(pools []Pool, taken []netip.Prefix, v6 bool) (netip.Prefix, error) {
	for _, pool := range pools {
		if pool.Base.Addr().Is6() != v6 || pool.Size < pool.Base.Bits() || pool.Size > pool.Base.Addr().BitLen() {
			continue
		}
		p := netip.PrefixFrom(pool.Base.Masked().Addr(), pool.Size)
		for range maxPieces {
			if !pool.Base.Contains(p.Addr()) {
				break
			}
			if !overlaps(p, taken) {
				return p, nil
			}
			after := Last(p).Next()
			if !after.IsValid() {
				break
			}
			p = netip.PrefixFrom(after, pool.Size)
		}
	}
	return netip.Prefix{}, fault.New(fault.Unavailable,
		"could not find an available, non-overlapping IPv%s address pool among the defaults to assign to the network", map[bool]string{false: "4", true: "6"}[v6])
}

// Free reports whether p overlaps none of taken.
func Free(p netip.Prefix, taken []netip.Prefix) bool { return !overlaps(p, taken) }

func overlaps(p netip.Prefix, taken []netip.Prefix) bool {
	for _, t := range taken {
		if t.Bits() > 0 && t.Overlaps(p) {
			return true
		}
	}
	return false
}

// Last is the last address of a subnet: IPv4's broadcast address.
func Last(p netip.Prefix) netip.Addr {
	b := p.Masked().Addr().AsSlice()
	for i := p.Bits(); i < len(b)*8; i++ {
		b[i/8] |= 1 << (7 - i%8)
	}
	a, _ := netip.AddrFromSlice(b)
	return a
}
