// Package bridge makes the devices of a bridge network by netlink: the bridge
// with the host's address, and for each container a veth pair from a port of
// the bridge into the container's namespace. It chooses no names and addresses
// and opens no firewall. Row 3, below network.
package bridge

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"

	"golang.org/x/sys/unix"

	"berth/base/fault"
	"berth/base/undo"
	"berth/sys/netlink"
)

// aliasPrefix begins what is written on a device of ours (IFLA_IFALIAS).
const aliasPrefix = "berth "

// Bridge is a bridge as it shall be.
type Bridge struct {
	Name      string
	Network   string // id of the network, written on the device
	MAC       net.HardwareAddr
	MTU       int            // 0: the kernel's
	Addresses []netip.Prefix // the host's
	Snooping  *bool          // multicast snooping; nil: the kernel's default
}

// Owner tells whose network a link is: "" if it is none of ours.
func Owner(l *netlink.Link) string {
	if len(l.Alias) > len(aliasPrefix) && l.Alias[:len(aliasPrefix)] == aliasPrefix {
		return l.Alias[len(aliasPrefix):]
	}
	return ""
}

// Find finds a device by name; nil if there is none.
func Find(c *netlink.Conn, name string) (*netlink.Link, error) {
	l, err := c.LinkByName(name)
	if errors.Is(err, unix.ENODEV) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("look for device %s: %w", name, err)
	}
	return l, nil
}

// Make makes a bridge, or completes one of which a part is there, and sets it up.
func Make(c *netlink.Conn, b Bridge) (l *netlink.Link, err error) {
	var u undo.Stack
	defer u.Unwind(&err)
	if l, err = Find(c, b.Name); err != nil {
		return nil, err
	}
	if l == nil {
		if err := create(c, b); err != nil {
			return nil, fmt.Errorf("make bridge %s: %w", b.Name, err)
		}
		u.Push("remove bridge "+b.Name, func() error { return Remove(c, b.Name) })
		if l, err = Find(c, b.Name); err != nil {
			return nil, err
		}
		if l == nil {
			return nil, fmt.Errorf("make bridge %s: somebody removed it", b.Name)
		}
	}
	if l.Kind != "bridge" {
		return nil, fault.New(fault.Conflict, "make bridge %s: there is a device of that name that is no bridge", b.Name)
	}
	if err := settings(b); err != nil {
		return nil, fmt.Errorf("set bridge %s: %w", b.Name, err)
	}
	list := []netlink.Request{netlink.LinkRequest(0, l.Index, netlink.Keep, netlink.AppendString(nil, unix.IFLA_IFALIAS, aliasPrefix+b.Network))}
	for _, a := range b.Addresses {
		list = append(list, netlink.AddressRequest(l.Index, a))
	}
	list = append(list, netlink.LinkRequest(0, l.Index, netlink.Up, nil))
	if err := all(c, list); err != nil {
		return nil, fmt.Errorf("set bridge %s: %w", b.Name, err)
	}
	return l, loopback6(c, l, b)
}

// loopback6 is for IPv6 what route_localnet is for IPv4: answers to the host's
// loopback, which has reached a published port, come in by the bridge. A packet that
// bears ::1 on the wire the kernel drops before it looks at any rule.
func loopback6(c *netlink.Conn, l *netlink.Link, b Bridge) error {
	if !slices.ContainsFunc(b.Addresses, func(p netip.Prefix) bool { return p.Addr().Is6() }) {
		return nil
	}
	err := all(c, []netlink.Request{netlink.LocalRequest(l.Index, netip.IPv6Loopback())})
	if err != nil && !errors.Is(err, unix.EEXIST) {
		return fmt.Errorf("let answers to ::1 in by bridge %s: %w", b.Name, err)
	}
	return nil
}

func create(c *netlink.Conn, b Bridge) error {
	info := netlink.AppendString(nil, unix.IFLA_INFO_KIND, "bridge")
	if b.Snooping != nil {
		on := byte(0)
		if *b.Snooping {
			on = 1
		}
		info = netlink.Nest(info, unix.IFLA_INFO_DATA, netlink.Append(nil, unix.IFLA_BR_MCAST_SNOOPING, []byte{on}))
	}
	a := netlink.AppendString(nil, unix.IFLA_IFNAME, b.Name)
	// Its own address, or it would change with its ports.
	a = netlink.Append(a, unix.IFLA_ADDRESS, b.MAC)
	if b.MTU != 0 {
		a = netlink.AppendUint32(a, unix.IFLA_MTU, uint32(b.MTU))
	}
	a = netlink.Nest(a, unix.IFLA_LINKINFO, info)
	err := all(c, []netlink.Request{netlink.LinkRequest(unix.NLM_F_CREATE|unix.NLM_F_EXCL, 0, netlink.Keep, a)})
	if errors.Is(err, unix.EOPNOTSUPP) {
		return fault.New(fault.Unsupported, "this kernel has no bridges: %w", err)
	}
	return err
}

// settings are the bridge's files below /proc/sys/net.
func settings(b Bridge) error {
	v6 := false
	for _, a := range b.Addresses {
		v6 = v6 || a.Addr().Is6()
	}
	list := []sysctl{
		{"ipv4/conf/" + b.Name + "/forwarding", "1", false},
		// The host's loopback reaches published ports through the bridge; the
		// firewall's chain raw keeps all others from it.
		{"ipv4/conf/" + b.Name + "/route_localnet", "1", false},
	}
	if v6 {
		// While the bridge asks whether another has its own address of the link, it asks for
		// no container whose peer's address is kept; and the firewall lets none claim it.
		list = append(list, sysctl{"ipv6/conf/" + b.Name + "/accept_ra", "0", true},
			sysctl{"ipv6/conf/" + b.Name + "/accept_dad", "0", true},
			sysctl{"ipv6/conf/" + b.Name + "/disable_ipv6", "0", true})
	} else {
		list = append(list, sysctl{"ipv6/conf/" + b.Name + "/disable_ipv6", "1", true})
	}
	return apply(list)
}

// Own writes on a device that is there whose network it is, and sets it up.
func Own(c *netlink.Conn, name, network string) error {
	up := netlink.LinkRequest(0, 0, netlink.Up, netlink.AppendString(nil, unix.IFLA_IFNAME, name))
	return all(c, []netlink.Request{OwnRequest(name, network), up})
}

// OwnRequest writes on a device whose network it is.
func OwnRequest(name, network string) netlink.Request {
	named := netlink.AppendString(nil, unix.IFLA_IFNAME, name)
	return netlink.LinkRequest(0, 0, netlink.Keep, netlink.AppendString(named, unix.IFLA_IFALIAS, aliasPrefix+network))
}

// Remove removes a device; that there is none is no error.
func Remove(c *netlink.Conn, name string) error {
	if err := c.DeleteLink(name); err != nil && !errors.Is(err, unix.ENODEV) {
		return fmt.Errorf("remove device %s: %w", name, err)
	}
	return nil
}

// all carries out requests and gives the first error.
func all(c *netlink.Conn, list []netlink.Request) error {
	errs, err := c.DoAll(list)
	if err != nil {
		return err
	}
	for _, e := range errs {
		if e != nil {
			return e
		}
	}
	return nil
}
