package network

import (
	"cmp"
	"context"
	"maps"
	"slices"

	"berth/base/fault"
	"berth/base/flock"
	"berth/network/bridge"
	"berth/network/nft"
	"berth/network/parent"
	"berth/network/record"
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

// Update changes a network, and what there is of it at once; size and names of
// devices, and where ports are published, hold for those that come. Kinds: NotFound,
// Invalid, Unsupported an option that cannot be changed.
func (s *Store) Update(ctx context.Context, r UpdateRequest) (*Network, error) {
	found, err := s.records.Find(r.Network)
	if err != nil {
		return nil, err
	}
	if s.records.IsBuiltIn(found.ID) {
		return nil, fault.New(fault.Conflict, "%s is a pre-defined network and cannot be updated", found.Name)
	}
	held, err := s.files.Lock(found.ID, flock.Lock)
	if err != nil {
		return nil, err
	}
	defer held.Unlock()
	if err := s.records.Still(found); err != nil {
		return nil, err
	}
	n, err := s.records.Load(found.Name)
	if err != nil {
		return nil, err
	}
	if err := r.apply(n); err != nil {
		return nil, err
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if err := s.records.Rewrite(n); err != nil {
		return nil, err
	}
	return s.settled(n), s.at.Inside(func() error { return s.updateLive(n) })
}

// apply changes a record.
func (r *UpdateRequest) apply(n *Network) error {
	check := record.CheckOptions
	if parent.Is(n.Driver) {
		check = func(o map[string]string) error { return parent.Refit(n, o) }
	}
	if err := cmp.Or(record.CheckServers(r.DNS), check(r.Options)); err != nil {
		return err
	}
	for key, value := range r.Options {
		if n.Driver == "bridge" && n.Options[key] != value && slices.Contains(record.Fixed, key) {
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

// updateLive changes what there is of a network in this boot. The caller holds its
// lock.
func (s *builder) updateLive(n *Network) error {
	var l live
	if found, err := s.files.Get("nets", n.ID, &l); err != nil || !found {
		return err
	}
	old := l
	l.Network, l.MTU = new(*n), s.records.MTU(n)
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
	if l.Network.Apart() != old.Network.Apart() {
		if err := isolate(s, &l); err != nil {
			return err
		}
	}
	add, remove := nft.Differences(old.elements(), l.elements())
	return s.wall().Change(add, remove)
}

// isolate keeps the ports of a network from each other, or lets them reach each other.
func isolate(s *builder, l *live) error {
	c, err := netlink.Open()
	if err != nil {
		return err
	}
	defer c.Close()
	return eachOn(&s.boot, l.Network.ID, func(_ *endpointFile, a *Attached) error {
		return bridge.Isolate(c, a.Device, l.Network.Apart())
	})
}
