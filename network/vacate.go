package network

import (
	"fmt"
	"os"
	"slices"

	"berth/network/record"
	"berth/sys/netlink"
)

// plugged are the kinds of links that networks give to containers.
var plugged = []string{"veth", record.Macvlan, record.IPvlan}

// Vacate takes the links of a container's last run out of a namespace that others keep of
// it, which is to have those of the next: each name and, on a wire, each address is there
// once.
func (a *Attachment) Vacate(namespace *os.File) error {
	err := netlink.Inside(namespace, func() error {
		return removeLinks(func(l *netlink.Link) bool { return slices.Contains(plugged, l.Kind) })
	})
	if err != nil {
		return fmt.Errorf("connect container %s: take the links of its last run away: %w", a.Container, err)
	}
	return nil
}
