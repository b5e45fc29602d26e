package network

import (
	"cmp"
	"context"

	"berth/base/fault"
	"berth/base/flock"
	"berth/sys/netlink"
)

// Remove removes a network and its device: kind Conflict while a container is
// on it or it is built in.
func (s *Store) Remove(ctx context.Context, n *Network) error {
	return s.at.After(func() error { return remove(s, n) })
}

func remove(s *Store, n *Network) error {
	if s.records.IsBuiltIn(n.ID) {
		return fault.New(fault.Conflict, "%s is a pre-defined network and cannot be removed", n.Name)
	}
	held, err := s.files.Lock(n.ID, flock.Lock)
	if err != nil {
		return err
	}
	defer held.Unlock()
	on, err := s.Containers(n)
	if err != nil {
		return err
	}
	if len(on) > 0 {
		return fault.New(fault.Conflict, "error while removing network: network %s id %s has active endpoints", n.Name, n.ID)
	}
	if err := s.records.Still(n); err != nil { // another removed it, and one of its name may be there again
		return err
	}
	// The record first: without it nobody comes to the network any more.
	if err := s.records.Remove(n); err != nil {
		return err
	}
	if err := s.tearDown(n); err != nil {
		return err
	}
	return held.Remove()
}

// dropGone takes away what is left of networks whose removal was killed: no
// record, and yet a device and a subnet.
func (s *builder) dropGone() error {
	lives, err := s.lives()
	if err != nil {
		return err
	}
	for _, l := range lives {
		if err := s.records.Still(l.Network); !fault.Is(err, fault.NotFound) {
			continue
		}
		held, err := s.files.Lock(l.Network.ID, flock.TryLock)
		if fault.Is(err, fault.Busy) {
			continue // somebody is at it
		}
		if err != nil {
			return err
		}
		err = s.tearDown(l.Network)
		if err == nil {
			err = held.Remove()
		}
		held.Unlock()
		if err != nil {
			return err
		}
	}
	return nil
}

// tearDown takes away what a network has in this boot.
func (s *builder) tearDown(n *Network) error {
	var l live
	found, err := s.files.Get("nets", n.ID, &l)
	if err != nil {
		return err
	}
	if found {
		c, err := netlink.Open()
		if err != nil {
			return err
		}
		defer c.Close()
		if err := kindOf(l.Network).remove(s, c, &l); err != nil {
			return err
		}
		if err := cmp.Or(s.resolvers().Drop(n.ID), s.book().Clear(n.ID)); err != nil {
			return err
		}
		// Last, so that a killed removal is found, and taken up again.
		if err := s.files.Drop("nets", n.ID); err != nil {
			return err
		}
		if l.bridged() && !l.Network.Unmanaged() {
			if err := s.wall().TellOthers(l.Network.Device); err != nil {
				return err
			}
		}
	}
	return s.book().Clear(n.ID)
}
