package parent

import (
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"berth/base/fault"
	"berth/base/undo"
	"berth/network/bridge"
	"berth/network/record"
	"berth/sys/netlink"
)

// standIn begins the names of devices that stand for a parent, docker's too.
const standIn = "dm-"

// standInOf is the name of the device that a network without a parent has.
func standInOf(network string) string { return standIn + network[:12] }

// vlan is a VLAN by its name, as in eth0.50.
type vlan struct {
	base string
	id   uint16
}

// maxVLAN is the last number of a VLAN.
const maxVLAN = 4094

// readVLAN reads the name of a VLAN that is not there. Its base may have dots in
// its name, too.
func readVLAN(name string) (v vlan, err error) {
	i := strings.LastIndexByte(name, '.')
	if i <= 0 {
		return v, fault.New(fault.NotFound, "parent interface %s is not there (a VLAN, which is made, is named as in eth0.10)", name)
	}
	id, err := strconv.Atoi(name[i+1:])
	switch {
	case err != nil || name[i+1] == '+' || name[i+1] == '-':
		return v, fault.New(fault.Invalid, "parent interface %s is not there, and unable to parse a valid vlan id from: %s (ex. eth0.10 for vlan 10)", name, name[i+1:])
	case id < 1 || id > maxVLAN:
		return v, fault.New(fault.Invalid, "vlan id must be between 1-4094, received: %d", id)
	}
	return vlan{name[:i], uint16(id)}, nil
}

// check refuses a parent that is not there and that Make could not make.
func check(c *netlink.Conn, w Way) error {
	if err := known(c, w.Driver); err != nil {
		return err
	}
	link, err := bridge.Find(c, w.Parent)
	if err != nil || link != nil || strings.HasPrefix(w.Parent, standIn) {
		return err
	}
	v, err := readVLAN(w.Parent)
	if err != nil {
		return err
	}
	if base, err := bridge.Find(c, v.base); err != nil || base != nil {
		return err
	}
	return fault.New(fault.NotFound, "parent interface %s is not there, and no %s that it would be a VLAN of", w.Parent, v.base)
}

// known asks the kernel whether it has a driver. A link that names no parent is
// none, so nothing is made.
func known(c *netlink.Conn, driver string) error {
	a := netlink.Nest(nil, unix.IFLA_LINKINFO, netlink.AppendString(nil, unix.IFLA_INFO_KIND, driver))
	errs, err := c.DoAll([]netlink.Request{netlink.LinkRequest(unix.NLM_F_CREATE|unix.NLM_F_EXCL, 0, netlink.Keep, a)})
	if err != nil {
		return err
	}
	if errs != nil && errors.Is(errs[0], unix.EOPNOTSUPP) {
		return lacking(driver, errs[0])
	}
	return nil
}

// lacking is about what a kernel was built without.
func lacking(what string, err error) error {
	return fault.New(fault.Unsupported, "this kernel has no %s: %w", what, err)
}

// Make makes the device that is to be a network's parent if it is missing: a VLAN, or
// one that stands for a parent. Others' stay as they are.
func Make(c *netlink.Conn, n *record.Network) (err error) {
	w, err := Of(n)
	if err != nil {
		return err
	}
	network := n.ID
	var u undo.Stack
	defer u.Unwind(&err)
	link, err := bridge.Find(c, w.Parent)
	if err != nil || link != nil && (bridge.Owner(link) != network || link.Up) {
		return err
	}
	if link == nil {
		make := makeVLAN
		if strings.HasPrefix(w.Parent, standIn) {
			make = makeStandIn
		}
		if err := make(c, w.Parent, network); err != nil {
			return err
		}
		u.Push("remove device "+w.Parent, func() error { return bridge.Remove(c, w.Parent) })
	}
	err = bridge.Own(c, w.Parent, network)
	if errors.Is(err, unix.ENETDOWN) {
		return fault.New(fault.Unavailable, "set VLAN %s up: the device that it is of is down: %w", w.Parent, err)
	}
	if err != nil {
		return fmt.Errorf("set parent interface %s up: %w", w.Parent, err)
	}
	return nil
}

// makeStandIn makes a device without a wire: frames go from container to
// container. Where the kernel has no dummies a bridge without ports does the same.
func makeStandIn(c *netlink.Conn, name, network string) (err error) {
	for _, kind := range []string{"dummy", "bridge"} {
		err = create(c, device{name: name, network: network, kind: kind})
		if !errors.Is(err, unix.EOPNOTSUPP) {
			break
		}
	}
	if errors.Is(err, unix.EOPNOTSUPP) {
		err = lacking("dummy and bridge devices", err)
	}
	if err != nil {
		return fmt.Errorf("make device %s, which stands for a parent interface: %w", name, err)
	}
	return nil
}

func makeVLAN(c *netlink.Conn, name, network string) error {
	v, err := readVLAN(name)
	if err != nil {
		return err
	}
	base, err := bridge.Find(c, v.base)
	if err != nil {
		return err
	}
	if base == nil {
		return fault.New(fault.NotFound, "make VLAN %s: there is no device %s", name, v.base)
	}
	err = create(c, device{name, network, "vlan", base.Index, netlink.Append(nil, unix.IFLA_VLAN_ID, binary.NativeEndian.AppendUint16(nil, v.id))})
	switch {
	case errors.Is(err, unix.EOPNOTSUPP):
		err = lacking("VLANs (8021q)", err)
	case errors.Is(err, unix.EEXIST):
		err = fault.New(fault.Conflict, "%s has VLAN %d already, under another name: name that as the parent: %w", v.base, v.id, err)
	}
	if err != nil {
		return fmt.Errorf("make VLAN %s: %w", name, err)
	}
	return nil
}

// device is one of the host to be made.
type device struct {
	name, network, kind string
	below               int // the number of the device that it is of, 0: none
	data                []byte
}

// create makes a device with the owner written on it, at once: what has no owner
// written on it is never removed.
func create(c *netlink.Conn, d device) error {
	info := netlink.AppendString(nil, unix.IFLA_INFO_KIND, d.kind)
	if d.data != nil {
		info = netlink.Nest(info, unix.IFLA_INFO_DATA, d.data)
	}
	a := netlink.AppendString(nil, unix.IFLA_IFNAME, d.name)
	if d.below != 0 {
		a = netlink.AppendUint32(a, unix.IFLA_LINK, uint32(d.below))
	}
	a = netlink.Nest(a, unix.IFLA_LINKINFO, info)
	errs, err := c.DoAll([]netlink.Request{
		netlink.LinkRequest(unix.NLM_F_CREATE|unix.NLM_F_EXCL, 0, netlink.Keep, a),
		bridge.OwnRequest(d.name, d.network),
	})
	if err != nil || errs == nil {
		return err
	}
	return errs[0] // without its owner it is looked at again by Own
}

// Default adds to options without a parent the device of the host's default route.
func Default(c *netlink.Conn, options map[string]string) (map[string]string, error) {
	if options[optionParent] != "" {
		return options, nil
	}
	for _, family := range []byte{unix.AF_INET, unix.AF_INET6} {
		routes, err := c.Routes(family)
		if err != nil {
			return nil, fmt.Errorf("list routes: %w", err)
		}
		for _, r := range routes {
			if r.To.IsValid() && r.To.Bits() > 0 {
				continue
			}
			link, err := c.LinkByIndex(r.Index)
			if err != nil {
				return nil, fmt.Errorf("look for the device of the default route: %w", err)
			}
			out := map[string]string{}
			maps.Copy(out, options)
			out[optionParent] = link.Name
			return out, nil
		}
	}
	return nil, fault.New(fault.Invalid, "no parent interface is named, and the host has no default route whose device would be it")
}
