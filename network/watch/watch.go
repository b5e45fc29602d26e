// Package watch waits for news of a host's rules, devices and forwarding. It looks at
// nothing itself. Row 3, for room network.
package watch

import (
	"context"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"berth/network/home"
	"berth/sys/netlink"
)

// How long the news have to be silent before somebody looks, how long he waits at most,
// and after how long he looks again where that failed.
const (
	Quiet = 100 * time.Millisecond
	Most  = time.Second
	retry = 5 * time.Second
)

// What the kernel tells of, linux/netfilter/nfnetlink.h and linux/rtnetlink.h.
const (
	groupRules = 7 // NFNLGRP_NFTABLES
	groupLinks = unix.RTNLGRP_LINK
	groupConf4 = unix.RTNLGRP_IPV4_NETCONF
	groupConf6 = unix.RTNLGRP_IPV6_NETCONF
)

// Watch calls look now, and then whenever somebody may have changed rules, devices or
// forwarding, until ctx ends. If look fails, it is called again a little later.
func Watch(ctx context.Context, at home.Place, look func() error) error {
	var rules, links *netlink.Listener
	err := at.Inside(func() (err error) {
		if rules, err = netlink.Listen(unix.NETLINK_NETFILTER, groupRules); err != nil {
			return err
		}
		if links, err = netlink.Listen(unix.NETLINK_ROUTE, groupLinks, groupConf4, groupConf6); err != nil {
			rules.Close()
		}
		return err
	})
	if err != nil {
		return err
	}
	defer rules.Close()
	defer links.Close()
	news, failed := make(chan struct{}, 1), make(chan error, 2)
	for _, l := range []*netlink.Listener{rules, links} {
		go func() {
			for {
				if err := l.Wait(); err != nil {
					failed <- os.NewSyscallError("listen", err)
					return
				}
				select {
				case news <- struct{}{}:
				default:
				}
			}
		}()
	}
	for {
		var again <-chan time.Time
		if look() != nil {
			again = time.After(retry)
		}
		select {
		case <-ctx.Done():
			return nil
		case err := <-failed:
			return err
		case <-again:
			continue
		case <-news:
		}
		most := time.After(Most)
		for quiet := false; !quiet; {
			select {
			case <-ctx.Done():
				return nil
			case <-news:
			case <-time.After(Quiet):
				quiet = true
			case <-most:
				quiet = true
			}
		}
	}
}
