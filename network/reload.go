package network

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"berth/base/flock"
	"berth/base/ids"
	"berth/network/bridge"
	"berth/network/resolver"
	"berth/network/wall"
	"berth/sys/netlink"
)

// Reload puts bridges, with the ports that are still there, forwarding and the firewall
// back as the records say they are: after somebody flushed or removed them. Devices of
// containers that are gone are for Alter.
func (s *builder) Reload(ctx context.Context) error {
	return s.at.Inside(func() error { return reload(s) })
}

func reload(s *builder) error {
	c, err := netlink.Open()
	if err != nil {
		return err
	}
	defer c.Close()
	if err := s.dropGone(); err != nil {
		return err
	}
	lives, err := s.lives()
	if err != nil {
		return err
	}
	v6, out := false, false
	var failed []error // of parents that are gone, which others do not need
	for _, l := range lives {
		if err := s.rebuild(c, l.Network); err != nil && l.bridged() {
			return err
		} else if err != nil {
			failed = append(failed, fmt.Errorf("network %s: %w", l.Network.Name, err))
		}
		for _, sub := range l.Network.Subnets {
			v6 = v6 || sub.Prefix.Addr().Is6() && l.bridged()
		}
		out = out || l.leadsOut()
	}
	if out {
		if err := s.wall().Again(c, v6); err != nil {
			return err
		}
	}
	if s.at.Home != nil {
		if err := bridge.WayBack(c); err != nil {
			return err
		}
	}
	return errors.Join(append(failed, s.wall().Mend())...)
}

func (s *builder) rebuild(c *netlink.Conn, n *Network) error {
	held, err := s.files.Lock(n.ID, flock.Lock)
	if err != nil {
		return err
	}
	defer held.Unlock()
	_, err = s.build(c, n)
	return err
}

// TearDown takes away all that the store has in the kernel and in its run
// folder: devices, addresses, the firewall. The records of networks stay. It is
// for a store that is removed; no container may be on a network.
func (s *Store) TearDown(ctx context.Context) error {
	return s.at.After(func() error { return takeDown(s) })
}

func takeDown(s *Store) error {
	names, err := s.files.Names("endpoints")
	if err != nil {
		return err
	}
	var errs []error
	for _, name := range names {
		errs = append(errs, s.leave(ids.ID(name), true))
	}
	lives, err := s.lives()
	if err != nil {
		return err
	}
	for _, l := range lives {
		errs = append(errs, s.tearDown(l.Network))
	}
	errs = append(errs, s.removePorts(), s.removeWayBack())
	errs = append(errs, s.wall().Remove())
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("take the networks down: %w", err)
	}
	for _, kind := range []string{"firewall.json", "forwarding.json", "nets", "endpoints", wall.Gone, "ports", "addresses", leases, resolver.Folder, resolver.Sockets, "locks"} {
		if err := os.RemoveAll(filepath.Join(s.files.Run, kind)); err != nil {
			return err
		}
	}
	return nil
}

// removeWayBack removes what wayBack made.
func (s *boot) removeWayBack() error {
	if s.at.Home == nil {
		return nil
	}
	c, err := netlink.Open()
	if err != nil {
		return err
	}
	defer c.Close()
	return bridge.NoWayBack(c)
}

// removePorts removes all ports of ours.
func (s *builder) removePorts() error {
	return removeLinks(func(l *netlink.Link) bool { return strings.HasPrefix(l.Name, s.ports) })
}

// removeLinks removes those of this namespace's links that are to go.
func removeLinks(goes func(*netlink.Link) bool) error {
	c, err := netlink.Open()
	if err != nil {
		return err
	}
	defer c.Close()
	links, err := c.Links()
	if err != nil {
		return err
	}
	for _, l := range links {
		if goes(l) {
			if err := bridge.Remove(c, l.Name); err != nil {
				return err
			}
		}
	}
	return nil
}
