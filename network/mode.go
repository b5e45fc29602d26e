package network

import (
	"slices"
	"strings"

	"berth/base/fault"
	"berth/network/nft"
)

// Gateway modes, in Docker's words: how one family of addresses of a network is
// joined to the rest of the world.
const (
	modeNAT         = "nat"             // containers go out with the host's address, ports are published on the host's
	modeUnprotected = "nat-unprotected" // the same, and all ports are reached from outside by who has a route
	modeRouted      = "routed"          // no translation: published ports are reached at the container's own address
	modeIsolated    = "isolated"        // of internal networks: the host has no address on it either
)

// mode is a network's gateway mode for one family.
func (n *Network) mode(v6 bool) string {
	key := optionMode4
	if v6 {
		key = optionMode6
	}
	if m := n.Options[key]; m != "" {
		return m
	}
	return modeNAT
}

// checkModes refuses modes that do not fit the kind of network.
func (n *Network) checkModes() error {
	for _, v6 := range []bool{false, true} {
		switch m := n.mode(v6); {
		case m == modeIsolated && !n.Internal:
			return fault.New(fault.Invalid, "gateway mode 'isolated' can only be used for an internal network")
		case m != modeNAT && m != modeIsolated && n.unmanaged():
			return fault.New(fault.Invalid, "gateway mode '%s' is of networks that are managed: leave out mode=unmanaged", m)
		}
	}
	if n.unmanaged() && n.Options[optionName] == "" {
		return fault.New(fault.Invalid, "mode=unmanaged uses a bridge of the administrator: name it by %s", optionName)
	}
	return nil
}

// unmanaged networks are a bridge of the administrator, to which containers are
// connected and nothing else is done: no address of the host, no firewall.
func (n *Network) unmanaged() bool {
	return n.Driver == "bridge" && n.Options[optionManaged] == "unmanaged"
}

// masks reports whether containers go out with the host's address.
func (n *Network) masks(v6 bool) bool {
	m := n.mode(v6)
	return !n.Internal && flag(n.Options, optionMasq, true) && (m == modeNAT || m == modeUnprotected)
}

// mingles reports whether the network reaches others that say the same: podman's
// isolate=false, by name.
func (n *Network) mingles() bool {
	return !n.Internal && !n.unmanaged() && n.Options[optionIsolate] != "" && !flag(n.Options, optionIsolate, true)
}

// trusted are the host's devices by which published ports are reached directly.
func (n *Network) trusted() []string {
	if n.Options[optionTrusted] == "" || n.Internal {
		return nil
	}
	list := strings.Split(n.Options[optionTrusted], ":")
	slices.Sort(list)
	return slices.Compact(list)
}

// given reports whether the host has an address on a subnet.
func (n *Network) given(sub Subnet) bool {
	v6 := sub.Prefix.Addr().Is6()
	return n.mode(v6) != modeIsolated && (v6 || !flag(n.Options, optionNoAddress4, false))
}

// leads reports whether containers get a default route by a subnet.
func (n *Network) leads(sub Subnet) bool {
	return !n.Internal && !flag(n.Options, optionNoDefault, false)
}

// leadsOut reports whether its containers reach the world by way of this host.
func (l *live) leadsOut() bool { return l.bridged() && !l.Network.Internal && !l.Network.unmanaged() }

// firewall is the network as the firewall sees it; an unmanaged one is none of its
// business.
func (l *live) firewall() nft.Network {
	n := l.Network
	if n.unmanaged() {
		return nft.Network{}
	}
	f := nft.Network{Device: n.Device, Internal: n.Internal, Apart: n.apart(), Mingles: n.mingles(), Trusted: n.trusted()}
	for _, sub := range n.Subnets {
		v6 := sub.Prefix.Addr().Is6()
		f.Subnets = append(f.Subnets, nft.Subnet{
			Prefix: sub.Prefix, NAT: n.masks(v6),
			Routed: l.leadsOut() && n.mode(v6) == modeRouted, Open: l.leadsOut() && n.mode(v6) == modeUnprotected,
		})
	}
	return f
}

// Ways says how published ports lead to one family of an endpoint.
type Ways struct {
	NAT    bool `json:"nat,omitempty"`    // at the host's addresses
	Direct bool `json:"direct,omitempty"` // at the container's own
}

func (n *Network) ways(v6 bool) Ways {
	if n.Driver != "bridge" {
		return Ways{}
	}
	routed := n.mode(v6) == modeRouted
	return Ways{NAT: !routed && !n.Internal && !n.unmanaged(), Direct: !n.Internal && (routed || len(n.trusted()) > 0)}
}
