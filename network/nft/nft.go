// Package nft is the firewall: one table of ours, said to the kernel by netlink
// alone. Its rules never change; what changes are the elements of its sets and
// maps, and those of one verb change in one transaction. It decides nothing
// about networks and keeps no state but what the kernel has; it starts no
// program. Row 3, below network.
//
// The table berth exists twice, as nftables has families: inet for packets, and
// bridge for the frames of a container's port. docs/firewall.md shows both as
// nft(8) lists them, with the meaning of each set; ruleset.go is where they are
// made.
//
// A container's packets, in the order of the hooks:
//
//	raw          what claims to be for the host's loopback, from outside: dropped
//	dstnat       to a published port of an address of this host: to the container
//	forward      to or from one of our bridges: let through or dropped; else:
//	             where only we switched forwarding on, dropped
//	srcnat       out of a network: from the host's address
package nft

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"

	"berth/base/fault"
	"berth/sys/netlink"
)

// Names of our table, in each family, and of ports, unless a store has its own.
const (
	Table = "berth"
	Ports = "veth-"
)

// Conn is a connection to the firewall of the caller's network namespace, for
// one goroutine.
type Conn struct {
	c            *netlink.Conn
	table, ports string
	// Relays: published ports of this namespace are served by relays in it, which keep the
	// addresses of those who come; see backChains.
	Relays bool
}

// Open opens a connection for a table; ports is how the names of the host's ends
// of our veth pairs begin.
func Open(table, ports string) (*Conn, error) {
	c, err := netlink.OpenNetfilter()
	if err != nil {
		return nil, fmt.Errorf("open the firewall: %w", err)
	}
	return &Conn{c: c, table: table, ports: ports}, nil
}

// Close closes the connection.
func (c *Conn) Close() error { return c.c.Close() }

// commit carries requests out in one transaction. The first error is given
// together with the number of its request.
func (c *Conn) commit(list []netlink.Request) (int, error) { return c.commitAt(0, list) }

// commitAt is commit, unless the generation is another: ERESTART.
func (c *Conn) commitAt(generation uint32, list []netlink.Request) (int, error) {
	if len(list) == 0 {
		return 0, nil
	}
	errs, err := c.c.DoAll(frame(list, generation))
	if err != nil {
		return 0, err
	}
	for i, e := range errs {
		if e != nil {
			if errors.Is(e, unix.EOPNOTSUPP) || errors.Is(e, unix.EAFNOSUPPORT) {
				e = fault.Wrap(fault.Unsupported, fmt.Errorf("this kernel's nf_tables: %w", e))
			}
			return i - 1, e
		}
	}
	return 0, nil
}

// Generation is the kernel's count of changes to all firewall tables of the
// namespace: as long as it stays, nobody changed anything.
func (c *Conn) Generation() (uint32, error) {
	list, err := c.c.Do(unix.NFNL_SUBSYS_NFTABLES<<8|unix.NFT_MSG_GETGEN, 0, []byte{unix.AF_UNSPEC, 0, 0, 0})
	if err != nil {
		return 0, fmt.Errorf("ask for the firewall's generation: %w", err)
	}
	for _, m := range list {
		if len(m.Data) < 4 {
			continue
		}
		for _, a := range netlink.Attributes(m.Data[4:]) {
			if a.Type == unix.NFTA_GEN_ID && len(a.Data) == 4 {
				return uint32(a.Data[0])<<24 | uint32(a.Data[1])<<16 | uint32(a.Data[2])<<8 | uint32(a.Data[3]), nil
			}
		}
	}
	return 0, errors.New("ask for the firewall's generation: no answer")
}
