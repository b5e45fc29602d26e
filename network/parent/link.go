package parent

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"berth/base/fault"
	"berth/network/bridge"
	"berth/sys/netlink"
)

// modeNumbers are the kernel's: MACVLAN_MODE_… and IPVLAN_MODE_….
var modeNumbers = map[string]uint32{"private": 1, "vepa": 2, "bridge": 4, passthru: 8, "l2": 0, "l3": 1, "l3s": 2}

// flagNumbers are IPVLAN_F_….
var flagNumbers = map[string]uint16{"bridge": 0, "private": 1, "vepa": 2}

// patience is how long a link of the container's last run may still be there: the
// kernel takes it away a while after the last process. It is more than that takes.
const patience = 20 * time.Second

// Connect makes a container's link in its namespace, not yet up. c is a connection of
// the host's namespace.
func Connect(c *netlink.Conn, w Way, in bridge.Inside, namespace *os.File) error {
	below, err := bridge.Find(c, w.Parent)
	if err != nil {
		return err
	}
	if below == nil {
		return fault.New(fault.NotFound, "parent interface %s is not there", w.Parent)
	}
	if in.MTU > int(below.MTU) {
		return fault.New(fault.Invalid, "MTU %d is more than parent interface %s has, %d", in.MTU, w.Parent, below.MTU)
	}
	first := firstName(in.Name)
	a := netlink.AppendString(nil, unix.IFLA_IFNAME, first)
	a = netlink.AppendUint32(a, unix.IFLA_LINK, uint32(below.Index))
	a = netlink.AppendUint32(a, unix.IFLA_NET_NS_FD, uint32(namespace.Fd()))
	if in.MTU != 0 {
		a = netlink.AppendUint32(a, unix.IFLA_MTU, uint32(in.MTU))
	}
	if in.MAC != nil && w.OwnMAC() {
		a = netlink.Append(a, unix.IFLA_ADDRESS, in.MAC)
	}
	a = netlink.Nest(a, unix.IFLA_LINKINFO, netlink.Nest(netlink.AppendString(nil, unix.IFLA_INFO_KIND, w.Driver), unix.IFLA_INFO_DATA, w.data()))
	list := []netlink.Request{netlink.LinkRequest(unix.NLM_F_CREATE|unix.NLM_F_EXCL, 0, netlink.Keep, a)}
	err = Patiently(func() error {
		errs, err := c.DoAll(list)
		if err != nil || errs == nil {
			return err
		}
		if errors.Is(errs[0], unix.EEXIST) { // of a connect that was killed
			if err := Unlink(w, first, namespace); err != nil {
				return err
			}
			return fault.New(fault.Busy, "make %s link: %w", w.Driver, errs[0])
		}
		return w.explain(errs[0])
	})
	if err != nil {
		return err
	}
	if err := w.name(first, in, below, namespace); err != nil {
		return errors.Join(err, Unlink(w, first, namespace))
	}
	return nil
}

// firstName is what a link is called before it has its name: kernels before 6.13 refuse
// one that the host has, too.
func firstName(name string) string {
	h := fnv.New32a()
	_, _ = h.Write([]byte(name))
	return fmt.Sprintf("berth-%08x", h.Sum32())
}

// name gives a link its name. In mode passthru it has its parent's address, and gets
// another one if that is asked for: the parent has it then, too, for as long.
func (w Way) name(first string, in bridge.Inside, below *netlink.Link, namespace *os.File) error {
	return inside(namespace, first, func(c *netlink.Conn, l *netlink.Link) error {
		if l == nil {
			return fault.New(fault.NotFound, "parent interface %s is not there", w.Parent) // any more
		}
		a := netlink.AppendString(nil, unix.IFLA_IFNAME, in.Name)
		if w.Sole() && in.MAC != nil && !bytes.Equal(in.MAC, below.Address) {
			a = netlink.Append(a, unix.IFLA_ADDRESS, in.MAC)
		}
		errs, err := c.DoAll([]netlink.Request{netlink.LinkRequest(0, l.Index, netlink.Keep, a)})
		switch {
		case err != nil || errs == nil:
			return err
		case errors.Is(errs[0], unix.EEXIST):
			return fault.New(fault.Conflict, "the container has a device %s: %w", in.Name, errs[0])
		}
		return fmt.Errorf("name the link %s: %w", in.Name, errs[0])
	})
}

func (w Way) data() []byte {
	if w.Driver == Macvlan {
		return netlink.AppendUint32(nil, unix.IFLA_MACVLAN_MODE, modeNumbers[w.Mode])
	}
	data := netlink.Append(nil, unix.IFLA_IPVLAN_MODE, binary.NativeEndian.AppendUint16(nil, uint16(modeNumbers[w.Mode])))
	return netlink.Append(data, unix.IFLA_IPVLAN_FLAGS, binary.NativeEndian.AppendUint16(nil, flagNumbers[w.Flag]))
}

// explain says what the kernel may mean.
func (w Way) explain(err error) error {
	switch {
	case errors.Is(err, unix.EOPNOTSUPP):
		return lacking(w.Driver, err)
	case errors.Is(err, unix.EINVAL) && w.Sole():
		return fault.New(fault.Busy, "parent interface %s has other links, in mode passthru it has one: %w", w.Parent, err)
	case errors.Is(err, unix.EBUSY):
		return fault.New(fault.Conflict, "parent interface %s is a port of a bridge or bond, or has links of another driver: %w", w.Parent, err)
	}
	return fmt.Errorf("make %s link on parent interface %s: %w", w.Driver, w.Parent, err)
}

// Patiently repeats what fails as a link of the container's last run is still there:
// one that has its address, or all of the parent.
func Patiently(f func() error) error {
	for end := time.Now().Add(patience); ; time.Sleep(5 * time.Millisecond) {
		err := f()
		if !errors.Is(err, unix.EADDRINUSE) && !fault.Is(err, fault.Busy) || time.Now().After(end) {
			return err
		}
	}
}

// There reports whether a container has a link.
func There(w Way, name string, namespace *os.File) (there bool, err error) {
	err = inside(namespace, name, func(_ *netlink.Conn, l *netlink.Link) error {
		there = l != nil && l.Kind == w.Driver
		return nil
	})
	return there, err
}

// Unlink removes a container's link; that there is none is no error.
func Unlink(w Way, name string, namespace *os.File) error {
	return inside(namespace, name, func(c *netlink.Conn, l *netlink.Link) error {
		if l == nil || l.Kind != w.Driver {
			return nil
		}
		return bridge.Remove(c, name)
	})
}

// inside runs f in a namespace with a device of it, nil if it is not there.
func inside(namespace *os.File, name string, f func(*netlink.Conn, *netlink.Link) error) error {
	return netlink.Inside(namespace, func() error {
		c, err := netlink.Open()
		if err != nil {
			return err
		}
		defer c.Close()
		l, err := bridge.Find(c, name)
		if err != nil {
			return err
		}
		return f(c, l)
	})
}
