package network

import (
	"net/netip"
	"os"
	"slices"

	"berth/base/fault"
	"berth/base/flock"
	"berth/network/conntrack"
	"berth/network/portmap"
)

// publish decides the host's ports and holds them. The ports lead to the
// endpoints with the default routes; on an internal network they lead nowhere, and
// where containers are reached at their own addresses they take none of the host's.
// All says to look at the ports of all containers, not only of those without holds.
func (s *builder) publish(e *endpointFile, r *Request, lives []*live, all bool) ([]*os.File, error) {
	v4, v6 := e.leading()
	if len(r.Publish) == 0 || v4 == nil {
		return nil, nil
	}
	n := lives[slices.IndexFunc(e.Endpoints, func(a Attached) bool { return a.Default })].Network
	if n.Unmanaged() {
		return nil, fault.New(fault.Invalid, "publish ports on network %s: with mode=unmanaged containers are reached at their own addresses alone", n.Name)
	}
	four, six := v4.IPv4.IsValid(), v6.IPv6.IsValid()
	if !(four && v4.Ways4 != Ways{}) && !(six && v6.Ways6 != Ways{}) {
		return nil, nil
	}
	relays := four && v4.Ways4.NAT && !six && !e.NoRelay
	four, six = four && v4.Ways4.NAT, six && v6.Ways6.NAT
	ports := slices.Clone(r.Publish)
	var places []int // of those that take ports of the host
	for j := range ports {
		p := &ports[j]
		if !p.Address.IsValid() {
			p.Address = s.records.PublishAddress(n)
		}
		if p.Address.Is4() && !four || p.Address.Is6() && !six && (!relays || p.Protocol == "sctp") || !four && !six {
			p.Host, p.HostEnd = 0, 0
			continue
		}
		places = append(places, j)
	}
	var wanted []Port
	for _, j := range places {
		wanted = append(wanted, ports[j])
	}
	if relays || e.AllRelay {
		if err := relayable(e, wanted); err != nil {
			return nil, err
		}
	}
	held, err := s.files.Lock("ports", flock.Lock)
	if err != nil {
		return nil, err
	}
	defer held.Unlock()
	kind := "ports"
	if all {
		kind = "endpoints"
	}
	others, err := s.others(kind, e.Container)
	if err != nil {
		return nil, err
	}
	var decided []Port
	var files []*os.File
	err = s.at.Outside(func() (err error) {
		decided, files, err = portmap.Decide(wanted, others, r.Held, s.mostHeld())
		return err
	})
	if err != nil {
		return nil, s.explain(err, e.Container, wanted)
	}
	for i, j := range places {
		ports[j] = decided[i]
	}
	e.Ports = ports
	if portmap.Count(decided) > s.mostHeld() {
		err = s.files.Put("ports", e.Container, e)
	}
	return files, err
}

// relayable refuses more ports at IPv6 addresses than a relay can serve: nobody would
// find out why they are closed. Of an ordinary user's it is so with all ports.
func relayable(e *endpointFile, ports []Port) error {
	total := portmap.Count(ports)
	if e.AllRelay {
		for _, p := range ports {
			if p.Protocol == "sctp" {
				return fault.New(fault.Unsupported, "publish port %d/sctp of container %s: an ordinary user's ports are relayed, and a relay carries no SCTP", p.Container, e.Name)
			}
		}
		if total > portmap.MaxRelayed {
			return fault.New(fault.Invalid, "publish %d ports of container %s: an ordinary user's are relayed, and a relay serves %d at most", total, e.Name, portmap.MaxRelayed)
		}
		return nil
	}
	var named netip.Addr
	for _, p := range ports {
		if p.Address.Is6() {
			named = p.Address
		}
	}
	if total <= portmap.MaxHeld || !named.IsValid() {
		return nil
	}
	return fault.New(fault.Invalid, "publish ports of container %s on %s: it has no IPv6, and a relay serves %d ports at most, not %d; connect it to a network that was made with --ipv6",
		e.Name, named, portmap.MaxHeld, total)
}

// others are the published ports of other containers: of all, or only of those
// that have too many to hold them by sockets; these have a file "ports" too, to
// be found fast.
func (s *boot) others(kind, except string) ([]Port, error) {
	names, err := s.files.Names(kind)
	if err != nil {
		return nil, err
	}
	var list []Port
	for _, name := range names {
		var e endpointFile
		found, err := s.files.Get(kind, name, &e)
		if err != nil {
			return nil, err
		}
		if found && name != except && e.State == stateUp && s.live(name) {
			list = append(list, e.Ports...)
		}
	}
	return list, nil
}

// explain says whose a port is, if it is a container's.
func (s *boot) explain(err error, self string, ports []Port) error {
	if !fault.Is(err, fault.Conflict) {
		return err
	}
	others, listErr := s.others("endpoints", self)
	if listErr != nil {
		return err
	}
	return portmap.Explain(err, ports, others)
}

// published is what connections to ports are known by.
func published(ports []Port) (list []conntrack.Range) {
	for _, p := range ports {
		if p.Protocol == "udp" && p.Host != 0 {
			list = append(list, conntrack.Range{First: p.Host, Last: p.Host + p.Count - 1})
		}
	}
	return list
}
