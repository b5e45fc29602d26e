package network

import (
	"net"
	"net/netip"

	"berth/base/fault"
	"berth/base/ids"
	"berth/network/bridge"
	"berth/network/nft"
	"berth/network/option"
	"berth/network/portmap"
	"berth/sys/netlink"
)

// States of an endpoint file. Each is written before what it says begins:
//
//	up ──Detach──► leaving ──all is taken away──► down ──Prepare──► up
//	                  └──Release──► the file goes
const (
	stateUp      = "up"      // devices and elements are there, or about to be
	stateLeaving = "leaving" // about to go
	stateDown    = "down"    // only addresses are kept
)

// endpointFile is what a container has, on disk.
type endpointFile struct {
	Version   int        `json:"version"`
	Boot      string     `json:"boot"`
	Container string     `json:"container"`
	Name      string     `json:"name"`
	State     string     `json:"state"`
	Endpoints []Attached `json:"endpoints"`
	Ports     []Port     `json:"ports,omitempty"`
	Naming    Naming     `json:"naming,omitzero"`
	NoRelay   bool       `json:"noRelay,omitempty"` // userland-proxy=false, when it was started
	// AllRelay: no rule leads to its published ports, a relay serves all of them.
	AllRelay bool `json:"allRelay,omitempty"`
	// Resolver is the network whose resolver serves the container, "" none.
	Resolver string `json:"resolver,omitempty"`
	// Was is what it had before changes that are not confirmed, the oldest first: of
	// that, too, something may be there.
	Was []earlier `json:"was,omitempty"`
}

// earlier is what a container had.
type earlier struct {
	Endpoints []Attached `json:"endpoints,omitempty"`
	Ports     []Port     `json:"ports,omitempty"`
}

func (e *endpointFile) BootID() string { return e.Boot }

// endpointVersion is of the form above.
const endpointVersion = 1

// endpoint reads the file of a container; nil if there is none of this boot.
func (s *boot) endpoint(container ids.ID) (*endpointFile, error) {
	var e endpointFile
	found, err := s.files.Get("endpoints", string(container), &e)
	if err != nil || !found {
		return nil, err
	}
	if e.Version != endpointVersion {
		return nil, fault.New(fault.Unsupported, "read the endpoints of %s: form %d, this berth knows %d", container, e.Version, endpointVersion)
	}
	return &e, nil
}

// endpointFiles reads those of all containers. One that cannot be read is one
// container whose rules are missing, not a dead network.
func (s *boot) endpointFiles() ([]*endpointFile, error) {
	names, err := s.files.Names("endpoints")
	if err != nil {
		return nil, err
	}
	var list []*endpointFile
	for _, name := range names {
		if e, err := s.endpoint(ids.ID(name)); err == nil && e != nil {
			list = append(list, e)
		}
	}
	return list, nil
}

func (e *endpointFile) attachment() *Attachment {
	return &Attachment{Container: ids.ID(e.Container), Name: e.Name, Endpoints: e.Endpoints, Ports: e.Ports, NoRelay: e.NoRelay, AllRelay: e.AllRelay}
}

// on is what the container has on a network; nil if nothing. It may be asked of nil.
func (e *endpointFile) on(network string) *Attached {
	if e == nil {
		return nil
	}
	return attachedTo(e.Endpoints, network)
}

// On is what the container has on the network of an id; nil if nothing.
func (a *Attachment) On(network string) *Attached { return attachedTo(a.Endpoints, network) }

func attachedTo(list []Attached, network string) *Attached {
	for i := range list {
		if list[i].NetworkID == network {
			return &list[i]
		}
	}
	return nil
}

// leading are the endpoints with the default routes of IPv4 and IPv6, whither the
// ports lead; nil if there is none.
func (e *endpointFile) leading() (v4, v6 *Attached) {
	for i := range e.Endpoints {
		a := &e.Endpoints[i]
		if a.Default {
			v4 = a
		}
		if a.Default6 {
			v6 = a
		}
	}
	if v6 == nil {
		v6 = v4
	}
	return v4, v6
}

// same reports whether both lead their packets and ports by the same endpoints.
func (e *endpointFile) same(o *endpointFile) bool {
	id := func(a *Attached) string {
		if a == nil {
			return ""
		}
		return a.EndpointID
	}
	v4, v6 := e.leading()
	o4, o6 := o.leading()
	return id(v4) == id(o4) && id(v6) == id(o6)
}

// elements are the firewall's for a container: what its ends may claim, and whither
// its published ports lead.
func (e *endpointFile) elements() (list []nft.Element) {
	for _, a := range e.Endpoints {
		list = append(list, a.guard()...)
	}
	v4, v6 := e.leading()
	if v4 == nil {
		return list
	}
	var nat, direct portmap.Target
	for _, one := range []struct {
		ways        Ways
		ip          netip.Prefix
		nat, direct *netip.Addr
	}{{v4.Ways4, v4.IPv4, &nat.IPv4, &direct.IPv4}, {v6.Ways6, v6.IPv6, &nat.IPv6, &direct.IPv6}} {
		if one.ways.NAT {
			*one.nat = one.ip.Addr()
		}
		if one.ways.Direct {
			*one.direct = one.ip.Addr()
		}
	}
	for _, o := range portmap.Openings(e.Ports, direct) {
		list = append(list, o.Element())
	}
	if e.AllRelay {
		return list
	}
	for _, p := range e.Ports {
		for _, m := range p.Mappings(nat) {
			list = append(list, m.Element())
		}
	}
	return append(list, e.relayed()...)
}

// before are the states of it that Was tells of.
func (e *endpointFile) before() (list []*endpointFile) {
	for _, w := range e.Was {
		list = append(list, &endpointFile{Container: e.Container, Endpoints: w.Endpoints, Ports: w.Ports, AllRelay: e.AllRelay})
	}
	return list
}

// leavings are all elements that may be there of it.
func (e *endpointFile) leavings() []nft.Element {
	list := e.elements()
	for _, b := range e.before() {
		list = append(list, b.elements()...)
	}
	return list
}

// guard are the addresses that a container may claim on its bridge.
func (a Attached) guard() []nft.Element {
	if !a.bridged() {
		return nil // its frames never come by the host's firewall
	}
	if a.Trusted {
		return nft.Trust(a.Device)
	}
	mac, _ := net.ParseMAC(a.MAC)
	var own []netip.Addr
	if a.IPv4.IsValid() {
		own = append(own, a.IPv4.Addr())
	}
	if a.IPv6.IsValid() {
		own = append(own, a.IPv6.Addr(), bridge.LinkLocal(mac))
	}
	return nft.Guard(a.Device, mac, own)
}

// port is the endpoint as a port of its bridge.
func (a Attached) port(l *live, hairpin bool) bridge.Port {
	o, _ := option.ReadEndpoint(a.Options) // which Prepare has checked
	return bridge.Port{
		Bridge: l.Network.Device, Device: a.Device, Hairpin: hairpin, Isolated: l.Network.Apart(), Limit: o.Limit, Inside: a.inside(),
	}
}

// hairpin reports whether a container reaches itself by its own published ports.
func (a Attached) hairpin(ports []Port) bool { return len(ports) > 0 && (a.Default || a.Default6) }

// unlimit removes what limits what a container sends, which does not go with its
// own device.
func (a Attached) unlimit(c *netlink.Conn) error {
	if o, err := option.ReadEndpoint(a.Options); err != nil || o.Limit.Out.Bits == 0 {
		return nil
	}
	return bridge.Remove(c, bridge.ShaperOf(a.Device))
}
