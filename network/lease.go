package network

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"berth/base/fault"
	"berth/network/dhcp"
	"berth/sys/fdpass"
	"berth/sys/netlink"
)

// leasePatience is more than asking all the servers takes.
const leasePatience = 2 * time.Minute

// checkDHCP refuses what a network whose addresses are the wire's cannot be.
func (n *Network) checkDHCP() error {
	switch {
	case !n.DHCP:
		return nil
	case n.Driver != "macvlan":
		return fault.New(fault.Unsupported, "addresses by DHCP: they take a link address of each container's own on the wire, which a network of driver macvlan gives; %s is not served", n.Driver)
	case n.Internal || n.Options["parent"] == "":
		return fault.New(fault.Invalid, "addresses by DHCP: there is no server where the network leads nowhere, name its parent interface")
	case n.IPv6 || len(n.Subnets) > 0:
		return fault.New(fault.Invalid, "addresses by DHCP: the subnet is the server's, none can be named, nor --ipv6")
	}
	return nil
}

// ownMAC is the link address of a container on a network that gives no addresses itself:
// the same for as long as there are both, so that a server knows it again.
func ownMAC(container, network string) string {
	sum := sha256.Sum256([]byte("link " + container + " " + network))
	return net.HardwareAddr{2, 0x42, sum[0], sum[1], sum[2], sum[3]}.String()
}

// Leased reports whether any of the container's addresses are a DHCP server's to give.
func (a *Attachment) Leased() bool {
	return slices.ContainsFunc(a.Endpoints, func(e Attached) bool { return e.DHCP })
}

// Leaser is a container for whom addresses are leased.
type Leaser struct {
	Hostname  string   // which the servers are told
	Namespace *os.File // a file of nsfs
	Process   *os.File // a pidfd of the first process
}

// Lease has DHCP servers give the addresses that are theirs to give, in a container's
// namespace, and renewed until its first process has ended. Begin starts a process of
// the helper's word "dhcp" and gives a socket to it. What is leased is left. Kind
// Unavailable: nobody answers.
func Lease(s *Store, a *Attachment, by Leaser, begin func() (*os.File, error)) error {
	for i := range a.Endpoints {
		at := &a.Endpoints[i]
		if !at.DHCP || at.Leased {
			continue
		}
		l, err := by.lease(at, begin)
		if err != nil {
			return fmt.Errorf("network %s: ask for an address by DHCP: %w", at.Network, err)
		}
		at.IPv4, at.Gateway, at.Leased = l.Address, l.Router, true
		e, err := s.endpoint(a.Container)
		if err != nil {
			return err
		}
		if e == nil {
			return fault.New(fault.NotFound, "container %s is on no network", a.Container)
		}
		if has := e.on(at.NetworkID); has != nil {
			*has = *at
		}
		if err := s.write(e, nil); err != nil {
			return err
		}
	}
	return nil
}

func (by Leaser) lease(at *Attached, begin func() (*os.File, error)) (l dhcp.Lease, err error) {
	o := dhcp.Order{Host: by.Hostname, Had: at.Had, Route: at.Default}
	mac, _ := net.ParseMAC(at.MAC)
	copy(o.MAC[:], mac)
	fds := []int{-1, -1}
	defer func() {
		for _, fd := range fds {
			if fd >= 0 {
				unix.Close(fd)
			}
		}
	}()
	err = netlink.Inside(by.Namespace, func() error {
		c, err := netlink.Open()
		if err != nil {
			return err
		}
		defer c.Close()
		link, err := c.LinkByName(at.Interface)
		if err != nil {
			return fmt.Errorf("look for %s in the container: %w", at.Interface, err)
		}
		o.Index = link.Index
		if fds[0], err = dhcp.Listen(link.Index); err != nil {
			return os.NewSyscallError("socket", err)
		}
		fds[1], err = unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_ROUTE)
		return os.NewSyscallError("socket", err)
	})
	if err != nil {
		return l, err
	}
	sock, err := begin()
	if err != nil {
		return l, err
	}
	defer sock.Close()
	if err := fdpass.Send(int(sock.Fd()), o.Text(), fds[0], fds[1], int(by.Process.Fd())); err != nil {
		return l, err
	}
	tv := unix.NsecToTimeval(int64(leasePatience))
	_ = unix.SetsockoptTimeval(int(sock.Fd()), unix.SOL_SOCKET, unix.SO_RCVTIMEO, &tv)
	text, _, err := fdpass.ReceiveAny(int(sock.Fd()))
	if errors.Is(err, unix.EAGAIN) || err == nil && len(text) == 0 {
		return l, fault.New(fault.Unavailable, "the helper says nothing")
	}
	if err != nil {
		return l, err
	}
	if l, err = dhcp.Answer(text); err != nil {
		return l, fault.Wrap(fault.Unavailable, err)
	}
	return l, nil
}
