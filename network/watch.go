package network

import (
	"context"

	"berth/base/ids"
	"berth/network/bridge"
	"berth/network/home"
	"berth/network/parent"
	"berth/network/watch"
	"berth/sys/netlink"
)

// Mend is Reload where somebody changed what the records ask for; mended says whether
// so. It does not look at the elements of sets, which only berth knows.
func (s *builder) Mend(ctx context.Context) (bool, error) {
	return home.Of(s.at.Inside, func() (bool, error) { return mend(s) })
}

func mend(s *builder) (mended bool, err error) {
	c, err := netlink.Open()
	if err != nil {
		return false, err
	}
	defer c.Close()
	whole, err := s.whole(c)
	if err != nil || whole {
		return false, err
	}
	return true, reload(s)
}

// whole reports whether bridges, forwarding and rules are as they were left.
func (s *firewall) whole(c *netlink.Conn) (bool, error) {
	lives, err := s.lives()
	if err != nil {
		return false, err
	}
	any, out, six := false, false, false
	for _, l := range lives {
		if !l.Ready {
			continue
		}
		if !l.bridged() {
			if lacks, err := parent.Lacks(c, l.Network); err != nil || lacks {
				return false, err
			}
			continue
		}
		any, out = true, out || l.leadsOut()
		for _, sub := range l.Network.Subnets {
			six = six || sub.Prefix.Addr().Is6() && l.leadsOut()
		}
		link, err := bridge.Find(c, l.Network.Device)
		if err != nil {
			return false, err
		}
		if link == nil && !l.Foreign || link != nil && !l.Foreign && (!link.Up || !bridge.Forwards(link.Name)) {
			return false, nil
		}
	}
	if !any {
		return true, nil
	}
	if opens, err := s.wall().Opens(c, out, six); err != nil || !opens {
		return false, err
	}
	return s.wall().Intact()
}

// Unplugged lists the containers of which a device is not there, or is no port of a
// bridge: somebody took it away, or they just come or go. What is on a parent interface
// is seen by nobody but the container.
func (s *boot) Unplugged() ([]ids.ID, error) {
	all, err := s.endpointFiles()
	if err != nil {
		return nil, err
	}
	links, err := home.Of(s.at.Inside, func() ([]*netlink.Link, error) {
		c, err := netlink.Open()
		if err != nil {
			return nil, err
		}
		defer c.Close()
		return c.Links()
	})
	if err != nil {
		return nil, err
	}
	plugged := map[string]bool{}
	for _, l := range links {
		plugged[l.Name] = l.Master != 0 && l.Up
	}
	var list []ids.ID
	for _, e := range all {
		if e.State != stateUp {
			continue
		}
		for _, a := range e.Endpoints {
			if a.bridged() && !plugged[a.Device] {
				list = append(list, ids.ID(e.Container))
				break
			}
		}
	}
	return list, nil
}

// Watch calls look now, and then whenever somebody may have changed rules, devices or
// forwarding, until ctx ends. If look fails, it is called again a little later.
func Watch(ctx context.Context, s *Store, look func() error) error {
	return watch.Watch(ctx, s.at, look)
}
