package record

import (
	"net/netip"
	"time"
)

// Network is one network as it was asked for, and what followed.
type Network struct {
	Version  int               `json:"version"`
	ID       string            `json:"id"` // 64 hexadecimal digits
	Name     string            `json:"name"`
	Driver   string            `json:"driver"` // bridge, macvlan, ipvlan; host and null are the two built in
	Created  time.Time         `json:"created"`
	Internal bool              `json:"internal,omitempty"`
	IPv6     bool              `json:"ipv6,omitempty"`
	NoIPv4   bool              `json:"noIPv4,omitempty"`  // of IPv6 alone
	NoNames  bool              `json:"noNames,omitempty"` // its containers do not find each other by name
	Subnets  []Subnet          `json:"subnets,omitempty"`
	Options  map[string]string `json:"options,omitempty"` // -o, docker's keys
	IPAM     map[string]string `json:"ipam,omitempty"`    // --ipam-opt
	Labels   map[string]string `json:"labels,omitempty"`
	// DNS are servers that its containers ask, unless they name others.
	DNS []string `json:"dns,omitempty"`
	// Attachable is swarm's; kept for inspect.
	Attachable bool `json:"attachable,omitempty"`
	// Device is the bridge's name, or the parent interface's.
	Device string `json:"device,omitempty"`
	// DefaultParent, said to Create, makes the parent interface, where none is named, the
	// device that the host's default route leads through, as podman does, not one that
	// leads nowhere.
	DefaultParent bool `json:"-"`
	// DHCP: a server on the wire gives the addresses.
	DHCP bool `json:"dhcp,omitempty"`
}

// Subnet is one range of addresses of a network.
type Subnet struct {
	Prefix  netip.Prefix `json:"prefix"`
	Gateway netip.Addr   `json:"gateway"` // the host's address on it
	// Guessed: nobody named the gateway of a subnet that somebody named; as with docker,
	// inspect does not show it.
	Guessed bool         `json:"guessed,omitempty"`
	Range   netip.Prefix `json:"range"` // addresses given out are of it; zero: all
	// Aux are addresses that no container gets, by name. Those that are named
	// DefaultGatewayIPv4 and DefaultGatewayIPv6 are the containers' way out, as with Docker.
	Aux map[string]netip.Addr `json:"aux,omitempty"`
	// Asked: somebody named it; of such a one containers may ask for addresses.
	Asked bool `json:"asked,omitempty"`
}

// Settings are what the administrator set, in the words of Docker's
// daemon.json. The zero value is Docker's.
type Settings struct {
	Bridge    string       // bridge: name of the default bridge's device, "" docker0
	Address   netip.Prefix // bip: address and size of the default bridge
	FixedCIDR netip.Prefix // fixed-cidr: part of the default bridge's subnet that containers get
	Gateway   netip.Addr   // default-gateway of the default bridge
	// IPv6 says that the default bridge has it (ipv6); bip6, fixed-cidr-v6 and
	// default-gateway-v6 are the three above for it.
	IPv6       bool
	Address6   netip.Prefix
	FixedCIDR6 netip.Prefix
	Gateway6   netip.Addr

	Pools []Pool // default-address-pools
	MTU   int    // mtu, 0: the usual one
	// UsualMTU is of all bridges, 0: 1500.
	UsualMTU int
	NoICC    bool // icc=false: containers of the default bridge do not reach each other
	NoMasq   bool // ip-masq=false
	NoRelay  bool // userland-proxy=false: published ports are reached by rules of the firewall alone
	// DockerRoot is dockerd's folder: where it has kept networks in it, docker0 is left to it.
	DockerRoot string
	// NoIntegrate leaves the firewalls of dockerd, ufw and firewalld as they are
	// (berth.toml's firewall.integrate=false).
	NoIntegrate bool
	// PublishAddress is where ports without an address are published (ip).
	PublishAddress netip.Addr
}

// Pool is a supply of subnets: Base cut into pieces of Size bits.
type Pool struct {
	Base netip.Prefix
	Size int
}

// Drivers of networks on a parent interface, docker's names and the kernel's.
const (
	Macvlan = "macvlan"
	IPvlan  = "ipvlan"
)

// Names of the networks that are always there.
const (
	Default = "bridge" // docker's word; podman's is the same network's other name
	Host    = "host"
	None    = "none"
)

// HasDevices reports whether a container on the network has a device for it: all but
// host and none.
func (n *Network) HasDevices() bool {
	return n.Driver == "bridge" || n.Driver == Macvlan || n.Driver == IPvlan
}
