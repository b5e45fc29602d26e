package nft

import (
	"fmt"
	"net/netip"

	"golang.org/x/sys/unix"

	"berth/sys/netlink"
)

// NamesTable is the table that Turn makes in a container's namespace.
const NamesTable = "berth-names"

// Turns are the ports of a server, instead of the one at which it is asked.
type Turns struct {
	Server   netip.Addr // IPv4
	Asked    uint16
	UDP, TCP uint16
}

// Turn has what the namespace of the connection's sends to a port of a server
// reach another port of it, and answers come from the first: so a program there can
// listen at that port itself. The table of an earlier call goes. Headers are
// rewritten packet by packet, on the way out: the namespace need not follow
// connections. Where it does, it sees the request when it is rewritten and the
// answer before it is: one connection.
func (c *Conn) Turn(t Turns) error {
	list := []netlink.Request{
		c.tableRequest(unix.NFT_MSG_NEWTABLE, ipv4), c.tableRequest(unix.NFT_MSG_DELTABLE, ipv4), c.tableRequest(unix.NFT_MSG_NEWTABLE, ipv4),
	}
	all := t.chains()
	for _, ch := range all {
		list = append(list, c.chainRequest(ch))
	}
	for _, ch := range all {
		for _, r := range ch.rules {
			list = append(list, c.ruleRequest(ch, r))
		}
	}
	if i, err := c.commit(list); err != nil {
		return fmt.Errorf("lead questions for names to their resolver (step %d of %d): %w", i+1, len(list), err)
	}
	return nil
}

// ipv4 is the family of a table of IPv4 alone.
const ipv4 = unix.NFPROTO_IPV4

func (t Turns) chains() []chain {
	const before, after = -300, 300 // connection tracking is at -200
	server := t.Server.As4()
	turn := func(source bool, protocol byte, from, to uint16) rule {
		offset := uint32(2)
		if source {
			offset = 0
		}
		return all(
			address(ipv4, source, r0), is(server[:]), carries(protocol),
			payload(unix.NFT_PAYLOAD_TRANSPORT_HEADER, offset, 2, r0), is(port(from)),
			constant(port(to)), setPort(offset, protocol),
		)
	}
	return []chain{
		{ipv4, "ask", "filter", unix.NF_INET_LOCAL_OUT, before, []rule{
			turn(false, unix.IPPROTO_UDP, t.Asked, t.UDP), turn(false, unix.IPPROTO_TCP, t.Asked, t.TCP),
		}},
		{ipv4, "answer", "filter", unix.NF_INET_LOCAL_OUT, after, []rule{
			turn(true, unix.IPPROTO_UDP, t.UDP, t.Asked), turn(true, unix.IPPROTO_TCP, t.TCP, t.Asked),
		}},
	}
}

// constant puts bytes into r0.
func constant(b []byte) expression {
	return step("immediate", attrs(nil).number(unix.NFTA_IMMEDIATE_DREG, r0).value(unix.NFTA_IMMEDIATE_DATA, b))
}

// setPort writes r0 over a port of the transport header, and mends the checksum.
func setPort(offset uint32, protocol byte) expression {
	checksum := uint32(6) // where UDP has it
	if protocol == unix.IPPROTO_TCP {
		checksum = 16
	}
	return step("payload", attrs(nil).number(unix.NFTA_PAYLOAD_SREG, r0).number(unix.NFTA_PAYLOAD_BASE, unix.NFT_PAYLOAD_TRANSPORT_HEADER).
		number(unix.NFTA_PAYLOAD_OFFSET, offset).number(unix.NFTA_PAYLOAD_LEN, 2).
		number(unix.NFTA_PAYLOAD_CSUM_TYPE, unix.NFT_PAYLOAD_CSUM_INET).number(unix.NFTA_PAYLOAD_CSUM_OFFSET, checksum))
}
