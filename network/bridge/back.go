package bridge

import (
	"errors"
	"fmt"
	"slices"

	"golang.org/x/sys/unix"

	"berth/network/relay"
	"berth/sys/netlink"
)

// backPriority is of the rule that leads answers to a relay: before those of the
// administrator, after that of the host's own addresses.
const backPriority = 100

// loopbackIndex is the number of lo in each network namespace.
const loopbackIndex = 1

// WayBack leads packets that package nft has marked as answers to a relay, which bear
// addresses of elsewhere, to the programs of this namespace. What is there already stays.
func WayBack(c *netlink.Conn) error {
	list := []netlink.Request{netlink.LinkRequest(0, loopbackIndex, netlink.Up, nil)} // routes need it
	for _, family := range []byte{unix.AF_INET, unix.AF_INET6} {
		list = append(list, netlink.EverywhereRequest(family, loopbackIndex, relay.Back), netlink.RuleRequest(family, backPriority, relay.Back, relay.Back))
	}
	return each(c, "lead answers to a relay", list, unix.EEXIST)
}

// NoWayBack takes that away.
func NoWayBack(c *netlink.Conn) error {
	var list []netlink.Request
	for _, family := range []byte{unix.AF_INET, unix.AF_INET6} {
		list = append(list, netlink.DeleteEverywhereRequest(family, loopbackIndex, relay.Back), netlink.DeleteRuleRequest(family, backPriority, relay.Back, relay.Back))
	}
	return each(c, "lead no answers to relays", list, unix.ENOENT, unix.ESRCH)
}

// each carries requests out, of which the later ones are of IPv6: the kernel may be
// without it.
func each(c *netlink.Conn, what string, list []netlink.Request, fine ...error) error {
	errs, err := c.DoAll(list)
	if err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	for i, err := range errs {
		if err == nil || i >= len(list)-2 && (errors.Is(err, unix.EAFNOSUPPORT) || errors.Is(err, unix.EOPNOTSUPP)) {
			continue
		}
		if !slices.ContainsFunc(fine, func(f error) bool { return errors.Is(err, f) }) {
			return fmt.Errorf("%s: %w", what, err)
		}
	}
	return nil
}
