package parent

import (
	"cmp"
	"maps"
	"net"

	"berth/base/fault"
	"berth/network/bridge"
	"berth/network/record"
	"berth/sys/netlink"
)

// Of is how a network's containers are linked to its parent.
func Of(n *record.Network) (Way, error) {
	w, err := read(n.Driver, n.Options, n.Internal)
	w.Parent = cmp.Or(w.Parent, standInOf(n.ID))
	w.Straight = w.Routed() && !n.Internal
	return w, err
}

// Complete fills in a new network, and refuses what it cannot be.
func Complete(n *record.Network) error {
	w, err := Of(n)
	if err != nil {
		return err
	}
	n.Device = w.Parent
	return cmp.Or(n.CheckDHCP(), record.CheckMTU(n.Options[record.OptionMTU]))
}

// Refit refuses options of a network that would change how its containers are linked.
func Refit(n *record.Network, options map[string]string) error {
	then := *n
	then.Options = map[string]string{}
	maps.Copy(then.Options, n.Options)
	maps.Copy(then.Options, options)
	was, _ := Of(n)
	now, err := Of(&then)
	if err == nil && now != was {
		err = fault.New(fault.Unsupported, "parent and mode of network %s cannot be changed: make another network", n.Name)
	}
	return cmp.Or(err, record.CheckMTU(options[record.OptionMTU]))
}

// Fit refuses a network that cannot be beside others, or has a parent that is not
// there and cannot be made.
func Fit(c *netlink.Conn, n *record.Network, others []*record.Network) error {
	w, err := Of(n)
	if err != nil {
		return err
	}
	for _, o := range others {
		if !Is(o.Driver) {
			continue
		}
		other, err := Of(o)
		if err != nil {
			return err
		}
		if err := w.beside(other, o.Name); err != nil {
			return err
		}
	}
	return check(c, w)
}

// Whole reports whether a network's parent is there, and up if it is ours.
func Whole(c *netlink.Conn, n *record.Network) (bool, error) {
	link, err := bridge.Find(c, n.Device)
	return link != nil && (link.Up || bridge.Owner(link) != n.ID), err
}

// Lacks reports whether a parent that can be made is not there.
func Lacks(c *netlink.Conn, n *record.Network) (bool, error) {
	there, err := Whole(c, n)
	if err != nil || there {
		return false, err
	}
	w, err := Of(n)
	return err == nil && check(c, w) == nil, err
}

// Remove removes a parent that was made for a network, unless another has it, too: then
// it is that one's.
func Remove(c *netlink.Conn, n *record.Network, others []*record.Network) error {
	link, err := bridge.Find(c, n.Device)
	if err != nil || link == nil || bridge.Owner(link) != n.ID {
		return err
	}
	for _, o := range others {
		if o.ID != n.ID && o.Device == n.Device && Is(o.Driver) {
			return bridge.Own(c, o.Device, o.ID)
		}
	}
	return bridge.Remove(c, n.Device)
}

// Place decides a link's own address; mac is the one that was asked for, "" none.
func (w Way) Place(c *netlink.Conn, mac string) (string, error) {
	if mac != "" && !w.OwnMAC() {
		return "", fault.New(fault.Invalid, "%s interfaces do not support custom mac address assignment", w.Driver)
	}
	if !w.Sole() || mac != "" {
		return mac, nil
	}
	link, err := bridge.Find(c, w.Parent)
	if err != nil || link == nil {
		return "", err
	}
	return net.HardwareAddr(link.Address).String(), nil
}

// Shares refuses a link beside one of another container on the same parent: either has
// all of it, in mode passthru, or both one address.
func (w Way) Shares(mac string, other *Way, name, otherMAC string) error {
	switch {
	case other == nil || other.Parent != w.Parent:
	case w.Sole():
		return fault.New(fault.Conflict, "container %s has parent interface %s, which in mode passthru is for one", name, w.Parent)
	case mac != "" && otherMAC == mac:
		return fault.New(fault.Conflict, "container %s has mac address %s on parent interface %s", name, mac, w.Parent)
	}
	return nil
}
