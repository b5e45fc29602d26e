package network

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/netip"
	"slices"

	"berth/base/atomicfile"
	"berth/base/fault"
	"berth/base/flock"
	"berth/network/bridge"
	"berth/network/nft"
	"berth/network/parent"
	"berth/sys/netlink"
)

// UpdateRequest is network update: what it does not name stays.
type UpdateRequest struct {
	Network    string // name, id or unique beginning of an id
	Labels     map[string]string
	DropLabels []string
	DNS        []string // servers that come
	DropDNS    []string
	Options    map[string]string
}

// fixed are the options that decide what was made long ago: they do not change.
var fixed = []string{optionName, optionMode4, optionMode6, optionTrusted, optionNoAddress4, optionManaged}

// Update changes a network, and what there is of it at once; size and names of
// devices, and where ports are published, hold for those that come. Kinds: NotFound,
// Invalid, Unsupported an option that cannot be changed.
func (s *Store) Update(ctx context.Context, r UpdateRequest) (*Network, error) {
	found, err := s.find(r.Network)
	if err != nil {
		return nil, err
	}
	if s.isBuiltIn(found.ID) {
		return nil, fault.New(fault.Conflict, "%s is a pre-defined network and cannot be updated", found.Name)
	}
	held, err := s.files.Lock(found.ID, flock.Lock)
	if err != nil {
		return nil, err
	}
	defer held.Unlock()
	if err := s.still(found); err != nil {
		return nil, err
	}
	n, err := s.read(s.file(found.Name))
	if err != nil {
		return nil, err
	}
	if err := r.apply(n); err != nil {
		return nil, err
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	data, err := json.Marshal(n)
	if err != nil {
		return nil, err
	}
	if err := atomicfile.Write(s.file(n.Name), data, 0o600, atomicfile.Sync); err != nil {
		return nil, fmt.Errorf("write the record of network %s: %w", n.Name, err)
	}
	return s.settled(n), s.updateLive(n)
}

// apply changes a record.
func (r *UpdateRequest) apply(n *Network) error {
	check := checkOptions
	if parent.Is(n.Driver) {
		check = n.checkChange
	}
	if err := cmp.Or(checkServers(r.DNS), check(r.Options)); err != nil {
		return err
	}
	for key, value := range r.Options {
		if n.Driver == "bridge" && n.Options[key] != value && slices.Contains(fixed, key) {
			return fault.New(fault.Unsupported, "option %.80s of network %s cannot be changed: make another network", key, n.Name)
		}
	}
	for _, d := range r.DropDNS {
		if !slices.Contains(n.DNS, d) {
			return fault.New(fault.NotFound, "network %s has no DNS server %.60s", n.Name, d)
		}
	}
	n.DNS = slices.DeleteFunc(n.DNS, func(d string) bool { return slices.Contains(r.DropDNS, d) || slices.Contains(r.DNS, d) })
	n.DNS = append(n.DNS, r.DNS...)
	n.Labels = merged(n.Labels, r.Labels)
	maps.DeleteFunc(n.Labels, func(key, _ string) bool { return slices.Contains(r.DropLabels, key) })
	n.Options = merged(n.Options, r.Options)
	return nil
}

// merged are the pairs of both, those of more before others of the same key.
func merged(have, more map[string]string) map[string]string {
	if have == nil && len(more) > 0 {
		have = map[string]string{}
	}
	maps.Copy(have, more)
	return have
}

// checkServers refuses DNS servers that are no addresses.
func checkServers(list []string) error {
	for _, d := range list {
		if a, err := netip.ParseAddr(d); err != nil || a.IsUnspecified() || a.IsMulticast() {
			return fault.New(fault.Invalid, "DNS server %.60q: it is not the address of a server", d)
		}
	}
	return nil
}

// updateLive changes what there is of a network in this boot. The caller holds its
// lock.
func (s *builder) updateLive(n *Network) error {
	var l live
	if found, err := s.files.Get("nets", n.ID, &l); err != nil || !found {
		return err
	}
	old := l
	l.Network, l.MTU = new(*n), s.mtu(n)
	l.Network.Device, l.Network.Subnets = old.Network.Device, old.Network.Subnets
	if err := s.files.Put("nets", n.ID, &l); err != nil {
		return err
	}
	if !l.Ready {
		return nil
	}
	if !l.bridged() {
		return nil
	}
	if l.Network.apart() != old.Network.apart() {
		if err := isolate(s, &l); err != nil {
			return err
		}
	}
	add, remove := nft.Differences(old.elements(), l.elements())
	return s.change(add, remove)
}

// isolate keeps the ports of a network from each other, or lets them reach each other.
func isolate(s *builder, l *live) error {
	c, err := netlink.Open()
	if err != nil {
		return err
	}
	defer c.Close()
	return eachOn(&s.boot, l.Network.ID, func(_ *endpointFile, a *Attached) error {
		return bridge.Isolate(c, a.Device, l.Network.apart())
	})
}
