package network

import (
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"berth/test/netns"
)

// raw sends a frame from a container's device.
func (w *world) raw(n *netns.Namespace, frame []byte) {
	w.t.Helper()
	n.Do(func() {
		i, err := net.InterfaceByName("eth0")
		if err != nil {
			w.t.Error(err)
			return
		}
		fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			w.t.Error(err)
			return
		}
		defer unix.Close(fd)
		if err := unix.Sendto(fd, frame, 0, &unix.SockaddrLinklayer{Ifindex: i.Index}); err != nil {
			w.t.Error(err)
		}
	})
}

// arp is an ARP answer: sender is at mac.
func arp(from, mac net.HardwareAddr, sender, target string) []byte {
	b := append([]byte{255, 255, 255, 255, 255, 255}, from...)
	b = append(b, 8, 6, 0, 1, 8, 0, 6, 4, 0, 2)
	b = append(b, mac...)
	b = append(b, netip.MustParseAddr(sender).AsSlice()...)
	b = append(b, 255, 255, 255, 255, 255, 255)
	return append(b, netip.MustParseAddr(target).AsSlice()...)
}

// neighbour is what a container knows of an address.
func (w *world) neighbour(n *netns.Namespace, address string) string {
	return w.in(n, "ip neighbour show "+address)
}

// A container does not speak for another: its neighbours believe neither its ARP
// answers nor its link addresses nor its router advertisements.
func TestGuard(t *testing.T) {
	w := newWorld(t, Settings{})
	w.create(Network{Name: "six", IPv6: true})
	victim := w.run(Request{Endpoints: on("six")})
	evil := w.run(Request{Endpoints: on("six")})
	trusted := w.run(Request{Endpoints: on("six"), Trusted: true})
	mac := func(g *guest) net.HardwareAddr { m, _ := net.ParseMAC(g.a.Endpoints[0].MAC); return m }
	gateway := evil.a.Endpoints[0].Gateway.String()
	strange := net.HardwareAddr{2, 9, 9, 9, 9, 9}

	w.serve(nil, "tcp4", "0.0.0.0:90")
	w.reach(victim.Namespace, "tcp4", gateway+":90", victim.ip())
	truth := w.neighbour(victim.Namespace, gateway)
	// settled waits for what was sent before: frames of one port keep their order.
	settled := func(g *guest) {
		t.Helper()
		w.reach(g.Namespace, "tcp4", gateway+":90", g.ip())
	}
	w.in(victim.Namespace, "sysctl -qw net.ipv4.conf.eth0.arp_accept=1")
	for _, frame := range [][]byte{
		arp(mac(evil), mac(evil), gateway, victim.ip()),
		arp(mac(evil), strange, evil.ip(), victim.ip()),
		arp(strange, strange, evil.ip(), victim.ip()),
		arp(mac(evil), mac(evil), "172.17.9.9", victim.ip()),
	} {
		w.raw(evil.Namespace, frame)
	}
	settled(evil)
	if now := w.neighbour(victim.Namespace, gateway); mac(evil).String() == "" || strings.Contains(now, mac(evil).String()) {
		t.Errorf("the gateway is believed to be the other container: was %s, is %s", truth, now)
	}
	if now := w.neighbour(victim.Namespace, evil.ip()); strings.Contains(now, strange.String()) {
		t.Errorf("a strange link address is believed: %s", now)
	}
	if now := w.neighbour(victim.Namespace, "172.17.9.9"); now != "" {
		t.Errorf("a foreign address is believed: %s", now)
	}
	// The control: a trusted container may.
	w.raw(trusted.Namespace, arp(mac(trusted), mac(trusted), "172.17.9.9", victim.ip()))
	settled(trusted)
	deadline := time.Now().Add(10 * time.Second)
	for w.neighbour(victim.Namespace, "172.17.9.9") == "" {
		if time.Now().After(deadline) {
			t.Error("a trusted container is guarded too")
			break
		}
		time.Sleep(20 * time.Millisecond)
	}
	// Its own address it may announce under IPv6 too, and others reach it.
	w.serve(evil.Namespace, "tcp6", ":80")
	w.reach(victim.Namespace, "tcp6", "["+evil.a.Endpoints[0].IPv6.Addr().String()+"]:80", victim.a.Endpoints[0].IPv6.Addr().String())
}

// between gives the host another segment, with a machine there that answers, and has
// the one outside reach it by way of the host.
func (w *world) between() {
	w.t.Helper()
	far := netns.New(w.t)
	host(w.t, "ip link add eth1 type veth peer name eth0 netns "+namespacePath(far))
	w.t.Cleanup(func() { host(w.t, "ip link delete eth1") })
	for _, line := range []string{"ip address add 198.51.100.2/24 dev eth1", "ip address add 2001:db8:1::2/64 dev eth1 nodad", "ip link set eth1 up",
		"ip address add 2001:db8::2/64 dev eth0 nodad"} {
		host(w.t, line)
	}
	for _, line := range []string{"ip address add 198.51.100.1/24 dev eth0", "ip address add 2001:db8:1::1/64 dev eth0 nodad", "ip link set eth0 up",
		"ip route add default via 198.51.100.2", "ip route add default via 2001:db8:1::2"} {
		w.in(far, line)
	}
	for _, line := range []string{"ip address add 2001:db8::1/64 dev eth0 nodad", "ip route add 198.51.100.0/24 via 192.0.2.2", "ip route add 2001:db8:1::/64 via 2001:db8::2"} {
		w.in(w.outside, line)
	}
	w.serve(far, "tcp4", ":80")
	w.serve(far, "tcp6", ":80")
}

// A host that was no router is none for others, though containers' packets are
// forwarded; one that was stays one.
func TestNoRouter(t *testing.T) {
	w := newWorld(t, Settings{})
	w.between()
	a := w.run(Request{})
	w.reach(a.Namespace, "tcp4", "198.51.100.1:80", "198.51.100.2")
	w.refuse(w.outside, "tcp4", "198.51.100.1:80")
	if err := w.s.Release(ctx, a.id); err != nil {
		t.Fatal(err)
	}
	w.refuse(w.outside, "tcp4", "198.51.100.1:80")
	// The administrator wants a router: the next verb sees it.
	host(t, "sysctl -qw net.ipv4.ip_forward=1")
	w.run(Request{})
	w.reach(w.outside, "tcp4", "198.51.100.1:80", "192.0.2.1")
}

// One that was a router of one family becomes none of the other.
func TestRouterOfOne(t *testing.T) {
	for _, c := range []struct{ on, open, from, shut, shutAt string }{
		{"net.ipv4.ip_forward", "198.51.100.1:80", "192.0.2.1", "tcp6", "[2001:db8:1::1]:80"},
		{"net.ipv6.conf.all.forwarding", "[2001:db8:1::1]:80", "2001:db8::1", "tcp4", "198.51.100.1:80"},
	} {
		t.Run(c.on, func(t *testing.T) {
			w := newWorld(t, Settings{})
			w.between()
			host(t, "sysctl -qw "+c.on+"=1")
			w.create(Network{Name: "six", IPv6: true})
			w.run(Request{}) // without IPv6
			a := w.run(Request{Endpoints: on("six")})
			w.reach(a.Namespace, "tcp4", "198.51.100.1:80", "198.51.100.2")
			w.reach(a.Namespace, "tcp6", "[2001:db8:1::1]:80", "2001:db8:1::2")
			w.reach(w.outside, "tcp", c.open, c.from)
			w.refuse(w.outside, c.shut, c.shutAt)
		})
	}
}
