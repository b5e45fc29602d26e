package record

import (
	"cmp"
	"crypto/sha256"
	"net/netip"
	"slices"
	"strings"
	"time"

	"berth/base/fault"
	"berth/base/ids"
	"berth/network/ipam"
)

// Complete fills in what was not asked for and refuses what cannot be.
func (s *Records) Complete(n *Network) error {
	switch {
	case slices.Contains([]string{Default, Host, None, "default", podmanDefault}, n.Name):
		return fault.New(fault.Invalid, "operation is not permitted on predefined %s network", n.Name)
	case strings.TrimSpace(n.Name) == "" || len(s.File(n.Name))-len(s.Root) > 200 || strings.ContainsFunc(n.Name, notInNames):
		return fault.New(fault.Invalid, "invalid network name: %.80q", n.Name)
	case n.Name == "private" || strings.HasPrefix(n.Name, "container:") || strings.HasPrefix(n.Name, "ns:"):
		return fault.New(fault.Invalid, "invalid network name: %.80q means something else after --network", n.Name)
	}
	n.Driver = cmp.Or(n.Driver, "bridge")
	if err := checkDriver(n.Driver); err != nil {
		return err
	}
	if err := CheckServers(n.DNS); err != nil {
		return err
	}
	n.Version, n.ID, n.Created = recordVersion, ids.Hex(32), time.Now().UTC()
	return nil
}

func notInNames(r rune) bool { return r < ' ' || r == 0x7f || r == '/' }

// checkDriver refuses kinds of networks that there are not, or not yet.
func checkDriver(name string) error {
	switch name {
	case "bridge", Macvlan, IPvlan:
		return nil
	case "host", "null":
		return fault.New(fault.Invalid, "only one instance of %q network is allowed", name)
	case "overlay":
		return fault.New(fault.Unsupported, "network driver overlay is of Swarm, which is not served")
	}
	return fault.New(fault.NotFound, "plugin %.40q not found", name)
}

// CheckServers refuses DNS servers that are no addresses.
func CheckServers(list []string) error {
	for _, d := range list {
		if a, err := netip.ParseAddr(d); err != nil || a.IsUnspecified() || a.IsMulticast() {
			return fault.New(fault.Invalid, "DNS server %.60q: it is not the address of a server", d)
		}
	}
	return nil
}

// Has reports whether there is a subnet of a family.
func (n *Network) Has(v6 bool) bool {
	return slices.ContainsFunc(n.Subnets, func(sub Subnet) bool { return sub.Prefix.Addr().Is6() == v6 })
}

// Several reports whether there are more subnets of a family than one.
func (n *Network) Several() bool {
	six := 0
	for _, sub := range n.Subnets {
		if sub.Prefix.Addr().Is6() {
			six++
		}
	}
	return six > 1 || len(n.Subnets)-six > 1
}

// CheckFamilies leaves out subnets that name nothing, and refuses those that give no
// addresses.
func (n *Network) CheckFamilies() error {
	n.Subnets = slices.DeleteFunc(n.Subnets, func(sub Subnet) bool { return !sub.Prefix.IsValid() })
	if n.NoIPv4 && !n.IPv6 {
		return fault.New(fault.Invalid, "IPv4 or IPv6 must be enabled")
	}
	for i := range n.Subnets {
		n.Subnets[i].Asked = true
		a := n.Subnets[i].Prefix.Addr()
		if a.Is6() && !n.IPv6 {
			return fault.New(fault.Invalid, "subnet %s is of IPv6, which takes --ipv6", n.Subnets[i].Prefix)
		}
		if a.Is4() && n.NoIPv4 {
			return fault.New(fault.Invalid, "subnet %s is of IPv4, which --ipv4=false leaves out", n.Subnets[i].Prefix)
		}
		if a.IsMulticast() || a.Is6() && a.IsLinkLocalUnicast() || a.Is4In6() || a.Zone() != "" {
			return fault.New(fault.Invalid, "subnet %s has no addresses for containers", n.Subnets[i].Prefix)
		}
	}
	return nil
}

// Complete fills in the gateway and refuses addresses that are not of the subnet.
func (sub *Subnet) Complete() error {
	if !sub.Gateway.IsValid() {
		sub.Gateway, sub.Guessed = sub.Prefix.Addr().Next(), sub.Asked
	}
	if !sub.Prefix.Contains(sub.Gateway) {
		return fault.New(fault.Invalid, "no matching subnet for gateway %s", sub.Gateway)
	}
	if sub.Gateway.Is4() && sub.Prefix.Bits() < 31 && (sub.Gateway == sub.Prefix.Addr() || sub.Gateway == ipam.Last(sub.Prefix)) {
		return fault.New(fault.Invalid, "gateway %s cannot be the address of a host in %s", sub.Gateway, sub.Prefix)
	}
	if sub.Range.IsValid() && (!sub.Prefix.Overlaps(sub.Range) || sub.Range.Bits() < sub.Prefix.Bits()) {
		return fault.New(fault.Invalid, "no matching subnet for range %s", sub.Range)
	}
	for _, a := range sub.Aux {
		if !sub.Prefix.Contains(a) {
			return fault.New(fault.Invalid, "no matching subnet for aux-address %s", a)
		}
	}
	return nil
}

// Adopt takes the subnet of a bridge of the administrator, unless the network has
// one of that family already, or is to have none. Its gateway is that of a subnet
// that was named without one.
func (n *Network) Adopt(sub Subnet) {
	v6 := sub.Prefix.Addr().Is6()
	if v6 && !n.IPv6 || !v6 && n.NoIPv4 {
		return
	}
	for i := range n.Subnets {
		if n.Subnets[i].Prefix.Addr().Is6() == v6 {
			if !n.Subnets[i].Gateway.IsValid() && n.Subnets[i].Prefix.Contains(sub.Gateway) {
				n.Subnets[i].Gateway = sub.Gateway
			}
			return
		}
	}
	n.Subnets = append(n.Subnets, sub)
}

// CheckDHCP refuses what a network whose addresses are the wire's cannot be.
func (n *Network) CheckDHCP() error {
	switch {
	case !n.DHCP:
		return nil
	case n.Driver == "bridge" && (!n.Unmanaged() || n.Bridge() == ""):
		return fault.New(fault.Invalid, "addresses by DHCP: on a bridge they come from the wire that the administrator's is on, name it with -o mode=unmanaged -o %s=…", optionName)
	case n.Driver != "bridge" && n.Driver != Macvlan:
		return fault.New(fault.Unsupported, "addresses by DHCP: they take a link address of each container's own on the wire, which a network of driver macvlan or bridge gives; %s is not served", n.Driver)
	case n.Internal || n.Driver == Macvlan && n.Options["parent"] == "":
		return fault.New(fault.Invalid, "addresses by DHCP: there is no server where the network leads nowhere, name its parent interface")
	case n.IPv6 || len(n.Subnets) > 0:
		return fault.New(fault.Invalid, "addresses by DHCP: the subnet is the server's, none can be named, nor --ipv6")
	}
	return nil
}

// OwnPrefix is a unique local prefix (RFC 4193), the network's own.
func OwnPrefix(id string) netip.Prefix {
	sum := sha256.Sum256([]byte("prefix " + id))
	b := [16]byte{0xfd}
	copy(b[1:8], sum[:])
	return netip.PrefixFrom(netip.AddrFrom16(b), 64)
}
