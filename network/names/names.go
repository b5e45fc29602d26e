// Package names answers the questions for names that containers on networks of
// their own ask at 127.0.0.11: the helper's word "names", a confined process of
// which each such network has one, as long as it serves somebody.
//
//	engine                          resolver                       container
//	  Entry, View: files it reads     book   reads them on query
//	  sockets in the namespace,
//	  rules that lead 53 there
//	  Order, once ─────────────────▶ begin, and take rights away
//	  Sandbox, each container ─────▶ sandbox: its sockets ◀──────── 127.0.0.11:53
//	                                 answer   what it knows
//	                                 upstream what the host's servers know
//
// A sandbox is served until the process whose pidfd came with it has ended. What
// the engine keeps of the connection hangs up when the resolver is lost: the
// container's monitor then has another one take its place.
//
// It reads what containers and servers send, so it holds no right, no file and no
// address but those, and links neither fmt nor encoding/json. It makes no
// namespace, no rule and no file. Row 3, and the second door of room network for
// the helper.
package names

import "berth/base/codec"

// Server is where a container asks.
const (
	Server = "127.0.0.11"
	Port   = 53
)

// TTL is how long an answer about a container may be kept, in seconds: Docker's.
const TTL = 600

// Names of folders below the one that a resolver reads, see Order.
const (
	// Views has a View for each container that is served.
	Views = "views"
	// On has a folder for each network, with an Entry for each container on it.
	On = "on"
)

// Order is what a resolver is told, once, with three descriptors: a listening
// socket of type SOCK_SEQPACKET, the file of the lock under which sandboxes are
// handed over, and the folder with Views and On.
type Order struct {
	Boot string // id of this boot: files of another one count for nothing
	// Conf is the host's resolv.conf.
	Conf string
	// OOMScoreAdj is set where that is allowed.
	OOMScoreAdj int
}

// OrderFDs is how many descriptors come with it.
const OrderFDs = 3

func (o *Order) wire(c *codec.Coder) {
	c.Str(&o.Boot)
	c.Str(&o.Conf)
	c.Int(&o.OOMScoreAdj)
}

// Sandbox hands over a container, with three descriptors: its UDP and its TCP
// socket and a pidfd of its first process. One that is served already is served at
// these instead.
type Sandbox struct{ Container string }

// SandboxFDs is how many descriptors come with it.
const SandboxFDs = 3

func (s *Sandbox) wire(c *codec.Coder) { c.Str(&s.Container) }

// message is an Order or a Sandbox.
type message interface{ wire(*codec.Coder) }

// Encode makes bytes of a message.
func Encode(m message) []byte {
	var c codec.Coder
	m.wire(&c)
	return c.Buf
}

// decode reads all of b into m, and reports whether it was one.
func decode(b []byte, m message) bool {
	c := codec.Decode(b)
	m.wire(c)
	return c.Err == nil && len(c.Buf) == 0
}
