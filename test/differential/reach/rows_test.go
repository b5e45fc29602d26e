package reach

import (
	"fmt"
	"strings"
)

// row asks whether one reaches another at an address, of IPv4 and IPv6 (empty:
// there is none), by TCP and UDP.
type row struct {
	from, to string // to as the document says it
	v4, v6   string
	port     int
	who      string // who is to answer
}

func (r row) key() string { return r.from + " → " + r.to }

const byHost = " by way of the host"

// routed reports whether a row is about the host as a router.
func (r row) routed() bool { return strings.HasSuffix(r.to, byHost) }

// kinds are the columns.
var kinds = [4]string{"tcp4", "udp4", "tcp6", "udp6"}

// cells is what was found, in the order of kinds.
type cells [4]string

// What a cell says; else who answered in place of who was asked.
const (
	open   = "open"
	shut   = "closed"
	absent = "–"
)

// The addresses of the worlds.
const (
	hostV4, hostV6           = "192.0.2.2", "2001:db8::2"
	host2V4, host2V6         = "192.0.2.3", "2001:db8::3"
	neighbourV4, neighbourV6 = "192.0.2.10", "2001:db8::10"
	farV4, farV6             = "198.51.100.2", "2001:db8:1::2"
	sideV4, sideV6           = "203.0.113.1", "2001:db8:2::1"
	gateway1V4, gateway1V6   = "172.30.1.1", "fd00:30:1::1"
	gateway3V4, gateway3V6   = "172.30.3.1", "fd00:30:3::1"
	gatewayV4                = "172.17.0.1" // of the default bridge
)

// container is what both engines run. With an address it is on a network that
// was made.
type container struct {
	name, network string
	v4, v6        string
	publish       []string
	says          string // in the document
}

const (
	portService  = 9000 // of a host, on all its addresses
	portLoopback = 9001 // of the host, on its loopback
	portShared   = 9002 // of a container on the host's network
	portInside   = 80   // of every container
)

// networks are those that are made, with both families.
var networks = []struct {
	name, v4, v6, gateway4, gateway6 string
	internal                         bool
}{
	{"one", "172.30.1.0/24", "fd00:30:1::/64", gateway1V4, gateway1V6, false},
	{"two", "172.30.2.0/24", "fd00:30:2::/64", "172.30.2.1", "fd00:30:2::1", false},
	{"inside", "172.30.3.0/24", "fd00:30:3::/64", gateway3V4, gateway3V6, true},
}

// Those of the default bridge come first and in order, which gives them their
// addresses.
var containers = []container{
	{"first", "bridge", "172.17.0.2", "", []string{"8001:80", "[::1]:8011:80", "[" + host2V6 + "]:8012:80"},
		"on the default bridge, which has no IPv6; publishes 8001, 8011 on ::1, 8012 on the host's second address of IPv6"},
	{"second", "bridge", "172.17.0.3", "", nil, "on the default bridge"},
	{"web", "one", "172.30.1.10", "fd00:30:1::10", []string{"8080:80", "127.0.0.1:8081:80", "[::1]:8081:80", host2V4 + ":8082:80", "[" + host2V6 + "]:8082:80"},
		"on network one; publishes 8080, 8081 on 127.0.0.1 and ::1, 8082 on the host's second address"},
	{"peer", "one", "172.30.1.11", "fd00:30:1::11", nil, "on network one"},
	{"rogue", "one", "172.30.1.12", "fd00:30:1::12", nil, "on network one; sends what is for 127.0.0.0/8 and ::1 to its gateway"},
	{"other", "two", "172.30.2.10", "fd00:30:2::10", []string{"8083:80"}, "on network two; publishes 8083"},
	{"inner", "inside", "172.30.3.10", "fd00:30:3::10", []string{"8084:80"}, "on the internal network inside; publishes 8084"},
	{"inner2", "inside", "172.30.3.11", "fd00:30:3::11", nil, "on the internal network inside, whose default route leads to the host"},
	{"nowhere", "none", "", "", nil, "with --network none"},
	{"shared", "host", "", "", nil, "with --network host"},
}

// places are those that are no containers.
var places = []struct{ name, says string }{
	{"host", "with the engine: " + hostV4 + " and " + hostV6 + ", second address " + host2V4 + " and " + host2V6},
	{"neighbour", "on the host's segment; has routes by the host to the containers' networks, to 127.0.0.0/8 and ::1, and to side"},
	{"far", "behind a router, which has routes by the host to the containers' networks and to side"},
	{"side", "on another segment, behind the host"},
}

var rows = makeRows()

// by are rows like one, from several.
func (r row) by(from ...string) (list []row) {
	for _, f := range from {
		r.from = f
		list = append(list, r)
	}
	return list
}

func makeRows() (list []row) {
	direct := func(name string, from ...string) {
		for _, c := range containers {
			if c.name == name {
				list = append(list, row{"", name, c.v4, c.v6, portInside, name}.by(from...)...)
			}
		}
	}
	published := func(at, v4, v6 string, port int, who string, from ...string) {
		list = append(list, row{"", fmt.Sprintf("%s, %d (%s)", at, port, who), v4, v6, port, who}.by(from...)...)
	}
	outside := []string{"neighbour", "far", "side"}
	// Directly.
	direct("first", "second", "peer", "host", "neighbour", "far", "side")
	direct("second", "first", "host", "neighbour")
	direct("web", "web", "peer", "second", "other", "inner2", "host", "neighbour", "far", "side")
	direct("peer", "web", "neighbour", "far", "side")
	direct("other", "peer", "second", "host", "neighbour", "far")
	direct("inner", "inner2", "peer", "second", "host", "neighbour", "far")
	list = append(list, row{"", "neighbour", neighbourV4, neighbourV6, portService, "neighbour"}.by("second", "peer", "inner2", "nowhere", "shared")...)
	list = append(list, row{"", "far", farV4, farV6, portService, "far"}.by("second", "peer", "inner2", "nowhere", "shared")...)
	list = append(list, row{"", "side", sideV4, sideV6, portService, "side"}.by("peer", "inner2")...)
	// The host's own services.
	list = append(list, row{"", "host", hostV4, hostV6, portService, "host"}.by("second", "peer", "inner2", "nowhere", "neighbour", "far", "side")...)
	list = append(list, row{"", "host by its address on network one", gateway1V4, gateway1V6, portService, "host"}.by("peer", "second", "other", "inner2", "neighbour", "far")...)
	list = append(list, row{"", "host by its address on network inside", gateway3V4, gateway3V6, portService, "host"}.by("inner2", "peer", "neighbour")...)
	list = append(list, row{"", "host's loopback", "127.0.0.1", "::1", portLoopback, "loopback"}.by("shared", "rogue", "neighbour")...)
	list = append(list, row{"", "shared", hostV4, hostV6, portShared, "shared"}.by("peer", "neighbour", "far")...)
	// Published ports.
	published("host", hostV4, hostV6, 8001, "first", "first", "second", "peer", "inner2", "host", "neighbour", "far", "side")
	published("host by its address on network inside", gateway3V4, gateway3V6, 8001, "first", "inner2", "peer")
	published("host's loopback", "127.0.0.1", "::1", 8011, "first", "host", "neighbour")
	published("host", hostV4, hostV6, 8011, "first", "peer", "host", "neighbour")
	published("host's second address", host2V4, host2V6, 8012, "first", "peer", "host", "neighbour")
	published("host", hostV4, hostV6, 8012, "first", "peer", "host", "neighbour")
	published("host", hostV4, hostV6, 8080, "web", append([]string{"web", "peer", "second", "other", "inner2", "nowhere", "host"}, outside...)...)
	published("host's second address", host2V4, host2V6, 8080, "web", "web", "peer", "host", "neighbour", "far")
	published("host by its address on network one", gateway1V4, gateway1V6, 8080, "web", "web", "peer", "other", "host", "neighbour", "far")
	published("host by its address on the default bridge", gatewayV4, "", 8080, "web", "peer", "second", "host")
	published("host's loopback", "127.0.0.1", "::1", 8080, "web", "host", "rogue", "neighbour")
	published("host's loopback", "127.0.0.1", "::1", 8081, "web", "host", "rogue", "neighbour")
	published("host's loopback", "127.0.0.1", "::1", 8001, "first", "host")
	published("host", hostV4, hostV6, 8081, "web", "peer", "host", "neighbour", "far")
	published("host's second address", host2V4, host2V6, 8082, "web", "web", "peer", "second", "other", "host", "neighbour", "far", "side")
	published("host", hostV4, hostV6, 8082, "web", "peer", "host", "neighbour", "far")
	published("host's loopback", "127.0.0.1", "::1", 8082, "web", "host")
	published("host", hostV4, hostV6, 8083, "other", "other", "peer", "neighbour", "far")
	published("host", hostV4, hostV6, 8084, "inner", "inner", "inner2", "peer", "host", "neighbour", "far")
	list = append(list, row{"", "host, 80, which nobody publishes", hostV4, hostV6, portInside, "web"}.by("peer", "neighbour", "far")...)
	// The host as a router.
	list = append(list, row{"", "side" + byHost, sideV4, sideV6, portService, "side"}.by("neighbour", "far")...)
	list = append(list, row{"", "neighbour" + byHost, neighbourV4, neighbourV6, portService, "neighbour"}.by("side")...)
	return list
}
