package nft

import (
	"encoding/binary"
	"slices"

	"golang.org/x/sys/unix"

	"berth/network/relay"
)

// Datatypes of nft(8), by which it shows keys; a concatenation has six bits for
// each part.
const (
	typeIPv4, typeIPv6, typeEther = 7, 8, 9
	typeProtocol, typePort        = 12, 13
	typeDevice                    = 41
)

var typeSize = map[uint32]uint32{
	typeIPv4: 4, typeIPv6: 16, typeEther: 6, typeProtocol: 1, typePort: 2, typeDevice: unix.IFNAMSIZ,
}

// set is a set, or a map if it has data.
type set struct {
	family    byte
	name      string
	key, data []uint32 // datatypes, several: concatenated
	interval  bool
}

// The sets of the table, each with what it means.
var sets = []set{
	// networks are our bridges; same has each twice, for what stays in it, talk
	// those whose containers may reach each other, internal those without a way
	// out.
	{inet, "networks", []uint32{typeDevice}, nil, false},
	{inet, "same", []uint32{typeDevice, typeDevice}, nil, false},
	{inet, "talk", []uint32{typeDevice, typeDevice}, nil, false},
	{inet, "internal", []uint32{typeDevice}, nil, false},
	// mingle are networks that reach each other; trusting are devices of the host,
	// each with a network whose published ports are reached directly by way of it.
	{inet, "mingle", []uint32{typeDevice}, nil, false},
	{inet, "trusting", []uint32{typeDevice, typeDevice}, nil, false},
	// opened are devices on which we switched forwarding on, opened6 the same of IPv6;
	// within are bridges among them, each twice, for what they pass on without routing
	// it.
	{inet, "opened", []uint32{typeDevice}, nil, false},
	{inet, "opened6", []uint32{typeDevice}, nil, false},
	{inet, "within", []uint32{typeDevice, typeDevice}, nil, false},
	// subnets are those of all networks, nat those that go out with an address of
	// the host.
	{inet, "subnets4", []uint32{typeIPv4}, nil, true},
	{inet, "subnets6", []uint32{typeIPv6}, nil, true},
	{inet, "nat4", []uint32{typeIPv4}, nil, true},
	{inet, "nat6", []uint32{typeIPv6}, nil, true},
	// routed are those whose open ports are reached directly by everybody, open
	// those of which all ports are, from outside; port are the open ports.
	{inet, "routed4", []uint32{typeIPv4}, nil, true},
	{inet, "routed6", []uint32{typeIPv6}, nil, true},
	{inet, "open4", []uint32{typeIPv4}, nil, true},
	{inet, "open6", []uint32{typeIPv6}, nil, true},
	{inet, "port4", []uint32{typeIPv4, typeProtocol, typePort}, nil, true},
	{inet, "port6", []uint32{typeIPv6, typeProtocol, typePort}, nil, true},
	// publish leads a port of any address of the host to one of a container, at
	// one of a certain address; in range the port stays.
	{inet, "publish4", []uint32{typeProtocol, typePort}, []uint32{typeIPv4, typePort}, false},
	{inet, "publish6", []uint32{typeProtocol, typePort}, []uint32{typeIPv6, typePort}, false},
	{inet, "publish4_at", []uint32{typeIPv4, typeProtocol, typePort}, []uint32{typeIPv4, typePort}, false},
	{inet, "publish6_at", []uint32{typeIPv6, typeProtocol, typePort}, []uint32{typeIPv6, typePort}, false},
	{inet, "range4", []uint32{typeProtocol, typePort}, []uint32{typeIPv4}, true},
	{inet, "range6", []uint32{typeProtocol, typePort}, []uint32{typeIPv6}, true},
	{inet, "range4_at", []uint32{typeIPv4, typeProtocol, typePort}, []uint32{typeIPv4}, true},
	{inet, "range6_at", []uint32{typeIPv6, typeProtocol, typePort}, []uint32{typeIPv6}, true},
	// relayed6 are published ports where a program of ours listens: at ::1, or at all
	// addresses of the host, as no rule leads from IPv6 to a container that has IPv4 alone.
	{inet, "relayed6", []uint32{typeProtocol, typePort}, nil, false},
	{inet, "relayed6_at", []uint32{typeIPv6, typeProtocol, typePort}, nil, false},
	// trusted are ports of bridges that may claim anything; the others say which
	// addresses each of the rest may claim. A port of ours that is in none, as it
	// belongs to no container any more, gets nothing through.
	{bridge, "trusted", []uint32{typeDevice}, nil, false},
	{bridge, "link", []uint32{typeDevice, typeEther}, nil, false},
	{bridge, "arp", []uint32{typeDevice, typeIPv4}, nil, false},
	{bridge, "neighbour", []uint32{typeDevice, typeIPv6}, nil, false},
}

// chain is a chain; with a kind it hangs on a hook.
type chain struct {
	family   byte
	name     string
	kind     string
	hook     uint32
	priority int32
	rules    []rule
}

const loopback4 = 127 // first byte of the host's loopback addresses

var loopback6 = append(make([]byte, 15), 1)

func chains(ports string, relays bool) []chain {
	list := []chain{
		{inet, "raw", "filter", unix.NF_INET_PRE_ROUTING, -300, rawRules()},
		{inet, "dstnat", "nat", unix.NF_INET_PRE_ROUTING, -100, []rule{all(localDestination(), jump("publish"))}},
		{inet, "dstnat_local", "nat", unix.NF_INET_LOCAL_OUT, -100, localRules()},
		{inet, "forward", "filter", unix.NF_INET_FORWARD, 0, forwardRules()},
		{inet, "srcnat", "nat", unix.NF_INET_POST_ROUTING, 100, sourceRules()},
		{inet, "publish", "", 0, 0, publishRules()},
		{inet, "to", "", 0, 0, toRules()},
		{inet, "from", "", 0, 0, fromRules()},
		{bridge, "port", "filter", unix.NF_INET_PRE_ROUTING, -300, []rule{all(inputPrefix(ports), inputNotIn("trusted"), jump("claims"))}},
		{bridge, "claims", "", 0, 0, claimRules()},
	}
	if relays {
		list = append(list, backChains()...)
	}
	return list
}

// backChains mark what answers a relay's connections, which bear an address of elsewhere:
// bridge.WayBack leads packets with that mark to the relay. A relay marks its sockets.
func backChains() []chain {
	const before = -150 // after connection tracking; of what is marked by the mangle tables of others
	number := func(v uint32) []byte { return binary.NativeEndian.AppendUint32(nil, v) }
	return []chain{
		{inet, "relay", "filter", unix.NF_INET_LOCAL_OUT, before, []rule{
			all(meta(unix.NFT_META_MARK, r0), is(number(relay.Mark)), setConntrackMark()),
		}},
		{inet, "back", "filter", unix.NF_INET_PRE_ROUTING, before, []rule{
			all(conntrack(unix.NFT_CT_MARK), is(number(relay.Mark)), answers(), constant(number(relay.Back)), setMark()),
		}},
	}
}

// rawRules guards the host's loopback: route_localnet on our bridges, and the
// maps of ports published on 127.0.0.1, would let others reach it.
func rawRules() []rule {
	if !guardLoopback {
		return nil
	}
	return []rule{all(notInput("lo"), version(unix.NFPROTO_IPV4),
		payload(unix.NFT_PAYLOAD_NETWORK_HEADER, 16, 1, r0), is([]byte{loopback4}), drop())}
}

// localRules lead the host's own packets to published ports, but for those to ::1 for which
// a program of ours listens.
func localRules() []rule {
	v6, to := version(unix.NFPROTO_IPV6), address(unix.NFPROTO_IPV6, false, r0)
	return []rule{
		all(v6, to, protocolAndPort(r0+4), in("relayed6_at"), accept()),
		all(v6, to, is(loopback6), protocolAndPort(r0), in("relayed6"), accept()),
		all(localDestination(), jump("publish")),
	}
}

// publishRules is reached for packets to an address of this host. What is not
// rewritten comes to the host's programs: to a relay from an internal network nothing does.
func publishRules() []rule {
	return append(families(func(f ipFamily) []rule {
		at := append([]expression{f.to(r0)}, protocolAndPort(r0+f.width)...)
		return []rule{
			all(f.version(), at, translate("publish"+f.suffix+"_at"), destination(f.family, true)),
			all(f.version(), protocolAndPort(r0), translate("publish"+f.suffix), destination(f.family, true)),
			all(f.version(), at, translate("range"+f.suffix+"_at"), destination(f.family, false)),
			all(f.version(), protocolAndPort(r0), translate("range"+f.suffix), destination(f.family, false)),
		}
	}),
		all(inputIn("internal"), version(unix.NFPROTO_IPV6), address(unix.NFPROTO_IPV6, false, r0), protocolAndPort(r0+4), in("relayed6_at"), drop()),
		all(inputIn("internal"), version(unix.NFPROTO_IPV6), protocolAndPort(r0), in("relayed6"), drop()))
}

func forwardRules() []rule {
	return []rule{
		all(established(), accept()),
		all(outputIn("networks"), jump("to")),
		all(inputIn("networks"), jump("from")),
		all(version(unix.NFPROTO_IPV4), inputIn("opened"), wayNotIn("within"), notTranslated(), drop()),
		all(version(unix.NFPROTO_IPV6), inputIn("opened6"), wayNotIn("within"), notTranslated(), drop()),
	}
}

// toRules is for what goes to one of our networks.
func toRules() []rule {
	if !guardUnpublished {
		return []rule{all(accept())}
	}
	return slices.Concat(
		[]rule{
			all(wayIn("talk"), accept()),
			all(wayIn("same"), translated(), accept()), // through a published port and back
			all(wayIn("same"), drop()),
			all(inputIn("internal"), drop()),
		},
		families(func(f ipFamily) []rule {
			return []rule{
				all(f.version(), f.to(r0), in("routed"+f.suffix), carries(f.icmp), accept()),
				all(f.version(), f.to(r0), in("routed"+f.suffix), f.openPort(), accept()),
			}
		}),
		[]rule{
			all(inputIn("mingle"), outputIn("mingle"), accept()),
			all(translated(), accept()),
			all(inputIn("networks"), drop()), // networks do not reach each other
		},
		families(func(f ipFamily) []rule {
			return []rule{
				all(f.version(), f.to(r0), in("open"+f.suffix), accept()),
				all(f.version(), wayIn("trusting"), f.openPort(), accept()),
			}
		}),
		[]rule{all(drop())},
	)
}

// ipFamily is IPv4 or IPv6, for rules that are there once for each.
type ipFamily struct {
	family byte
	icmp   byte
	width  uint32 // of an address, in registers
	suffix string // of its sets
}

func families(f func(ipFamily) []rule) []rule {
	return append(f(ipFamily{unix.NFPROTO_IPV4, unix.IPPROTO_ICMP, 1, "4"}), f(ipFamily{unix.NFPROTO_IPV6, unix.IPPROTO_ICMPV6, 4, "6"})...)
}

func (f ipFamily) version() []expression { return version(f.family) }

// to loads the destination.
func (f ipFamily) to(register uint32) expression { return address(f.family, false, register) }

// openPort looks up where the packet goes to among the open ports.
func (f ipFamily) openPort() []expression {
	return append(append([]expression{f.to(r0)}, protocolAndPort(r0+f.width)...), in("port"+f.suffix))
}

// fromRules is for what leaves one of our networks for elsewhere.
func fromRules() []rule {
	return []rule{
		all(inputIn("internal"), drop()),
		all(accept()),
	}
}

func sourceRules() []rule {
	v4, v6 := version(unix.NFPROTO_IPV4), version(unix.NFPROTO_IPV6)
	from4, from6 := address(unix.NFPROTO_IPV4, true, r0), address(unix.NFPROTO_IPV6, true, r0)
	return []rule{
		// The host's loopback, and containers that go through a published port
		// back into their own network, must get their answers by way of the host.
		all(v4, payload(unix.NFT_PAYLOAD_NETWORK_HEADER, 12, 1, r0), is([]byte{loopback4}), outputIn("networks"), masquerade()),
		all(v6, from6, is(loopback6), outputIn("networks"), masquerade()),
		all(translated(), v4, from4, in("subnets4"), outputIn("networks"), masquerade()),
		all(translated(), v6, from6, in("subnets6"), outputIn("networks"), masquerade()),
		all(v4, from4, in("nat4"), outputNotIn("networks"), masquerade()),
		all(v6, from6, in("nat6"), outputNotIn("networks"), masquerade()),
	}
}

// claimRules bounds what a container may say of itself on its bridge.
func claimRules() []rule {
	if !guardClaims {
		return nil
	}
	const (
		arp, ipv6                   = 0x0806, 0x86dd
		routerSolicitation          = 133
		routerAdvertisement         = 134
		neighbourSolicitation       = 135
		neighbourAdvertisement      = 136
		redirect                    = 137
		dhcpServer, dhcpServer6     = 67, 547
		arpSender, arpSenderAddress = 8, 14 // offsets
	)
	name := meta(unix.NFT_META_IIFNAME, r0)
	network, transport := uint32(unix.NFT_PAYLOAD_NETWORK_HEADER), uint32(unix.NFT_PAYLOAD_TRANSPORT_HEADER)
	icmp := func(kind byte) []expression {
		return append(append(ether(ipv6), carries(unix.IPPROTO_ICMPV6)...), payload(transport, 0, 1, r0), is([]byte{kind}))
	}
	from := func(port byte, high byte) []expression {
		return append(carries(unix.IPPROTO_UDP), payload(transport, 0, 2, r0), is([]byte{high, port}))
	}
	// Who solicits names its own link address for the address that it has, or
	// comes from none.
	solicits := func(kind byte) rule {
		return all(icmp(kind), payload(network, 8, 16, r0), not(make([]byte, 16)), name, payload(network, 8, 16, r0+4), notIn("neighbour"), drop())
	}
	return []rule{
		all(name, payload(unix.NFT_PAYLOAD_LL_HEADER, 6, 6, r0+4), notIn("link"), drop()),
		all(ether(arp), name, payload(network, arpSender, 6, r0+4), notIn("link"), drop()),
		// A sender of 0.0.0.0 asks whether an address is free and claims none.
		all(ether(arp), payload(network, arpSenderAddress, 4, r0), not(make([]byte, 4)),
			name, payload(network, arpSenderAddress, 4, r0+4), notIn("arp"), drop()),
		all(icmp(routerAdvertisement), drop()),
		all(icmp(redirect), drop()),
		solicits(routerSolicitation),
		solicits(neighbourSolicitation),
		all(icmp(neighbourAdvertisement), name, payload(transport, 8, 16, r0+4), notIn("neighbour"), drop()),
		all(from(dhcpServer, 0), drop()),
		all(from(dhcpServer6&0xff, dhcpServer6>>8), drop()),
	}
}
