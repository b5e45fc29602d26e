package network

import (
	"net/netip"
	"os"

	"berth/base/ids"
	"berth/network/parent"
	"berth/network/portmap"
)

// Port is a published range of ports.
type Port = portmap.Port

// Request is what a container wants of its networks.
type Request struct {
	Container ids.ID
	Name      string // the container's, shown by inspect
	Endpoints []Endpoint
	Publish   []Port
	// Held are sockets of published ports that the container's monitor has bound
	// since an earlier run; they stay the caller's.
	Held []*os.File
	// Trusted containers (privileged) may use other link and ARP addresses than
	// the ones they were given.
	Trusted bool
	Naming  Naming
}

// Endpoint is one network that a container wants to be on. The one with the highest
// Priority that has a gateway gives the default route, of several the first by
// name, each family of addresses for itself; published ports lead to it. An internal
// network does so only for who is on no other.
type Endpoint struct {
	Network   string // name, id or unique beginning of an id
	IPv4      netip.Addr
	IPv6      netip.Addr
	MAC       string // "": from the address, as docker's
	Interface string // name inside, "": eth0, eth1, …
	Aliases   []string
	Links     []string // NAME:ALIAS, names of others that it alone has
	Options   map[string]string
	Priority  int
}

// Attachment is what a container has, decided by Prepare.
type Attachment struct {
	Container ids.ID
	Name      string
	Endpoints []Attached
	Ports     []Port // as asked, with the host's ports decided
	NoRelay   bool   // none of them is relayed
	AllRelay  bool   // all of them are: it is an ordinary user's
	// Hold are bound sockets that keep others from the published ports. They are
	// the caller's: a process that lives as long as the container keeps them.
	Hold []*os.File
}

// Attached is one endpoint as it is.
type Attached struct {
	Network    string            `json:"network"` // its name
	NetworkID  string            `json:"networkID"`
	EndpointID string            `json:"endpointID"` // 64 hexadecimal digits
	Interface  string            `json:"interface"`  // inside
	Device     string            `json:"device"`     // the host's end, "" where there is none
	MAC        string            `json:"mac"`
	IPv4       netip.Prefix      `json:"ipv4"` // zero: none
	IPv6       netip.Prefix      `json:"ipv6"`
	Gateway    netip.Addr        `json:"gateway"` // zero: none
	Gateway6   netip.Addr        `json:"gateway6"`
	MTU        int               `json:"mtu"`
	Aliases    []string          `json:"aliases,omitempty"`
	Links      []string          `json:"links,omitempty"`
	Options    map[string]string `json:"options,omitempty"`
	Priority   int               `json:"priority,omitempty"`
	Default    bool              `json:"default,omitempty"`  // gives the default route
	Default6   bool              `json:"default6,omitempty"` // that of IPv6
	Ways4      Ways              `json:"ways4"`              // of published ports
	Ways6      Ways              `json:"ways6"`
	Trusted    bool              `json:"trusted,omitempty"`
	Internal   bool              `json:"internal,omitempty"` // the network leads nowhere
	NoNames    bool              `json:"noNames,omitempty"`  // and has no names
	// Way is how it is linked to a parent interface; nil: it is on a bridge.
	Way *parent.Way `json:"way,omitempty"`
	// DHCP: a server is to give the address; Leased: it has, in this run.
	DHCP   bool `json:"dhcp,omitempty"`
	Leased bool `json:"leased,omitempty"`
	// Servers and Search are whom to ask for names, and in which domains, as the server said.
	Servers []netip.Addr `json:"servers,omitempty"`
	Search  []string     `json:"search,omitempty"`
	// Had is the address of the run before, which the server is asked for.
	Had netip.Addr `json:"had,omitzero"`
}
