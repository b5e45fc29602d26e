package network

import (
	"slices"
	"strings"

	"berth/base/clock"
	"berth/base/flock"
	"berth/sys/netlink"
)

// Find finds a network by name, id or unique beginning of an id.
func (s *Store) Find(name string) (*Network, error) {
	n, err := s.records.Find(name)
	if err != nil {
		return nil, err
	}
	return s.settled(n), nil
}

// settled adds to a network what it is in this boot. One that is built in is as
// old as that.
func (s *Store) settled(n *Network) *Network {
	var l live
	if found, err := s.files.Get("nets", n.ID, &l); err == nil && found {
		n.Device, n.Subnets = l.Network.Device, l.Network.Subnets
		if n.Name == Default {
			n.NameBridge(n.Device) // docker0 may have been another's
		}
	}
	if n.Created.IsZero() {
		if at, err := clock.BootTime(); err == nil {
			n.Created = at
		}
	}
	return n
}

// Settle decides the subnet of the default bridge, if it has none yet, and gives
// it: its device comes with its first container. It changes no other network.
func (s *Store) Settle(n *Network) (*Network, error) {
	if n.Name != Default || len(n.Subnets) > 0 {
		return n, nil
	}
	err := s.at.Inside(func() error {
		c, err := netlink.Open()
		if err != nil {
			return err
		}
		defer c.Close()
		held, err := s.files.Lock(n.ID, flock.Lock)
		if err != nil {
			return err
		}
		defer held.Unlock()
		_, err = s.decided(c, n)
		return err
	})
	if err != nil {
		return nil, err
	}
	return s.settled(n), nil
}

// List lists all networks, the three built in too, by name.
func (s *Store) List() ([]*Network, error) {
	records, err := s.records.Made()
	if err != nil {
		return nil, err
	}
	list := append(s.records.BuiltIn(), records...)
	for _, n := range list {
		s.settled(n)
	}
	slices.SortFunc(list, func(a, b *Network) int { return strings.Compare(a.Name, b.Name) })
	return list, nil
}

// Attachments lists what all containers have now.
func (s *Store) Attachments() ([]*Attachment, error) {
	all, err := s.endpointFiles()
	if err != nil {
		return nil, err
	}
	var list []*Attachment
	for _, e := range all {
		if e.State == stateUp {
			list = append(list, e.attachment())
		}
	}
	return list, nil
}

// Containers lists what is on a network now, by container.
func (s *Store) Containers(n *Network) ([]*Attachment, error) {
	all, err := s.Attachments()
	return slices.DeleteFunc(all, func(a *Attachment) bool { return a.On(n.ID) == nil }), err
}
