// Package relay carries what comes to published ports at the host's IPv6 addresses to
// a container that has IPv4 alone, as no rule of the firewall leads from one family to
// the other, and what comes to them at ::1 to any, as some hosts drop the answers to
// that. It is the helper's word "relay", a confined process that a container has from the
// first who comes there until its end.
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
// container sees the bridge's address. Row 3, and a door of room network for the helper.
package relay

import "berth/base/codec"

// Door is a socket of the host's, and where it leads.
type Door struct {
	To   [16]byte // an address of the container; of IPv4: mapped (RFC 4291, 2.5.5.2)
	Port uint16
	// Datagrams: the socket is one of UDP, else it is of TCP and listens.
	Datagrams bool
}

// MaxDoors is how many one relay has: more do not fit its order.
const MaxDoors = 250

// Order is what a relay is told, once, with the sockets of its doors in their order.
type Order struct {
	// OOMScoreAdj is set where that is allowed.
	OOMScoreAdj int
	Doors       []Door
}

func (o *Order) wire(c *codec.Coder) {
	c.Int(&o.OOMScoreAdj)
	codec.List(c, &o.Doors, func(c *codec.Coder, d *Door) {
		for i := 0; i < len(d.To); i += 2 {
			pair := uint16(d.To[i])<<8 | uint16(d.To[i+1])
			c.U16(&pair)
			d.To[i], d.To[i+1] = byte(pair>>8), byte(pair)
		}
		c.U16(&d.Port)
		c.Bool(&d.Datagrams)
	})
}

// Text is the order on its way.
func (o *Order) Text() []byte {
	var c codec.Coder
	o.wire(&c)
	return c.Buf
}
