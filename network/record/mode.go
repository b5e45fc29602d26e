package record

import (
	"net/netip"
	"slices"
	"strings"

	"berth/base/fault"
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

// Routed reports whether containers are reached at their own addresses alone, Open
// whether at these and all their ports, too.
func (n *Network) Routed(v6 bool) bool { return n.mode(v6) == modeRouted }
func (n *Network) Open(v6 bool) bool   { return n.mode(v6) == modeUnprotected }

// CheckModes refuses modes that do not fit the kind of network.
func (n *Network) CheckModes() error {
	for _, v6 := range []bool{false, true} {
		switch m := n.mode(v6); {
		case m == modeIsolated && !n.Internal:
			return fault.New(fault.Invalid, "gateway mode 'isolated' can only be used for an internal network")
		case m != modeNAT && m != modeIsolated && n.Unmanaged():
			return fault.New(fault.Invalid, "gateway mode '%s' is of networks that are managed: leave out mode=unmanaged", m)
		}
	}
	if n.Unmanaged() && n.Options[optionName] == "" {
		return fault.New(fault.Invalid, "mode=unmanaged uses a bridge of the administrator: name it by %s", optionName)
	}
	return nil
}

// Unmanaged networks are a bridge of the administrator, to which containers are
// connected and nothing else is done: no address of the host, no firewall.
func (n *Network) Unmanaged() bool {
	return n.Driver == "bridge" && n.Options[optionManaged] == "unmanaged"
}

// Masks reports whether containers go out with the host's address.
func (n *Network) Masks(v6 bool) bool {
	m := n.mode(v6)
	return !n.Internal && flag(n.Options, optionMasq, true) && (m == modeNAT || m == modeUnprotected)
}

// Mingles reports whether the network reaches others that say the same: podman's
// isolate=false, by name.
func (n *Network) Mingles() bool {
	return !n.Internal && !n.Unmanaged() && n.Options[optionIsolate] != "" && !flag(n.Options, optionIsolate, true)
}

// Trusted are the host's devices by which published ports are reached directly.
func (n *Network) Trusted() []string {
	if n.Options[optionTrusted] == "" || n.Internal {
		return nil
	}
	list := strings.Split(n.Options[optionTrusted], ":")
	slices.Sort(list)
	return slices.Compact(list)
}

// Given reports whether the host has an address on a subnet.
func (n *Network) Given(sub Subnet) bool {
	v6 := sub.Prefix.Addr().Is6()
	return n.mode(v6) != modeIsolated && (v6 || !flag(n.Options, optionNoAddress4, false))
}

// Leads reports whether containers get a default route by a subnet. By that of an internal
// bridge they reach the host at all its addresses, as with Docker, and nothing else.
func (n *Network) Leads(sub Subnet) bool {
	if n.Internal && (n.Driver != "bridge" || n.Unmanaged() || !n.Given(sub)) {
		return false
	}
	return !flag(n.Options, optionNoDefault, false)
}

// auxRouter is the name of an auxiliary address that means something, Docker's.
func auxRouter(v6 bool) string {
	if v6 {
		return "DefaultGatewayIPv6"
	}
	return "DefaultGatewayIPv4"
}

// Router is the address by which containers on a subnet leave it: the host's, unless
// another was named.
func (sub *Subnet) Router() netip.Addr {
	if a, ok := sub.Aux[auxRouter(sub.Prefix.Addr().Is6())]; ok {
		return a
	}
	return sub.Gateway
}

// SetRouter names another one than the host; not with the zero address.
func (sub *Subnet) SetRouter(a netip.Addr) {
	if a.IsValid() {
		sub.Aux = map[string]netip.Addr{auxRouter(a.Is6()): a}
	}
}

// Ways says how published ports lead to one family of an endpoint.
type Ways struct {
	NAT    bool `json:"nat,omitempty"`    // at the host's addresses
	Direct bool `json:"direct,omitempty"` // at the container's own
}

func (n *Network) Ways(v6 bool) Ways {
	if n.Driver != "bridge" {
		return Ways{}
	}
	routed := n.mode(v6) == modeRouted
	return Ways{NAT: !routed && !n.Internal && !n.Unmanaged(), Direct: !n.Internal && (routed || len(n.Trusted()) > 0)}
}

// Prefix begins the names of devices inside.
func (n *Network) Prefix() string {
	if n.Driver == "bridge" && n.Options[optionPrefix] != "" {
		return n.Options[optionPrefix]
	}
	return "eth"
}

// Bridge is the bridge's name that was asked for, "" none.
func (n *Network) Bridge() string { return n.Options[optionName] }

// NameBridge says what its bridge is called.
func (n *Network) NameBridge(device string) { n.Options[optionName] = device }
