// Package lease is the engine's side of network/dhcp: it opens what who leases an address
// needs of a container's namespace, hands it over and waits for the first lease. Row 3,
// below network.
package lease

import (
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"berth/base/fault"
	"berth/network/dhcp"
	"berth/sys/fdpass"
	"berth/sys/netlink"
)

// patience is more than asking all the servers takes.
const patience = 2 * time.Minute

// Container is one for whom addresses are leased.
type Container struct {
	Hostname  string   // which the servers are told
	Namespace *os.File // a file of nsfs
	Process   *os.File // a pidfd of the first process
}

// Ask has servers give an address to a device of the container, and a process of the
// helper's word "dhcp", which begin starts and whose socket it gives, keep it, and a lock
// as long. Kind Unavailable: nobody answers.
func (by Container) Ask(device string, o dhcp.Order, lock int, begin func() (*os.File, error)) (l dhcp.Lease, err error) {
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
		link, err := c.LinkByName(device)
		if err != nil {
			return fmt.Errorf("look for %s in the container: %w", device, err)
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
	if err := fdpass.Send(int(sock.Fd()), o.Text(), fds[0], fds[1], int(by.Process.Fd()), lock); err != nil {
		return l, err
	}
	tv := unix.NsecToTimeval(int64(patience))
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
