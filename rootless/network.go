package rootless

import (
	"net"
	"net/netip"
	"os"
	"strconv"

	"berth/base/fault"
	"berth/rootless/uplink/order"
)

// Network is the network of an ordinary user's containers: a network namespace that
// belongs to the user's namespace and is kept open by the same holder. Bridges,
// firewall and names of the user's networks live in it; sockets of published ports do
// not, they are the host's. It is used from inside.
type Network struct {
	Run string // the user's run folder
	// ReachHost: containers reach the host's own addresses, but for its loopback's.
	ReachHost bool
	// Warn is told why containers reach nothing outside, where the host lets nobody make a
	// way out; may be nil.
	Warn func(error)
}

// HostAddress is the host's own address on its way to the world, by which containers
// reach it with ReachHost; invalid if it has no such way.
func HostAddress() netip.Addr {
	for _, far := range []string{"192.0.2.1:9", "[2001:db8::1]:9"} { // nothing is sent there (RFC 5737, RFC 3849)
		c, err := net.Dial("udp", far)
		if err != nil {
			continue
		}
		defer c.Close()
		if a, ok := c.LocalAddr().(*net.UDPAddr); ok {
			return a.AddrPort().Addr().Unmap()
		}
	}
	return netip.Addr{}
}

// Open opens the network namespace, a file of nsfs that is the caller's. Kind
// Unavailable: its holder was killed; the user's next command makes another.
func (n *Network) Open() (*os.File, error) {
	h := &home{dir: n.Run}
	now, err := h.read()
	if err != nil {
		return nil, err
	}
	if now.pid != 0 {
		if f := openNamespace(now.pid, "ns/net", now.net); f != nil {
			if now.alive() { // looked at afterwards: the number may be another's
				return f, nil
			}
			f.Close()
		}
	}
	if f := h.lostNetwork(now); f != nil {
		return f, nil
	}
	return nil, fault.New(fault.Unavailable, "enter the user's network: the process that held it was killed: run any berth command once more")
}

// Name tells the namespace from those that there were before.
func (n *Network) Name() string {
	now, err := (&home{dir: n.Run}).read()
	if err != nil {
		return ""
	}
	return strconv.Itoa(now.pid) + " " + strconv.FormatUint(now.start, 10)
}

// lostNetwork is the network namespace of a holder that was killed, as the way out has
// it open, nil without one.
func (h *home) lostNetwork(old holder) *os.File {
	out, err := h.wayOut()
	if err != nil || !out.alive() || old.net == "" {
		return nil
	}
	return openNamespace(out.pid, "fd/"+strconv.Itoa(order.Network), old.net)
}
