// Package relay carries what comes to published ports at the host's IPv6 addresses to
// a container that has IPv4 alone, as no rule of the firewall leads from one family to
// the other, and what comes to them at ::1 to any, as some hosts drop the answers to
// that. To an ordinary user's containers it carries all that comes to their published
// ports, as they are in a network namespace to which no packet of the host's is led. It is
// the helper's word "relay", a confined process that a container has from the first who
// comes there until its end.
//
//	who comes                monitor                  engine                    relay
//	  ───▶ a door: a socket    watches a bell, which
//	       that listens        rings when one waits
//	                           `berth container-relay ──▶ Order, doors ───────▶ begin, and
//	                                                                            take rights away
//	                           watches the relay's ◀──── its other end          accept, dial,
//	                           socket                                           copy
//
// It ends when that socket hangs up: the container has ended, its ports are others, or
// its monitor was lost. If it is lost itself, the bell is hung up again. What waits at a
// door meanwhile is not lost, as the door is the monitor's.
//
// It reads what anybody sends, so it holds no right, no file and no address but the
// doors, connects to the container's ports alone, and links neither fmt nor net. The
// container sees the bridge's address, or with Order.Keep the peer's own. Row 3, and a
// door of room network for the helper.
package relay

import "berth/base/codec"

// Marks of a relay that keeps peers' addresses: Mark is on its sockets (SO_MARK) and is
// noted with their connections, Back is put on what answers them, for it to be led to the
// relay and not to where the peer lives. Back is the number of the routing table, too.
// Package nft has the rules, package bridge the routes.
const (
	Mark = 0xbe01
	Back = 0xbe02
)

// Door is a socket of the host's, and where it leads.
type Door struct {
	Port uint16 // the container's
	// Datagrams: the socket is one of UDP, else it is of TCP and listens.
	Datagrams bool
}

// MaxDoors is how many one relay has: their sockets come with one message (SCM_MAX_FD).
const MaxDoors = 250

// Subnet is a range of addresses: the first Bits of IP, of IPv4 mapped, and so at least 96.
type Subnet struct {
	IP   [16]byte
	Bits int
}

// MaxSubnets is how many of them an order has: more do not fit.
const MaxSubnets = 80

// Order is what a relay is told, once, with the sockets of its doors in their order.
type Order struct {
	// OOMScoreAdj is set where that is allowed.
	OOMScoreAdj int
	// To and To4 are addresses of the container, whither peers that come by IPv6 and by
	// IPv4 are led. One of IPv4 is mapped (RFC 4291, 2.5.5.2); zero: they are not served.
	To, To4 [16]byte
	// Keep has the container see the peer's own address, where it has one that leads back:
	// the host's loopback, addresses of a link and of Own are none. The relay then is in the
	// namespace that routes to the container, and keeps CAP_NET_RAW there, by which sockets
	// are bound to addresses of others (ip(7), IP_TRANSPARENT) and marked, and may bind to
	// any port.
	Keep bool
	// Own are the subnets of the namespace's own networks, the container's first.
	Own   []Subnet
	Doors []Door
}

func (o *Order) wire(c *codec.Coder) {
	c.Int(&o.OOMScoreAdj)
	ip(c, &o.To)
	ip(c, &o.To4)
	c.Bool(&o.Keep)
	codec.List(c, &o.Own, func(c *codec.Coder, s *Subnet) {
		ip(c, &s.IP)
		c.Int(&s.Bits)
	})
	codec.List(c, &o.Doors, func(c *codec.Coder, d *Door) {
		c.U16(&d.Port)
		c.Bool(&d.Datagrams)
	})
}

func ip(c *codec.Coder, a *[16]byte) {
	for i := 0; i < len(a); i += 2 {
		pair := uint16(a[i])<<8 | uint16(a[i+1])
		c.U16(&pair)
		a[i], a[i+1] = byte(pair>>8), byte(pair)
	}
}

// Text is the order on its way.
func (o *Order) Text() []byte {
	var c codec.Coder
	o.wire(&c)
	return c.Buf
}
