package network

import (
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"

	"berth/base/fault"
	"berth/test/netns"
)

func subnet(text string) []Subnet { return []Subnet{{Prefix: netip.MustParsePrefix(text)}} }

var web = []Port{{Protocol: "tcp", Host: 8080, Container: 80, Count: 1}}

// pings tells whether an address answers.
func (w *world) pings(n *netns.Namespace, address string) bool {
	_, err := n.Run("busybox", "ping", "-c", "1", "-W", "1", address)
	return err == nil
}

// Without a translation: a container is reached at its own address, at its published
// ports alone, from outside and from other networks, and it goes out with that address.
func TestRouted(t *testing.T) {
	w := newWorld(t, Settings{})
	host(t, "ip address add 2001:db8::2/64 dev eth0 nodad")
	w.in(w.outside, "ip address add 2001:db8::1/64 dev eth0 nodad")
	w.create(Network{Name: "routed", IPv6: true, Options: map[string]string{optionMode4: modeRouted, optionMode6: modeRouted},
		Subnets: []Subnet{{Prefix: netip.MustParsePrefix("10.9.0.0/24")}, {Prefix: netip.MustParsePrefix("2001:db8:9::/64")}}})
	w.create(Network{Name: "apart", Options: map[string]string{optionMode4: modeRouted, optionICC: "false"}, Subnets: subnet("10.8.0.0/24")})
	w.create(Network{Name: "closed", Internal: true})
	w.in(w.outside, "ip route add 10.8.0.0/15 via 192.0.2.2")
	w.in(w.outside, "ip -6 route add 2001:db8:9::/64 via 2001:db8::2")
	a := w.run(Request{Endpoints: on("routed"), Publish: append(slices.Clone(web), Port{Protocol: "tcp", Host: 2000, Container: 2000, Count: 10})})
	other := w.run(Request{Publish: web}) // the host's port is free
	closed := w.run(Request{Endpoints: on("closed")})
	for _, at := range []string{":80", ":81", ":2005"} {
		w.serve(a.Namespace, "tcp", at)
	}
	w.serve(other.Namespace, "tcp4", ":80")
	w.serve(w.outside, "tcp", ":80")
	if p := a.a.Ports[0]; p.Host != 0 || len(a.a.Hold) != 0 {
		t.Errorf("%+v holds %d", p, len(a.a.Hold))
	}
	w.reach(w.outside, "tcp4", a.ip()+":80", "192.0.2.1")
	w.reach(w.outside, "tcp4", a.ip()+":2005", "192.0.2.1")
	w.reach(w.outside, "tcp6", "[2001:db8:9::2]:80", "2001:db8::1")
	w.refuse(w.outside, "tcp4", a.ip()+":81")
	w.refuse(w.outside, "tcp6", "[2001:db8:9::2]:81")
	w.reach(w.outside, "tcp4", "192.0.2.2:8080", "192.0.2.1") // the other's
	w.reach(a.Namespace, "tcp4", "192.0.2.1:80", a.ip())
	w.reach(a.Namespace, "tcp6", "[2001:db8::1]:80", "2001:db8:9::2")
	w.reach(other.Namespace, "tcp4", a.ip()+":80", other.ip())
	w.refuse(other.Namespace, "tcp4", a.ip()+":81")
	if !w.pings(w.outside, a.ip()) || w.pings(w.outside, other.ip()) {
		t.Error("a routed network answers pings, and no other does")
	}
	w.refuse(closed.Namespace, "tcp4", a.ip()+":80")
	// Who is not to reach its neighbours does not reach their published ports either.
	x, y := w.run(Request{Endpoints: on("apart"), Publish: web}), w.run(Request{Endpoints: on("apart")})
	w.serve(x.Namespace, "tcp4", ":80")
	w.reach(w.outside, "tcp4", x.ip()+":80", "192.0.2.1")
	w.in(y.Namespace, "ip route add "+x.ip()+" via 10.8.0.1")
	w.refuse(y.Namespace, "tcp4", x.ip()+":80")
	if err := w.s.Detach(ctx, a.id); err != nil {
		t.Fatal(err)
	}
	if out := host(t, "nft list ruleset"); strings.Contains(out, "10.9.0.2") || strings.Contains(out, "2001:db8:9::2") {
		t.Errorf("elements are left:\n%s", out)
	}
}

// From a translated network to a routed one and back: the published port goes with it.
func TestRoutedLive(t *testing.T) {
	w := newWorld(t, Settings{})
	w.create(Network{Name: "a-nat", Subnets: subnet("10.8.0.0/24")})
	w.create(Network{Name: "routed", Options: map[string]string{optionMode4: modeRouted}, Subnets: subnet("10.9.0.0/24")})
	w.in(w.outside, "ip route add 10.8.0.0/15 via 192.0.2.2")
	g := w.run(Request{Endpoints: on("a-nat"), Publish: web})
	w.serve(g.Namespace, "tcp4", ":80")
	w.reach(w.outside, "tcp4", "192.0.2.2:8080", "192.0.2.1")
	w.refuse(w.outside, "tcp4", g.ip()+":80")
	both := []Endpoint{{Network: "a-nat"}, {Network: "routed", Priority: 10}}
	w.mustAlter(g, Request{Endpoints: both, Publish: slices.Clone(web)})
	w.refuse(w.outside, "tcp4", "192.0.2.2:8080")
	w.reach(w.outside, "tcp4", "10.9.0.2:80", "192.0.2.1")
	a := w.mustAlter(g, Request{Endpoints: on("a-nat"), Publish: slices.Clone(web)})
	if len(a.Ports) != 1 || a.Ports[0].Host != 8080 {
		t.Errorf("%v", a.Ports)
	}
	w.reach(w.outside, "tcp4", "192.0.2.2:8080", "192.0.2.1")
}

// All ports are reached by who has a route, from outside, but not from other networks.
func TestUnprotected(t *testing.T) {
	w := newWorld(t, Settings{})
	w.create(Network{Name: "open", Options: map[string]string{optionMode4: modeUnprotected}, Subnets: subnet("10.9.0.0/24")})
	w.in(w.outside, "ip route add 10.9.0.0/24 via 192.0.2.2")
	a, other := w.run(Request{Endpoints: on("open"), Publish: web}), w.run(Request{})
	w.serve(a.Namespace, "tcp4", ":80")
	w.serve(a.Namespace, "tcp4", ":81")
	w.serve(w.outside, "tcp4", ":80")
	w.reach(w.outside, "tcp4", a.ip()+":81", "192.0.2.1")
	w.reach(w.outside, "tcp4", "192.0.2.2:8080", "192.0.2.1")
	w.reach(a.Namespace, "tcp4", "192.0.2.1:80", "192.0.2.2")
	w.refuse(other.Namespace, "tcp4", a.ip()+":81")
}

// By devices that are named, published ports are reached at the container's address.
func TestTrustedInterfaces(t *testing.T) {
	w := newWorld(t, Settings{})
	w.create(Network{Name: "one", Options: map[string]string{optionTrusted: "vxlan.1:eth0"}, Subnets: subnet("10.9.0.0/24")})
	w.create(Network{Name: "two", Options: map[string]string{optionTrusted: "eth1"}, Subnets: subnet("10.8.0.0/24")})
	w.in(w.outside, "ip route add 10.8.0.0/15 via 192.0.2.2")
	local := []Port{{Protocol: "tcp", Host: 8080, Container: 80, Count: 1, Address: netip.MustParseAddr("127.0.0.1")}}
	a, b := w.run(Request{Endpoints: on("one"), Publish: local}), w.run(Request{Endpoints: on("two"), Publish: []Port{{Protocol: "tcp", Container: 80, Count: 1}}})
	for _, g := range []*guest{a, b} {
		w.serve(g.Namespace, "tcp4", ":80")
		w.serve(g.Namespace, "tcp4", ":81")
	}
	w.reach(w.outside, "tcp4", a.ip()+":80", "192.0.2.1")
	w.reach(nil, "tcp4", "127.0.0.1:8080", "10.9.0.1")
	w.refuse(w.outside, "tcp4", a.ip()+":81")
	w.refuse(w.outside, "tcp4", b.ip()+":80")
}

// An internal network on which the host has no address: it reaches nothing there, and
// nothing there reaches it.
func TestIsolatedMode(t *testing.T) {
	w := newWorld(t, Settings{})
	n := w.create(Network{Name: "alone", Internal: true, IPv6: true, Options: map[string]string{optionMode4: modeIsolated, optionMode6: modeIsolated}, Subnets: subnet("10.9.0.0/24")})
	a, b := w.run(Request{Endpoints: on("alone")}), w.run(Request{Endpoints: on("alone")})
	if out := host(t, "ip -o address show dev "+n.Device); out != "" {
		t.Errorf("the host has an address:\n%s", out)
	}
	w.serve(a.Namespace, "tcp", ":80")
	w.serve(nil, "tcp4", "0.0.0.0:90")
	w.reach(b.Namespace, "tcp4", a.ip()+":80", b.ip())
	w.reach(b.Namespace, "tcp6", "["+a.a.Endpoints[0].IPv6.Addr().String()+"]:80", b.a.Endpoints[0].IPv6.Addr().String())
	w.refuse(nil, "tcp4", a.ip()+":80")
	w.in(b.Namespace, "ip route add default via 10.9.0.1 onlink dev eth0")
	w.refuse(b.Namespace, "tcp4", "192.0.2.2:90")
}

// A network without IPv4, and the default route of each family.
func TestIPv6Only(t *testing.T) {
	w := newWorld(t, Settings{Pools: []Pool{{Base: netip.MustParsePrefix("10.64.0.0/16"), Size: 24}, {Base: netip.MustParsePrefix("fd00:64::/32"), Size: 64}}})
	host(t, "ip address add 2001:db8::2/64 dev eth0 nodad")
	w.in(w.outside, "ip address add 2001:db8::1/64 dev eth0 nodad")
	six := w.create(Network{Name: "six", NoIPv4: true, IPv6: true})
	if len(six.Subnets) != 1 || six.Subnets[0].Prefix.String() != "fd00:64::/64" {
		t.Fatalf("%v", six.Subnets)
	}
	four := w.create(Network{Name: "four"})
	if len(four.Subnets) != 1 || four.Subnets[0].Prefix.String() != "10.64.1.0/24" { // the default bridge will have the first
		t.Fatalf("%v", four.Subnets)
	}
	a := w.run(Request{Endpoints: on("six"), Publish: web})
	if out := w.in(a.Namespace, "ip -4 -o address show dev eth0"); out != "" {
		t.Errorf("an IPv4 address:\n%s", out)
	}
	w.serve(a.Namespace, "tcp6", ":80")
	w.serve(w.outside, "tcp", ":80")
	w.reach(a.Namespace, "tcp6", "[2001:db8::1]:80", "2001:db8::2")
	w.reach(w.outside, "tcp6", "[2001:db8::2]:8080", "2001:db8::1")
	// Each family leads by the network that has it.
	b := w.run(Request{Endpoints: on("six", "four"), Publish: []Port{{Protocol: "tcp", Host: 8081, Container: 80, Count: 1}}})
	w.serve(b.Namespace, "tcp", ":80")
	w.reach(b.Namespace, "tcp6", "[2001:db8::1]:80", "2001:db8::2")
	w.reach(b.Namespace, "tcp4", "192.0.2.1:80", "192.0.2.2")
	w.reach(w.outside, "tcp6", "[2001:db8::2]:8081", "2001:db8::1")
	w.reach(w.outside, "tcp4", "192.0.2.2:8081", "192.0.2.1")
	// Live: one of them goes.
	w.mustAlter(b, Request{Endpoints: on("six"), Publish: []Port{{Protocol: "tcp", Host: 8081, Container: 80, Count: 1}}})
	w.reach(w.outside, "tcp6", "[2001:db8::2]:8081", "2001:db8::1")
	w.refuse(w.outside, "tcp4", "192.0.2.2:8081")
}

// The default route is that of the highest priority, else of the first by name; one
// without a gateway gives none, an internal one only where there is no other.
func TestGateway(t *testing.T) {
	w := newWorld(t, Settings{})
	for _, n := range []Network{{Name: "b"}, {Name: "a"}, {Name: "c", IPv6: true}, {Name: "inner", Internal: true},
		{Name: "0dead-end", Options: map[string]string{optionNoDefault: "true"}}} {
		w.create(n)
	}
	routes := func(g *guest, want ...string) {
		t.Helper()
		var got []string
		for _, family := range []string{"-4", "-6"} {
			for _, line := range strings.Split(w.in(g.Namespace, "ip "+family+" route show default"), "\n") {
				if f := strings.Fields(line); len(f) > 4 {
					got = append(got, f[4])
				}
			}
		}
		if !slices.Equal(got, want) {
			t.Errorf("default routes by %v, want %v", got, want)
		}
	}
	g := w.run(Request{Endpoints: on("b", "a", "inner", "0dead-end")})
	routes(g, "eth1")
	w.mustAlter(g, Request{Endpoints: []Endpoint{{Network: "b"}, {Network: "a"}, {Network: "c", Priority: 5}}})
	routes(g, "eth4", "eth4")
	w.mustAlter(g, Request{Endpoints: []Endpoint{{Network: "b", Priority: 6}, {Network: "a"}, {Network: "c", Priority: 5}}})
	routes(g, "eth0", "eth4")
	w.mustAlter(g, Request{Endpoints: []Endpoint{{Network: "a"}}})
	routes(g, "eth1")
	w.mustAlter(g, Request{Endpoints: []Endpoint{{Network: "a"}, {Network: "inner", Priority: 100}}})
	routes(g, "eth1")
	w.mustAlter(g, Request{Endpoints: []Endpoint{{Network: "inner"}}}) // by which it reaches the host alone
	routes(g, "eth0")
}

// Networks that say so reach each other, as podman's do.
func TestMingle(t *testing.T) {
	w := newWorld(t, Settings{})
	open := map[string]string{optionIsolate: "false"}
	w.create(Network{Name: "one", Options: open})
	w.create(Network{Name: "two", Options: open})
	w.create(Network{Name: "strict", Options: map[string]string{optionIsolate: "strict"}})
	w.create(Network{Name: "closed", Options: open, Internal: true})
	a, b, c, d := w.run(Request{Endpoints: on("one")}), w.run(Request{Endpoints: on("two")}), w.run(Request{Endpoints: on("strict")}), w.run(Request{Endpoints: on("closed")})
	for _, g := range []*guest{b, c, d} {
		w.serve(g.Namespace, "tcp4", ":80")
	}
	w.reach(a.Namespace, "tcp4", b.ip()+":80", a.ip())
	w.refuse(a.Namespace, "tcp4", c.ip()+":80")
	w.refuse(a.Namespace, "tcp4", d.ip()+":80")
	w.refuse(c.Namespace, "tcp4", b.ip()+":80")
}

// A bridge of the administrator is used, with its addresses, and stays as it is.
func TestForeignBridge(t *testing.T) {
	w := newWorld(t, Settings{})
	host(t, "ip link add mine type bridge")
	t.Cleanup(func() { host(t, "ip link delete mine") })
	host(t, "ip address add 10.9.0.2/24 dev mine")
	host(t, "ip link set mine up")
	mine := map[string]string{optionName: "mine"}
	state := func() string {
		out := host(t, "ip -o address show dev mine scope global")
		if link := host(t, "ip -o link show dev mine"); !strings.Contains(link, "mtu 1500") || strings.Contains(link, "alias") {
			t.Error(link)
		}
		for _, name := range []string{"ipv4/conf/mine/route_localnet", "ipv4/conf/mine/rp_filter", "ipv6/conf/mine/disable_ipv6", "ipv6/conf/mine/accept_ra"} {
			out += host(t, "cat /proc/sys/net/"+name)
		}
		return out
	}
	before := state()
	n := w.create(Network{Name: "one", Options: mine})
	if len(n.Subnets) != 1 || n.Subnets[0].Prefix.String() != "10.9.0.0/24" || n.Subnets[0].Gateway.String() != "10.9.0.2" {
		t.Errorf("%+v", n.Subnets)
	}
	a, b := w.run(Request{Endpoints: on("one")}), w.run(Request{Endpoints: on("one"), Publish: web})
	if a.ip() != "10.9.0.1" || b.ip() != "10.9.0.3" {
		t.Errorf("%s, %s", a.ip(), b.ip())
	}
	w.serve(b.Namespace, "tcp4", ":80")
	w.serve(w.outside, "tcp4", ":80")
	w.reach(a.Namespace, "tcp4", b.ip()+":80", a.ip())
	w.reach(a.Namespace, "tcp4", "192.0.2.1:80", "192.0.2.2")
	w.reach(w.outside, "tcp4", "192.0.2.2:8080", "192.0.2.1")
	for _, g := range []*guest{a, b} {
		if err := w.s.Release(ctx, g.id); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.s.Remove(ctx, n); err != nil {
		t.Fatal(err)
	}
	if now := state(); now != before {
		t.Errorf("the bridge was\n%s\nis\n%s", before, now)
	}

	// Unmanaged: nothing but ports. The gateway is a machine beyond the bridge.
	rules := host(t, "nft list ruleset")
	n = w.create(Network{Name: "lan", Options: map[string]string{optionName: "mine", optionManaged: "unmanaged"},
		Subnets: []Subnet{{Prefix: netip.MustParsePrefix("10.9.0.0/24"), Gateway: netip.MustParseAddr("10.9.0.1")}}})
	router := netns.New(t)
	host(t, "ip link add port type veth peer name eth0 netns "+namespacePath(router))
	t.Cleanup(func() { host(t, "ip link delete port") })
	host(t, "ip link set port master mine up")
	w.in(router, "ip address add 10.9.0.1/24 dev eth0")
	w.in(router, "ip link set eth0 up")
	w.in(router, "ip link set lo up")
	w.in(router, "ip address add 198.51.100.1/32 dev lo")
	w.serve(router, "tcp4", ":80")
	c := w.run(Request{Endpoints: on("lan")})
	if c.ip() != "10.9.0.3" {
		t.Errorf("%s", c.ip())
	}
	w.reach(c.Namespace, "tcp4", "198.51.100.1:80", c.ip())
	w.serve(c.Namespace, "tcp4", ":81")
	w.reach(router, "tcp4", c.ip()+":81", "10.9.0.1")
	if _, err := w.try(Request{Endpoints: on("lan"), Publish: web}); !fault.Is(err, fault.Invalid) || !strings.Contains(err.Error(), "mode=unmanaged") {
		t.Errorf("published: %v", err)
	}
	if out := host(t, "nft list ruleset"); strings.Contains(out, "10.9.0.0/24") {
		t.Errorf("the firewall knows of an unmanaged network:\n%s\nwas\n%s", out, rules)
	}
	if err := w.s.Release(ctx, c.id); err != nil {
		t.Fatal(err)
	}
	if err := w.s.Remove(ctx, n); err != nil {
		t.Fatal(err)
	}
	host(t, "ip link show dev mine")
}

func TestModesRefused(t *testing.T) {
	w := newWorld(t, Settings{})
	o := func(pairs ...string) map[string]string {
		m := map[string]string{}
		for i := 0; i < len(pairs); i += 2 {
			m[pairs[i]] = pairs[i+1]
		}
		return m
	}
	for _, c := range []struct {
		n    Network
		kind fault.Kind
		want string
	}{
		{Network{Options: o(optionMode4, "bridged")}, fault.Invalid, "value: bridged (nat, nat-unprotected, routed or isolated)"},
		{Network{Options: o(optionMode6, modeIsolated)}, fault.Invalid, "gateway mode 'isolated' can only be used for an internal network"},
		{Network{Options: o(optionTrusted, "eth0:a/b")}, fault.Invalid, "names of devices"},
		{Network{Options: o(optionIsolate, "perhaps")}, fault.Invalid, "true, false or strict"},
		{Network{Options: o(optionManaged, "unmanaged")}, fault.Invalid, "name it by com.docker.network.bridge.name"},
		{Network{Options: o(optionManaged, "unmanaged", optionName, "nowhere")}, fault.NotFound, "there is no bridge nowhere"},
		{Network{Options: o(optionManaged, "unmanaged", optionName, "eth0")}, fault.Conflict, "it is no bridge"},
		{Network{Options: o(optionManaged, "unmanaged", optionName, "eth0", optionMode4, modeRouted)}, fault.Invalid, "leave out mode=unmanaged"},
		{Network{NoIPv4: true}, fault.Invalid, "IPv4 or IPv6 must be enabled"},
		{Network{NoIPv4: true, IPv6: true, Subnets: subnet("10.9.0.0/24")}, fault.Invalid, "--ipv4=false leaves out"},
		{Network{Options: o(optionPrefix, "a-very-long-name")}, fault.Invalid, "not the beginning of a device's name"},
		{Network{DNS: []string{"dns.example"}}, fault.Invalid, "it is not the address of a server"},
	} {
		c.n.Name = "x"
		if _, err := w.s.Create(ctx, CreateRequest{c.n}); !fault.Is(err, c.kind) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%+v: %v, want %q", c.n, err, c.want)
		}
	}
}

// Subnets never meet routes of the host: of any table, also such as lead nowhere, at
// the network's making and when it comes up.
func TestCollisions(t *testing.T) {
	w := newWorld(t, Settings{})
	for _, line := range []string{
		"ip route add 172.18.0.0/16 via 192.0.2.1 table 77", "ip route add blackhole 172.19.7.0/24", "ip route add unreachable 172.20.0.0/15 table 700",
		"ip route add 0.0.0.0/1 via 192.0.2.1", "ip route add 128.0.0.0/1 via 192.0.2.1", // a tunnel's default routes
	} {
		host(t, line)
	}
	t.Cleanup(func() {
		for _, table := range []string{"77", "700"} {
			host(t, "ip route flush table "+table)
		}
		host(t, "ip route delete blackhole 172.19.7.0/24")
	})
	if n := w.create(Network{Name: "one"}); n.Subnets[0].Prefix.String() != "172.22.0.0/16" {
		t.Errorf("%v", n.Subnets)
	}
	if _, err := w.s.Create(ctx, CreateRequest{Network{Name: "x", Subnets: subnet("172.19.7.128/25")}}); !fault.Is(err, fault.Conflict) || err.Error() != "Pool overlaps with other one on this address space" {
		t.Errorf("%v", err)
	}
	w.create(Network{Name: "two", Subnets: subnet("10.9.0.0/24")})
	// Where the host has come to use it since, one that was asked for stays, one that
	// nobody asked for is another one then.
	host(t, "ip route add 10.9.0.0/16 via 192.0.2.1 table 77")
	if g := w.run(Request{Endpoints: on("two")}); g.ip() != "10.9.0.2" {
		t.Errorf("%s", g.ip())
	}
	host(t, "ip route add 172.22.0.0/17 via 192.0.2.1")
	if g := w.run(Request{Endpoints: on("one")}); g.ip() != "172.23.0.2" {
		t.Errorf("%s", g.ip())
	}
	if n, err := w.s.Find("one"); err != nil || n.Subnets[0].Prefix.String() != "172.23.0.0/16" {
		t.Errorf("%+v, %v", n, err)
	}
}

// What is changed of a network holds at once for who is on it.
func TestUpdate(t *testing.T) {
	w := newWorld(t, Settings{})
	w.create(Network{Name: "one", Labels: map[string]string{"a": "b", "c": "d"}, Subnets: subnet("10.9.0.0/24"), DNS: []string{"192.0.2.9"}})
	w.create(Network{Name: "two", Options: map[string]string{optionIsolate: "false"}})
	w.in(w.outside, "ip route add 10.9.0.0/24 via 192.0.2.2")
	a, b, c := w.run(Request{Endpoints: on("one")}), w.run(Request{Endpoints: on("one")}), w.run(Request{Endpoints: on("two")})
	for _, g := range []*guest{b, c} {
		w.serve(g.Namespace, "tcp4", ":80")
	}
	w.serve(w.outside, "tcp4", ":80")
	update := func(options ...string) {
		t.Helper()
		m := map[string]string{}
		for i := 0; i < len(options); i += 2 {
			m[options[i]] = options[i+1]
		}
		if _, err := w.s.Update(ctx, UpdateRequest{Network: "one", Options: m}); err != nil {
			t.Fatal(err)
		}
	}
	w.reach(a.Namespace, "tcp4", b.ip()+":80", a.ip())
	w.reach(a.Namespace, "tcp4", "192.0.2.1:80", "192.0.2.2")
	w.refuse(a.Namespace, "tcp4", c.ip()+":80")
	update(optionICC, "false", optionMasq, "false", optionIsolate, "false")
	w.refuse(a.Namespace, "tcp4", b.ip()+":80")
	w.reach(a.Namespace, "tcp4", "192.0.2.1:80", a.ip())
	w.reach(a.Namespace, "tcp4", c.ip()+":80", a.ip())
	rules := host(t, "nft list ruleset")
	if err := w.s.Reload(ctx); err != nil {
		t.Fatal(err)
	}
	if now := host(t, "nft list ruleset"); now != rules {
		t.Errorf("the rules after a reload are\n%s\nwere\n%s", now, rules)
	}
	update(optionICC, "true", optionMasq, "true", optionIsolate, "true", "theirs", "kept", optionMTU, "1400")
	w.reach(a.Namespace, "tcp4", b.ip()+":80", a.ip())
	w.reach(a.Namespace, "tcp4", "192.0.2.1:80", "192.0.2.2")
	w.refuse(a.Namespace, "tcp4", c.ip()+":80")
	d := w.run(Request{Endpoints: on("one")})
	if out := w.in(d.Namespace, "ip -o link show dev eth0"); !strings.Contains(out, "mtu 1400") {
		t.Errorf("%s", out)
	}
	n, err := w.s.Update(ctx, UpdateRequest{Network: "one", Labels: map[string]string{"e": "f"}, DropLabels: []string{"a"}, DNS: []string{"192.0.2.8"}, DropDNS: []string{"192.0.2.9"}})
	if err != nil {
		t.Fatal(err)
	}
	found, err := w.s.Find("one")
	for _, n := range []*Network{n, found} {
		if err != nil || len(n.Labels) != 2 || n.Labels["e"] != "f" || n.Labels["c"] != "d" || !slices.Equal(n.DNS, []string{"192.0.2.8"}) || n.Options["theirs"] != "kept" || len(n.Subnets) != 1 {
			t.Errorf("%+v, %v", n, err)
		}
	}
	for _, c := range []struct {
		r    UpdateRequest
		kind fault.Kind
		want string
	}{
		{UpdateRequest{Network: "nobody"}, fault.NotFound, "network nobody not found"},
		{UpdateRequest{Network: "bridge"}, fault.Conflict, "pre-defined"},
		{UpdateRequest{Network: "one", Options: map[string]string{optionMode4: modeRouted}}, fault.Unsupported, "cannot be changed: make another network"},
		{UpdateRequest{Network: "one", Options: map[string]string{optionICC: "maybe"}}, fault.Invalid, "failed to parse"},
		{UpdateRequest{Network: "one", DNS: []string{"x"}}, fault.Invalid, "it is not the address of a server"},
		{UpdateRequest{Network: "one", DropDNS: []string{"192.0.2.7"}}, fault.NotFound, "has no DNS server 192.0.2.7"},
	} {
		if _, err := w.s.Update(ctx, c.r); !fault.Is(err, c.kind) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%+v: %v, want %q", c.r, err, c.want)
		}
	}
	if left, err := os.ReadDir(w.s.records.Root); err != nil || len(left) != 2 {
		t.Errorf("%v, %v", left, err)
	}
}
