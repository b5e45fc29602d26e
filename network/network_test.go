package network

import (
	"context"
	"net/netip"
	"strings"
	"testing"

	"berth/base/fault"
)

var ctx = context.Background()

func TestDefaultBridge(t *testing.T) {
	w := newWorld(t, Settings{})
	a := w.run(Request{})
	if a.ip() != "172.17.0.2" || a.a.Endpoints[0].Gateway != netip.MustParseAddr("172.17.0.1") || a.a.Endpoints[0].MAC != "02:42:ac:11:00:02" {
		t.Errorf("%+v", a.a)
	}
	b := w.run(Request{})
	if b.ip() != "172.17.0.3" {
		t.Errorf("the second has %s", b.ip())
	}
	if out := w.in(a.Namespace, "ip -4 -o address"); !strings.Contains(out, "eth0    inet 172.17.0.2/16 brd 172.17.255.255 scope global eth0") || !strings.Contains(out, "127.0.0.1/8") {
		t.Errorf("addresses:\n%s", out)
	}
	if out := w.in(a.Namespace, "ip -6 -o address show dev eth0"); out != "" {
		t.Errorf("IPv6 on a network without:\n%s", out)
	}
	if out := w.in(a.Namespace, "ip route"); !strings.Contains(out, "default via 172.17.0.1 dev eth0") {
		t.Errorf("routes:\n%s", out)
	}
	if out := host(t, "bridge link"); !strings.Contains(out, a.a.Endpoints[0].Device) || !strings.Contains(out, "master docker0") {
		t.Errorf("ports:\n%s", out)
	}

	w.serve(w.outside, "tcp4", "192.0.2.1:80")
	w.serve(nil, "tcp4", "0.0.0.0:90")
	w.serve(b.Namespace, "tcp4", ":80")
	w.reach(a.Namespace, "tcp4", "192.0.2.1:80", "192.0.2.2") // out, as the host
	w.reach(a.Namespace, "tcp4", "172.17.0.1:90", "172.17.0.2")
	w.reach(a.Namespace, "tcp4", "192.0.2.2:90", "172.17.0.2")
	w.reach(a.Namespace, "tcp4", "172.17.0.3:80", "172.17.0.2")
	w.reach(nil, "tcp4", "172.17.0.3:80", "172.17.0.1")

	// From outside a container is not reached directly, though there is a route.
	w.in(w.outside, "ip route add 172.17.0.0/16 via 192.0.2.2")
	w.refuse(w.outside, "tcp4", "172.17.0.3:80")

	w.serve(a.Namespace, "tcp4", ":85")
	w.reach(b.Namespace, "tcp4", "172.17.0.2:85", "172.17.0.3")
	if err := w.s.Detach(ctx, a.id); err != nil {
		t.Fatal(err)
	}
	// Whoever still holds the old namespace reaches nobody with the old address.
	w.refuse(a.Namespace, "tcp4", "172.17.0.1:90")
	w.refuse(a.Namespace, "tcp4", "172.17.0.3:80")
	w.refuse(b.Namespace, "tcp4", "172.17.0.2:85")
	// A restart keeps the address, also when others start meanwhile.
	c := w.run(Request{})
	if c.ip() != "172.17.0.4" {
		t.Errorf("the third has %s", c.ip())
	}
	if again := w.run(Request{Container: a.id}); again.ip() != "172.17.0.2" {
		t.Errorf("again: %s", again.ip())
	} else {
		w.serve(again.Namespace, "tcp4", ":85")
		w.reach(b.Namespace, "tcp4", "172.17.0.2:85", "172.17.0.3")
		w.reach(again.Namespace, "tcp4", "172.17.0.3:80", "172.17.0.2")
	}
	if err := w.s.Release(ctx, a.id); err != nil {
		t.Fatal(err)
	}
	if d := w.run(Request{}); d.ip() != "172.17.0.2" {
		t.Errorf("a released address is not given: %s", d.ip())
	}
	if _, err := w.s.Endpoints(a.id); !fault.Is(err, fault.NotFound) {
		t.Errorf("%v", err)
	}
}

// Published ports are reached the same whether the kernel shows a bridge's frames
// to the firewall of packets or not.
func TestPublish(t *testing.T) {
	for _, calls := range []string{"0", "1"} {
		t.Run("bridge-nf-call-iptables="+calls, func(t *testing.T) { testPublish(t, calls) })
	}
}

func testPublish(t *testing.T, calls string) {
	w := newWorld(t, Settings{})
	host(t, "sysctl -qw net.bridge.bridge-nf-call-iptables="+calls+" net.bridge.bridge-nf-call-ip6tables="+calls)
	local := netip.MustParseAddr("127.0.0.1")
	a := w.run(Request{Publish: []Port{
		{Protocol: "tcp", Host: 8080, Container: 80, Count: 1},
		{Protocol: "udp", Host: 5353, Container: 53, Count: 1},
		{Protocol: "tcp", Host: 5432, Container: 5432, Count: 1, Address: local},
		{Protocol: "tcp", Host: 2000, Container: 2000, Count: 10},
		{Protocol: "tcp", Container: 81, Count: 1},
	}})
	b := w.run(Request{})
	for _, at := range []string{":80", ":5432", ":2005", ":81"} {
		w.serve(a.Namespace, "tcp4", at)
	}
	w.serve(a.Namespace, "udp4", ":53")
	free := a.a.Ports[4].String()
	if free != "0.0.0.0:49153" {
		t.Errorf("a free port: %s", free)
	}
	w.reach(w.outside, "tcp4", "192.0.2.2:8080", "192.0.2.1")
	w.reach(w.outside, "udp4", "192.0.2.2:5353", "192.0.2.1")
	w.reach(w.outside, "tcp4", "192.0.2.2:2005", "192.0.2.1")
	w.reach(w.outside, "tcp4", "192.0.2.2:49153", "192.0.2.1")
	w.reach(nil, "tcp4", "192.0.2.2:8080", "192.0.2.2")
	w.reach(nil, "tcp4", "127.0.0.1:8080", "172.17.0.1")
	w.reach(nil, "udp4", "127.0.0.1:5353", "172.17.0.1")
	w.reach(nil, "tcp4", "127.0.0.1:5432", "172.17.0.1")
	w.reach(b.Namespace, "tcp4", "192.0.2.2:8080", "172.17.0.1")
	w.reach(a.Namespace, "tcp4", "192.0.2.2:8080", "172.17.0.1") // to itself
	w.reach(a.Namespace, "udp4", "172.17.0.1:5353", "172.17.0.1")
	w.refuse(w.outside, "tcp4", "192.0.2.2:80")
	w.refuse(w.outside, "tcp4", "192.0.2.2:5432")

	// Published on the loopback: not for others, however they try.
	w.in(w.outside, "ip address del 127.0.0.1/8 dev lo")
	w.in(w.outside, "ip route add 127.0.0.0/8 via 192.0.2.2")
	w.in(w.outside, "sysctl -qw net.ipv4.conf.all.route_localnet=1")
	w.refuse(w.outside, "tcp4", "127.0.0.1:5432")
	w.in(b.Namespace, "ip address del 127.0.0.1/8 dev lo")
	w.in(b.Namespace, "ip route add 127.0.0.0/8 via 172.17.0.1")
	w.in(b.Namespace, "sysctl -qw net.ipv4.conf.all.route_localnet=1")
	w.serve(nil, "tcp4", "127.0.0.1:99")
	w.refuse(b.Namespace, "tcp4", "127.0.0.1:99")
	w.refuse(b.Namespace, "tcp4", "127.0.0.1:5432")

	// Held: nobody else gets the ports, in Docker's words.
	_, err := w.try(Request{Publish: []Port{{Protocol: "tcp", Host: 8080, Container: 80, Count: 1}}})
	if !fault.Is(err, fault.Conflict) || !strings.HasSuffix(err.Error(), "Bind for 0.0.0.0:8080 failed: port is already allocated") {
		t.Errorf("a container's port: %v", err)
	}
	w.serve(nil, "tcp4", "0.0.0.0:7070")
	_, err = w.try(Request{Publish: []Port{{Protocol: "tcp", Host: 7070, Container: 80, Count: 1}}})
	if !fault.Is(err, fault.Conflict) || !strings.HasSuffix(err.Error(), "listen tcp4 0.0.0.0:7070: bind: address already in use") {
		t.Errorf("a program's port: %v", err)
	}
	if c := w.run(Request{}); c.ip() != "172.17.0.4" {
		t.Errorf("the failed ones kept addresses: %s", c.ip())
	}
	if err := w.s.Detach(ctx, a.id); err != nil {
		t.Fatal(err)
	}
	w.refuse(nil, "tcp4", "127.0.0.1:8080")
	if out := host(t, "nft list ruleset"); strings.Contains(out, "172.17.0.2") {
		t.Errorf("elements are left:\n%s", out)
	}
}
