package network

import (
	"os"
	"slices"

	"berth/base/fault"
	"berth/base/flock"
	"berth/network/conntrack"
	"berth/network/portmap"
)

// publish decides the host's ports and holds them. The ports lead to the
// endpoint with the default route; on an internal network they lead nowhere. All
// says to look at the ports of all containers, not only of those without holds.
func (s *builder) publish(e *endpointFile, r *Request, lives []*live, all bool) ([]*os.File, error) {
	i := slices.IndexFunc(e.Endpoints, func(a Attached) bool { return a.Default })
	if len(r.Publish) == 0 || i < 0 || lives[i].Network.Internal {
		return nil, nil
	}
	ports := slices.Clone(r.Publish)
	for j := range ports {
		if !ports[j].Address.IsValid() {
			ports[j].Address = s.publishAddress(lives[i].Network)
		}
	}
	held, err := s.lock("ports", flock.Lock)
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
	decided, files, err := portmap.Decide(ports, others, r.Held)
	if err != nil {
		return nil, s.explain(err, e.Container, ports)
	}
	e.Ports = decided
	if portmap.Count(decided) > portmap.MaxHeld {
		err = s.put("ports", e.Container, e)
	}
	return files, err
}

// others are the published ports of other containers: of all, or only of those
// that have too many to hold them by sockets; these have a file "ports" too, to
// be found fast.
func (s *folder) others(kind, except string) ([]Port, error) {
	names, err := s.names(kind)
	if err != nil {
		return nil, err
	}
	var list []Port
	for _, name := range names {
		var e endpointFile
		found, err := s.get(kind, name, &e)
		if err != nil {
			return nil, err
		}
		if found && name != except && e.State == stateUp && (s.live == nil || s.live(name)) {
			list = append(list, e.Ports...)
		}
	}
	return list, nil
}

// explain says whose a port is, if it is a container's.
func (s *folder) explain(err error, self string, ports []Port) error {
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
		if p.Protocol == "udp" {
			list = append(list, conntrack.Range{First: p.Host, Last: p.Host + p.Count - 1})
		}
	}
	return list
}
