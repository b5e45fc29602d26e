// Package dhcp asks a network's DHCP server (RFC 2131, IPv4) for the address of a
// container, gives it to the container's device, and renews it for as long as the
// container runs. It runs in the helper program, one process a network of a
// container, confined before it reads a byte of the wire; it links no fmt. What it
// reads is others': each length is checked, and what is not understood is left.
// Row 3, below network.
package dhcp

import (
	"encoding/binary"
	"net/netip"
	"time"
)

// kind is the type of a message.
type kind byte

const (
	discover kind = 1
	offer    kind = 2
	request  kind = 3
	ack      kind = 5
	nak      kind = 6
	release  kind = 7
)

// Options that are read or written.
const (
	optionMask          = 1
	optionRouter        = 3
	optionNames         = 6
	optionHost          = 12
	optionDomain        = 15
	optionMTU           = 26
	optionAddress       = 50
	optionTime          = 51
	optionOverload      = 52
	optionKind          = 53
	optionServer        = 54
	optionWanted        = 55
	optionSize          = 57
	optionRenew         = 58
	optionRebind        = 59
	optionIdentity      = 61
	optionSearch        = 119
	optionEnd      byte = 255
)

// headSize is that of a message before its options, cookie included.
const headSize = 240

// least is the size below which some relays drop a message (RFC 1542, 2.1).
const least = 300

var cookie = [4]byte{99, 130, 83, 99}

// message is one of either side, as far as we need it.
type message struct {
	kind   kind
	xid    uint32
	mac    [6]byte
	client netip.Addr // ciaddr: the address that the client has
	yours  netip.Addr // yiaddr: the one that it is given
	asked  netip.Addr
	server netip.Addr // its identifier
	host   string
	lease  Lease
}

// Lease is what a server gave.
type Lease struct {
	Address netip.Prefix
	Router  netip.Addr // zero: none
	Server  netip.Addr
	Names   []netip.Addr // name servers
	Search  []string     // domains that names without dots are looked for in
	// For is how long it holds, Renew and Rebind when to ask again, of the same
	// server and of all.
	For, Renew, Rebind time.Duration
}

// encode is the message of a client.
func (m *message) encode() []byte {
	b := make([]byte, headSize, 2*least)
	b[0], b[1], b[2] = 1, 1, 6 // a request, of Ethernet
	binary.BigEndian.PutUint32(b[4:], m.xid)
	b[10] = 0x80 // the answer is to be broadcast: the device has no address yet
	if m.client.IsValid() {
		a := m.client.As4()
		copy(b[12:], a[:])
	}
	copy(b[28:], m.mac[:])
	copy(b[236:], cookie[:])
	add := func(option byte, value ...byte) { b = append(append(b, option, byte(len(value))), value...) }
	add(optionKind, byte(m.kind))
	add(optionIdentity, append([]byte{1}, m.mac[:]...)...)
	for _, o := range []struct {
		option byte
		a      netip.Addr
	}{{optionAddress, m.asked}, {optionServer, m.server}} {
		if o.a.IsValid() {
			a := o.a.As4()
			add(o.option, a[:]...)
		}
	}
	if m.host != "" {
		add(optionHost, []byte(m.host[:min(len(m.host), 63)])...)
	}
	if m.kind == discover || m.kind == request {
		add(optionSize, 2, 64) // 576: what each host takes
		add(optionWanted, optionMask, optionRouter, optionTime, optionServer, optionRenew, optionRebind, optionNames, optionDomain, optionSearch)
	}
	b = append(b, optionEnd)
	return append(b, make([]byte, max(0, least-len(b)))...)
}

// decode reads a message of a server; ok is false for what is none.
func decode(b []byte) (m message, ok bool) {
	if len(b) < headSize || b[0] != 2 || b[1] != 1 || b[2] != 6 || [4]byte(b[236:240]) != cookie {
		return m, false
	}
	m.xid = binary.BigEndian.Uint32(b[4:])
	m.yours = netip.AddrFrom4([4]byte(b[16:20]))
	copy(m.mac[:], b[28:34])
	o := options{}
	o.read(b[headSize:])
	if v := o[optionOverload]; len(v) == 1 { // sname and file hold options, too
		if v[0]&1 != 0 {
			o.read(b[108:236])
		}
		if v[0]&2 != 0 {
			o.read(b[44:108])
		}
	}
	if v := o[optionKind]; len(v) == 1 {
		m.kind = kind(v[0])
	}
	m.server = o.address(optionServer)
	m.lease = Lease{Router: o.address(optionRouter), Server: m.server, For: o.seconds(optionTime), Renew: o.seconds(optionRenew), Rebind: o.seconds(optionRebind)}
	m.lease.Names, m.lease.Search = o.servers(), o.domains()
	m.lease.Address = netip.PrefixFrom(m.yours, o.bits(m.yours))
	return m, m.kind == offer || m.kind == ack || m.kind == nak
}

// options are the values by number; one that comes in parts is put together (RFC 3396).
type options map[byte][]byte

func (o options) read(b []byte) {
	for len(b) > 0 && b[0] != optionEnd {
		if b[0] == 0 {
			b = b[1:]
			continue
		}
		if len(b) < 2 || len(b) < 2+int(b[1]) {
			return
		}
		o[b[0]] = append(o[b[0]], b[2:2+int(b[1])]...)
		b = b[2+int(b[1]):]
	}
}

// address is the first of an option's, zero if there is none that a host can have.
func (o options) address(option byte) netip.Addr {
	v := o[option]
	if len(v) < 4 {
		return netip.Addr{}
	}
	if a := netip.AddrFrom4([4]byte(v[:4])); usable(a) {
		return a
	}
	return netip.Addr{}
}

// usable reports whether a host may have an address.
func usable(a netip.Addr) bool {
	return a.Is4() && !a.IsUnspecified() && !a.IsLoopback() && !a.IsMulticast() && a.As4()[0] < 224
}

// forever is a lease without an end.
const forever = 1<<32 - 1

func (o options) seconds(option byte) time.Duration {
	v := o[option]
	if len(v) != 4 {
		return 0
	}
	return time.Duration(binary.BigEndian.Uint32(v)) * time.Second
}

// bits is the size of the subnet, by its mask, else by the address's class.
func (o options) bits(a netip.Addr) int {
	if v := o[optionMask]; len(v) == 4 {
		mask, bits := binary.BigEndian.Uint32(v), 0
		for mask&(1<<31) != 0 {
			mask, bits = mask<<1, bits+1
		}
		if mask == 0 && bits > 0 {
			return bits
		}
	}
	switch first := a.As4()[0]; {
	case first < 128:
		return 8
	case first < 192:
		return 16
	}
	return 24
}

// shortest is a lease that can be kept: one of less would be asked for all the time.
const shortest = 4 * time.Second

// settle fills in what the server left open of an acknowledged lease; ok is false for
// one that no device can have.
func (l Lease) settle() (_ Lease, ok bool) {
	if !usable(l.Address.Addr()) || l.For < shortest {
		return l, false
	}
	if l.Renew < time.Second || l.Renew >= l.For {
		l.Renew = l.For / 2
	}
	if l.Rebind <= l.Renew || l.Rebind >= l.For {
		l.Rebind = max(l.Renew, l.For/8*7)
	}
	if l.Router == l.Address.Addr() {
		l.Router = netip.Addr{}
	}
	return l, true
}
