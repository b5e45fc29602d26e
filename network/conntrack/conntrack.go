// Package conntrack makes the kernel forget connections: those of UDP to
// published ports, which a client that keeps sending would hold to a container
// that is gone, or to the host itself. It changes no rule. Row 3, below network.
package conntrack

import (
	"encoding/binary"
	"errors"
	"fmt"

	"golang.org/x/sys/unix"

	"berth/sys/netlink"
)

// Range is a range of ports of the host.
type Range struct {
	First, Last uint16
}

// Messages and attributes of linux/netfilter/nfnetlink_conntrack.h.
const (
	subsystem            = 1 << 8
	messageGet           = 1
	messageDelete        = 2
	tupleOriginal        = 1
	tupleProtocol        = 2
	protocolNumber       = 1
	protocolDestination  = 3
	identity             = 12
	filter               = 25
	filterOriginal       = 1
	filterProtocolNumber = 1 << 3
)

// Flush forgets the UDP connections whose first packet went to one of these
// ports of the host.
func Flush(ranges []Range) error {
	if len(ranges) == 0 {
		return nil
	}
	c, err := netlink.OpenNetfilter()
	if err != nil {
		return fmt.Errorf("open connection tracking: %w", err)
	}
	defer c.Close()
	if err := flush(c, ranges); err != nil {
		return fmt.Errorf("forget connections of published ports: %w", err)
	}
	return nil
}

func flush(c *netlink.Conn, ranges []Range) error {
	// Both families at once: each look walks the table of the whole machine.
	head := []byte{unix.AF_UNSPEC, unix.NFNETLINK_V0, 0, 0}
	list, err := c.Do(subsystem|messageGet, unix.NLM_F_DUMP, append(head, onlyUDP()...))
	if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.EOPNOTSUPP) {
		list, err = c.Do(subsystem|messageGet, unix.NLM_F_DUMP, head) // a kernel that lists all or nothing
	}
	if err != nil {
		return err
	}
	for _, m := range list {
		if len(m.Data) < len(head) {
			continue
		}
		request := append([]byte(nil), m.Data[0], unix.NFNETLINK_V0, 0, 0)
		hit := false
		for _, a := range netlink.Attributes(m.Data[len(head):]) {
			switch a.Type {
			case tupleOriginal:
				hit = goesTo(a.Data, ranges)
				request = netlink.Nest(request, tupleOriginal, a.Data)
			case identity:
				request = netlink.Append(request, identity, a.Data)
			}
		}
		if !hit {
			continue
		}
		if _, err := c.Do(subsystem|messageDelete, 0, request); err != nil && !errors.Is(err, unix.ENOENT) {
			return err
		}
	}
	return nil
}

// onlyUDP asks the kernel for UDP's connections alone.
func onlyUDP() []byte {
	tuple := netlink.Nest(nil, tupleProtocol, netlink.Append(nil, protocolNumber, []byte{unix.IPPROTO_UDP}))
	b := netlink.Nest(nil, tupleOriginal, tuple)
	return netlink.Nest(b, filter, netlink.AppendUint32(nil, filterOriginal, filterProtocolNumber))
}

// goesTo reports whether a tuple is UDP's and to one of the ports.
func goesTo(tuple []byte, ranges []Range) bool {
	for _, a := range netlink.Attributes(tuple) {
		if a.Type != tupleProtocol {
			continue
		}
		udp, port := false, uint16(0)
		for _, p := range netlink.Attributes(a.Data) {
			switch {
			case p.Type == protocolNumber && len(p.Data) == 1:
				udp = p.Data[0] == unix.IPPROTO_UDP
			case p.Type == protocolDestination && len(p.Data) == 2:
				port = binary.BigEndian.Uint16(p.Data)
			}
		}
		for _, r := range ranges {
			if udp && r.First <= port && port <= r.Last {
				return true
			}
		}
	}
	return false
}
