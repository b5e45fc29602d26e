package network

import (
	"encoding/binary"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"berth/network/bridge"
	"berth/test/netns"
)

var everybody = net.HardwareAddr{0x33, 0x33, 0, 0, 0, 1}

// icmp6 is an ICMPv6 message in its frame.
type icmp6 struct {
	from, to            net.HardwareAddr
	source, destination string
	kind                byte
	body                []byte // what follows the checksum
	option              byte   // which one names the sender's link address
}

func (m icmp6) frame() []byte {
	message := append([]byte{m.kind, 0, 0, 0}, m.body...)
	message = append(append(message, m.option, 1), m.from...)
	addresses := append(netip.MustParseAddr(m.source).AsSlice(), netip.MustParseAddr(m.destination).AsSlice()...)
	sum := uint32(len(message)) + 58
	for _, b := range [][]byte{addresses, message} {
		for i := 0; i < len(b); i += 2 {
			sum += uint32(binary.BigEndian.Uint16(b[i:]))
		}
	}
	sum = sum>>16 + sum&0xffff
	sum += sum >> 16
	binary.BigEndian.PutUint16(message[2:], ^uint16(sum))
	b := append(append([]byte(nil), m.to...), m.from...)
	b = append(b, 0x86, 0xdd, 0x60, 0, 0, 0)
	b = binary.BigEndian.AppendUint16(b, uint16(len(message)))
	b = append(b, 58, 255)
	return append(append(b, addresses...), message...)
}

// The messages, of RFC 4861.
func routerAdvertisement(from net.HardwareAddr, source string) []byte {
	return icmp6{from, everybody, source, "ff02::1", 134, []byte{64, 0, 7, 8, 0, 0, 0, 0, 0, 0, 0, 0}, 1}.frame()
}

func neighbourAdvertisement(from, to net.HardwareAddr, source, destination, target string) []byte {
	return icmp6{from, to, source, destination, 136, append([]byte{0x60, 0, 0, 0}, netip.MustParseAddr(target).AsSlice()...), 2}.frame()
}

func neighbourSolicitation(from, to net.HardwareAddr, source, destination string) []byte {
	return icmp6{from, to, source, destination, 135, append(make([]byte, 4), netip.MustParseAddr(destination).AsSlice()...), 1}.frame()
}

func routerSolicitation(from, to net.HardwareAddr, source, destination string) []byte {
	return icmp6{from, to, source, destination, 133, make([]byte, 4), 1}.frame()
}

func redirect(from, to net.HardwareAddr, source, destination, beyond string) []byte {
	body := append(make([]byte, 4), bridge.LinkLocal(from).AsSlice()...)
	return icmp6{from, to, source, destination, 137, append(body, netip.MustParseAddr(beyond).AsSlice()...), 2}.frame()
}

// What a container says of IPv6 neighbours and routers, and as a DHCP server, is
// believed by nobody, in none of the messages that say it. The control of each is a
// trusted container, which is believed.
func TestClaims(t *testing.T) {
	w := newWorld(t, Settings{})
	w.create(Network{Name: "six", IPv6: true})
	victim := w.run(Request{Endpoints: on("six")})
	evil := w.run(Request{Endpoints: on("six")})
	trusted := w.run(Request{Endpoints: on("six"), Trusted: true})
	mac := func(g *guest) net.HardwareAddr { m, _ := net.ParseMAC(g.a.Endpoints[0].MAC); return m }
	six := func(g *guest) string { return g.a.Endpoints[0].IPv6.Addr().String() }
	gateway := victim.a.Endpoints[0].Gateway6.String()
	w.in(victim.Namespace, "sysctl -qw net.ipv6.conf.eth0.accept_ra=1 net.ipv6.conf.eth0.accept_ra_defrtr=1 net.ipv6.conf.eth0.forwarding=0")
	hostAt, err := net.ParseMAC(strings.Fields(host(t, "ip -br link show "+w.device("six")))[2])
	if err != nil {
		t.Fatal(err)
	}
	// A redirect is believed of the router that a packet goes by alone.
	const beyond = "2001:db8:77::9"
	router := bridge.LinkLocal(hostAt).String()
	w.in(victim.Namespace, "sysctl -qw net.ipv6.conf.eth0.accept_redirects=1")
	w.in(victim.Namespace, "ip -6 route add 2001:db8:77::/64 via "+router+" dev eth0")
	w.serve(nil, "tcp6", "[::]:90")
	w.serve(victim.Namespace, "tcp6", "[::]:90")
	for _, c := range []struct {
		name   string
		frame  func(from *guest) []byte
		before func() // so that there is something to change
		shown  func() string
	}{
		{"router advertisement", func(g *guest) []byte { return routerAdvertisement(mac(g), bridge.LinkLocal(mac(g)).String()) },
			func() {}, func() string { return w.in(victim.Namespace, "ip -6 route show default proto ra") }},
		{"neighbour advertisement", func(g *guest) []byte {
			return neighbourAdvertisement(mac(g), mac(victim), six(g), six(victim), gateway)
		}, func() { w.reach(victim.Namespace, "tcp6", "["+gateway+"]:90", six(victim)) },
			func() string { return w.in(victim.Namespace, "ip -6 neighbour show "+gateway) }},
		{"neighbour solicitation", func(g *guest) []byte { return neighbourSolicitation(mac(g), mac(victim), gateway, six(victim)) },
			func() {}, func() string { return w.in(victim.Namespace, "ip -6 neighbour show "+gateway) }},
		{"router solicitation", func(g *guest) []byte { return routerSolicitation(mac(g), hostAt, six(victim), gateway) },
			func() { w.reach(nil, "tcp6", "["+six(victim)+"]:90", gateway) },
			func() string { return host(t, "ip -6 neighbour show "+six(victim)) }},
		{"redirect", func(g *guest) []byte {
			return redirect(mac(g), mac(victim), router, six(victim), beyond)
		}, func() {}, func() string { return w.in(victim.Namespace, "ip -6 route get "+beyond) }},
	} {
		believed := func(g *guest) bool {
			now := c.shown()
			return strings.Contains(now, mac(g).String()) || strings.Contains(now, bridge.LinkLocal(mac(g)).String())
		}
		c.before()
		w.raw(evil.Namespace, c.frame(evil))
		// Frames of one port keep their order.
		w.reach(evil.Namespace, "tcp6", "["+gateway+"]:90", six(evil))
		if believed(evil) {
			t.Errorf("%s is believed: %s", c.name, c.shown())
		}
		w.raw(trusted.Namespace, c.frame(trusted))
		for deadline := time.Now().Add(10 * time.Second); !believed(trusted); time.Sleep(20 * time.Millisecond) {
			if time.Now().After(deadline) {
				t.Errorf("%s of a trusted container is not believed: %s", c.name, c.shown())
				break
			}
		}
		w.in(victim.Namespace, "ip -6 neighbour flush dev eth0")
		w.in(victim.Namespace, "ip -6 route flush proto ra")
		host(t, "ip -6 neighbour flush dev "+w.device("six"))
	}
	w.offers(victim, evil, trusted)
}

// offers has one and another speak as DHCP servers to a victim.
func (w *world) offers(victim, evil, trusted *guest) {
	w.t.Helper()
	heard := make(chan string, 10)
	var c net.PacketConn
	var err error
	victim.Do(func() { c, err = net.ListenPacket("udp4", ":68") })
	if err != nil {
		w.t.Fatal(err)
	}
	defer c.Close()
	go func() {
		b := make([]byte, 100)
		for {
			if n, _, err := c.ReadFrom(b); err == nil {
				heard <- string(b[:n])
			} else {
				return
			}
		}
	}()
	say := func(n *netns.Namespace, words, at string) {
		var c net.PacketConn
		n.Do(func() { c, err = net.ListenPacket("udp4", at) })
		if err != nil {
			w.t.Fatal(err)
		}
		defer c.Close()
		if _, err := c.WriteTo([]byte(words), &net.UDPAddr{IP: net.ParseIP(victim.ip()), Port: 68}); err != nil {
			w.t.Error(err)
		}
	}
	say(evil.Namespace, "offer", ":67")
	say(evil.Namespace, "other", ":1067")
	say(trusted.Namespace, "trusted", ":67")
	got := map[string]bool{}
	for range 2 {
		select {
		case words := <-heard:
			got[words] = true
		case <-time.After(10 * time.Second):
			w.t.Error("nothing more is heard")
		}
	}
	if got["offer"] || !got["other"] || !got["trusted"] {
		w.t.Errorf("heard: %v", got)
	}
}

// device is a network's bridge.
func (w *world) device(network string) string {
	w.t.Helper()
	n, err := w.s.Find(network)
	if err != nil {
		w.t.Fatal(err)
	}
	return n.Device
}

// A default route that a router has announced to the host stays when it begins to
// forward, and the next announcement counts.
func TestAnnouncedRoute(t *testing.T) {
	w := newWorld(t, Settings{})
	mac, err := net.ParseMAC(strings.Fields(w.in(w.outside, "ip -br link show eth0"))[2])
	if err != nil {
		t.Fatal(err)
	}
	host(t, "sysctl -qw net.ipv6.conf.eth0.accept_ra=1 net.ipv6.conf.eth0.accept_ra_defrtr=1")
	announced := func() {
		t.Helper()
		deadline := time.Now().Add(20 * time.Second)
		for w.announce(mac); !strings.Contains(host(t, "ip -6 route show default proto ra"), "dev eth0"); w.announce(mac) {
			if time.Now().After(deadline) {
				t.Fatal("an announced default route is not taken")
			}
			time.Sleep(50 * time.Millisecond)
		}
	}
	announced()
	w.run(Request{}) // without IPv6: nothing to announce yet
	w.create(Network{Name: "six", IPv6: true})
	w.run(Request{Endpoints: on("six")})
	if on := host(t, "sysctl -n net.ipv6.conf.all.forwarding"); strings.TrimSpace(on) != "1" {
		t.Fatalf("IPv6 is not forwarded: %s", on)
	}
	if now := host(t, "ip -6 route show default proto ra"); !strings.Contains(now, "dev eth0") {
		t.Errorf("the announced default route is gone: %q", now)
	}
	host(t, "ip -6 route flush proto ra")
	announced()
}

// announce is what a router outside says.
func (w *world) announce(mac net.HardwareAddr) {
	w.t.Helper()
	w.raw(w.outside, routerAdvertisement(mac, bridge.LinkLocal(mac).String()))
}

// A bridge keeps its link address while ports with lower and higher ones come and
// go, and when somebody has removed it.
func TestBridgeAddressStays(t *testing.T) {
	w := newWorld(t, Settings{})
	w.create(Network{Name: "net"})
	address := func() string { return strings.Fields(host(t, "ip -br link show "+w.device("net")))[2] }
	first := w.run(Request{Endpoints: []Endpoint{{Network: "net", MAC: "02:00:00:00:00:01"}}})
	was := address()
	second := w.run(Request{Endpoints: []Endpoint{{Network: "net", MAC: "fe:ff:ff:ff:ff:fe"}}})
	host(t, "ip link add low address 00:00:00:00:00:01 type veth peer name low2")
	defer host(t, "ip link delete low")
	host(t, "ip link set low master "+w.device("net"))
	for _, g := range []*guest{first, second} {
		if now := address(); now != was {
			t.Errorf("it was %s and is %s", was, now)
		}
		if err := w.s.Release(ctx, g.id); err != nil {
			t.Fatal(err)
		}
	}
	host(t, "ip link delete "+w.device("net"))
	w.run(Request{Endpoints: on("net")})
	if now := address(); now != was {
		t.Errorf("made anew: it was %s and is %s", was, now)
	}
}
