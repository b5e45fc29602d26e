package network

import (
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"berth/base/fault"
	"berth/test/netns"
)

// lan is a network on the wire eth0, beside the host: the machine outside is the gateway.
func lan(name, driver string, options ...string) Network {
	n := Network{Name: name, Driver: driver, Options: map[string]string{"parent": "eth0"}, Subnets: []Subnet{{
		Prefix: netip.MustParsePrefix("192.0.2.0/24"), Gateway: netip.MustParseAddr("192.0.2.1"), Range: netip.MustParsePrefix("192.0.2.64/26"),
		Aux: map[string]netip.Addr{"host": netip.MustParseAddr("192.0.2.2"), "printer": netip.MustParseAddr("192.0.2.65")},
	}}}
	for i := 0; i < len(options); i += 2 {
		n.Options[options[i]] = options[i+1]
	}
	return n
}

// piece gives a network addresses that no other has: a server's socket keeps a namespace,
// and the link in it, to the end of the test.
func piece(i int, n Network) Network {
	n.Subnets[0].Range = netip.PrefixFrom(netip.AddrFrom4([4]byte{192, 0, 2, byte(128 + 16*i)}), 28)
	return n
}

// needKind skips where the kernel lacks a kind of devices.
func needKind(t *testing.T, kind string, args ...string) {
	t.Helper()
	netns.Need(t)
	line := append([]string{"link", "add"}, args...)
	if out, err := netns.Run("ip", append(line, "name", "probe", "type", kind)...); err != nil {
		t.Skipf("this kernel has no %s: %s", kind, out)
	}
	host(t, "ip link delete probe")
}

func (w *world) release(guests ...*guest) {
	w.t.Helper()
	for _, g := range guests {
		if err := w.s.Release(ctx, g.id); err != nil {
			w.t.Error(err)
		}
	}
}

func (w *world) removeNetwork(name string) {
	w.t.Helper()
	n, err := w.s.Find(name)
	if err == nil {
		err = w.s.Remove(ctx, n)
	}
	if err != nil {
		w.t.Errorf("remove network %s: %v", name, err)
	}
}

// Containers are machines of the wire, with addresses of their own, and the host's
// firewall and forwarding have no part in it.
func TestMacvlan(t *testing.T) {
	w := newWorld(t, Settings{})
	w.in(w.outside, "ip address add fd00:7::1/64 dev eth0 nodad")
	links, err := netns.Links()
	if err != nil {
		t.Fatal(err)
	}
	n := lan("lan", "macvlan")
	n.IPv6, n.Subnets = true, append(n.Subnets, Subnet{Prefix: netip.MustParsePrefix("fd00:7::/64")})
	n = *w.create(n)
	if n.Device != "eth0" {
		t.Errorf("%+v", n)
	}
	a := w.run(Request{Endpoints: on("lan"), Publish: []Port{{Protocol: "tcp", Host: 8080, Container: 80, Count: 1}}})
	b := w.run(Request{Endpoints: []Endpoint{{Network: "lan", IPv4: netip.MustParseAddr("192.0.2.99"), IPv6: netip.MustParseAddr("fd00:7::99"), MAC: "02:00:00:00:00:99"}}})
	if a.ip() != "192.0.2.64" {
		t.Errorf("the first address is %s", a.ip())
	}
	if c := w.run(Request{Endpoints: on("lan")}); c.ip() != "192.0.2.66" {
		t.Errorf("beside an address of somebody else: %s", c.ip())
	}
	for _, g := range []*guest{a, b} {
		w.serve(g.Namespace, "tcp", ":80")
	}
	w.serve(w.outside, "tcp", ":80")
	w.reach(a.Namespace, "tcp4", "192.0.2.1:80", a.ip())
	w.reach(a.Namespace, "tcp6", "[fd00:7::1]:80", a.a.Endpoints[0].IPv6.Addr().String())
	w.reach(w.outside, "tcp4", a.ip()+":80", "192.0.2.1")
	w.reach(w.outside, "tcp6", "[fd00:7::99]:80", "fd00:7::1")
	w.reach(a.Namespace, "tcp4", "192.0.2.99:80", a.ip())
	w.refuse(nil, "tcp4", "192.0.2.99:80") // as everywhere with macvlan: the host is not among them
	w.refuse(w.outside, "tcp4", "192.0.2.2:8080")
	if out := w.in(b.Namespace, "ip -d link show dev eth0"); !strings.Contains(out, "02:00:00:00:00:99") || !strings.Contains(out, "macvlan mode bridge") {
		t.Errorf("%s", out)
	}
	if out := w.in(b.Namespace, "ip route"); !strings.Contains(out, "default via 192.0.2.1 dev eth0") {
		t.Errorf("%s", out)
	}
	if out := host(t, "nft list ruleset"); out != "" {
		t.Errorf("the firewall has\n%s", out)
	}
	if out := host(t, "sysctl -n net.ipv4.conf.eth0.forwarding"); out != "0\n" {
		t.Errorf("the host forwards: %s", out)
	}
	if _, err := w.try(Request{Endpoints: []Endpoint{{Network: "lan", MAC: "02:00:00:00:00:99"}}}); !fault.Is(err, fault.Conflict) || !strings.Contains(err.Error(), "has mac address 02:00:00:00:00:99 on parent interface eth0") {
		t.Errorf("another's link address: %v", err)
	}
	found, _ := w.s.Find("lan")
	if err := w.s.Remove(ctx, found); !fault.Is(err, fault.Conflict) {
		t.Errorf("in use: %v", err)
	}
	all, _ := w.s.Containers(found)
	for _, x := range all {
		if err := w.s.Release(ctx, x.Container); err != nil {
			t.Error(err)
		}
	}
	w.removeNetwork("lan")
	if now, err := netns.Links(); !slices.Equal(now, links) {
		t.Errorf("the host has %q, %v", now, err)
	}
}

func TestMacvlanModes(t *testing.T) {
	w := newWorld(t, Settings{})
	w.serve(w.outside, "tcp4", "192.0.2.1:80")
	for i, mode := range []string{"private", "vepa"} {
		w.create(piece(i, lan("lan", "macvlan", "macvlan_mode", mode, optionMTU, "1400")))
		a, b := w.run(Request{Endpoints: on("lan")}), w.run(Request{Endpoints: on("lan")})
		w.serve(b.Namespace, "tcp4", ":80")
		w.reach(a.Namespace, "tcp4", "192.0.2.1:80", a.ip())
		w.reach(w.outside, "tcp4", b.ip()+":80", "192.0.2.1")
		w.refuse(a.Namespace, "tcp4", b.ip()+":80") // the other end of the wire sends nothing back
		if out := w.in(a.Namespace, "ip -d link show dev eth0"); !strings.Contains(out, "macvlan mode "+mode) || !strings.Contains(out, "mtu 1400") {
			t.Errorf("%s", out)
		}
		w.release(a, b)
		a.Close()
		b.Close()
		w.removeNetwork("lan")
	}
}

// In mode passthru one container has all that the parent has.
func TestMacvlanPassthru(t *testing.T) {
	w := newWorld(t, Settings{})
	w.serve(w.outside, "tcp4", "192.0.2.1:80")
	address := func() string {
		l, err := net.InterfaceByName("eth0")
		if err != nil {
			t.Fatal(err)
		}
		return l.HardwareAddr.String()
	}
	mac := address()
	w.create(lan("all", "macvlan", "macvlan_mode", "passthru"))
	a := w.run(Request{Name: "first", Endpoints: on("all")})
	if got := w.in(a.Namespace, "ip -o link show dev eth0"); !strings.Contains(got, mac) || a.a.Endpoints[0].MAC != mac {
		t.Errorf("%s has not the parent's address %s: %s", a.a.Endpoints[0].MAC, mac, got)
	}
	w.reach(a.Namespace, "tcp4", "192.0.2.1:80", a.ip())
	if _, err := w.try(Request{Endpoints: on("all")}); !fault.Is(err, fault.Conflict) || !strings.HasSuffix(err.Error(), "container first has parent interface eth0, which in mode passthru is for one") {
		t.Errorf("a second one: %v", err)
	}
	// The next one waits until the kernel has taken the link of the first one away.
	w.release(a)
	time.AfterFunc(200*time.Millisecond, a.Close)
	b := w.run(Request{Endpoints: []Endpoint{{Network: "all", MAC: "02:00:00:00:00:77"}}})
	if now := address(); now != "02:00:00:00:00:77" {
		t.Errorf("the parent has %s", now)
	}
	w.reach(b.Namespace, "tcp4", "192.0.2.1:80", b.ip())
	w.release(b)
	b.Close()
	for end := time.Now().Add(10 * time.Second); address() != mac; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("the parent keeps %s", address())
		}
	}
	w.removeNetwork("all")
}

// What is on a parent comes and goes live, beside bridges, also where the kernel or
// somebody took it away.
func TestParentAlter(t *testing.T) {
	w := newWorld(t, Settings{})
	w.create(Network{Name: "one"})
	w.create(lan("wire", "macvlan"))
	publish := []Port{{Protocol: "tcp", Host: 8080, Container: 80, Count: 1}}
	g := w.run(Request{Endpoints: on("one"), Publish: publish})
	w.serve(g.Namespace, "tcp4", ":80")
	w.serve(w.outside, "tcp4", "192.0.2.1:80")
	w.reach(w.outside, "tcp4", "192.0.2.2:8080", "192.0.2.1")
	both := []Endpoint{{Network: "one"}, {Network: "wire", IPv4: netip.MustParseAddr("192.0.2.70")}}
	a := w.mustAlter(g, Request{Endpoints: both, Publish: publish})
	if a.Moved || len(a.Ports) != 1 {
		t.Errorf("%+v", a)
	}
	w.reach(g.Namespace, "tcp4", "192.0.2.1:80", "192.0.2.70")
	w.reach(w.outside, "tcp4", "192.0.2.70:80", "192.0.2.1")
	w.reach(nil, "tcp4", "127.0.0.1:8080", g.a.Endpoints[0].Gateway.String())
	// With the default route the ports lead nowhere, as with docker.
	both[1].Priority = 1
	if a := w.mustAlter(g, Request{Endpoints: both, Publish: publish}); !a.Moved || len(a.Ports) != 0 {
		t.Errorf("%+v", a)
	}
	if out := w.in(g.Namespace, "ip route"); !strings.Contains(out, "default via 192.0.2.1 dev eth1") || strings.Count(out, "default") != 1 {
		t.Errorf("routes:\n%s", out)
	}
	w.refuse(w.outside, "tcp4", "192.0.2.2:8080")
	// Somebody took the link away: it is made again, and another time it just goes.
	w.in(g.Namespace, "ip link delete eth1")
	w.mustAlter(g, Request{Endpoints: both, Publish: publish})
	w.reach(w.outside, "tcp4", "192.0.2.70:80", "192.0.2.1")
	w.in(g.Namespace, "ip link delete eth1")
	w.mustAlter(g, Request{Endpoints: on("one"), Publish: publish})
	w.reach(w.outside, "tcp4", "192.0.2.2:8080", "192.0.2.1")
	w.mustAlter(g, Request{Endpoints: on("one", "wire"), Publish: publish})
	w.mustAlter(g, Request{Endpoints: on("wire")})
	if out := w.in(g.Namespace, "ip -br link"); strings.Contains(out, "eth0@") || !strings.Contains(out, "eth1@") {
		t.Errorf("%s", out)
	}
	w.reach(w.outside, "tcp4", "192.0.2.64:80", "192.0.2.1")
	w.mustAlter(g, Request{Endpoints: []Endpoint{}})
	if out := w.in(g.Namespace, "ip -br link"); strings.Contains(out, "eth") {
		t.Errorf("%s", out)
	}
	w.release(g)
	w.removeNetwork("one")
	w.removeNetwork("wire")
}

// A container that starts again has its addresses again, though its last link is there
// still; without the parent one line says so.
func TestParentGone(t *testing.T) {
	w := newWorld(t, Settings{})
	host(t, "ip link add port0 type veth peer name port1")
	host(t, "ip link set port0 up")
	gone := false
	t.Cleanup(func() {
		if !gone {
			host(t, "ip link delete port0")
		}
	})
	w.create(lan("lan", "macvlan", "parent", "port0"))
	g := w.run(Request{Name: "web", Endpoints: on("lan")})
	mac := g.a.Endpoints[0].MAC
	if err := w.s.Detach(ctx, g.id); err != nil {
		t.Fatal(err)
	}
	time.AfterFunc(200*time.Millisecond, g.Close)
	again := w.run(Request{Container: g.id, Name: "web", Endpoints: on("lan")})
	if now := again.a.Endpoints[0]; now.MAC != mac || now.IPv4 != g.a.Endpoints[0].IPv4 {
		t.Errorf("%+v", now)
	}
	host(t, "ip link delete port0")
	gone = true
	if out := w.in(again.Namespace, "ip -br link"); strings.Contains(out, "eth0") {
		t.Errorf("the link outlives its parent:\n%s", out)
	}
	for range 2 {
		if err := w.s.Detach(ctx, g.id); err != nil {
			t.Error(err)
		}
	}
	_, err := w.try(Request{Container: g.id, Name: "web", Endpoints: on("lan")})
	if !fault.Is(err, fault.NotFound) || !strings.HasPrefix(err.Error(), "network lan: parent interface port0 is not there") || strings.Contains(err.Error(), "\n") {
		t.Errorf("without the parent: %v", err)
	}
	if err := w.s.Release(ctx, g.id); err != nil {
		t.Error(err)
	}
	w.removeNetwork("lan")
}

// A network without a parent leads nowhere.
func TestStandIn(t *testing.T) {
	w := newWorld(t, Settings{})
	w.serve(w.outside, "tcp4", "192.0.2.1:80")
	for i, internal := range []bool{false, true} {
		n := piece(i, lan("closed", "macvlan", "parent", ""))
		if n.Internal = internal; internal {
			n.Options["parent"] = "eth0" // as docker: it counts for nothing
		}
		made := w.create(n)
		if made.Device != "dm-"+made.ID[:12] {
			t.Errorf("%+v", made)
		}
		if out := host(t, "ip -o link show dev "+made.Device); !strings.Contains(out, "UP") {
			t.Errorf("%s", out)
		}
		a, b := w.run(Request{Endpoints: on("closed")}), w.run(Request{Endpoints: on("closed")})
		w.serve(b.Namespace, "tcp4", ":80")
		w.reach(a.Namespace, "tcp4", b.ip()+":80", a.ip())
		w.refuse(a.Namespace, "tcp4", "192.0.2.1:80")
		if out := w.in(a.Namespace, "ip route"); strings.Contains(out, "default") == internal {
			t.Errorf("%s", out)
		}
		// Somebody took the device away: the next start brings it back.
		host(t, "ip link delete "+made.Device)
		w.release(a, b)
		c := w.run(Request{Endpoints: on("closed")})
		w.release(c)
		c.Close()
		w.removeNetwork("closed")
		if out := host(t, "ip -o link"); strings.Contains(out, "dm-") {
			t.Errorf("the device is left:\n%s", out)
		}
	}
}

// What is refused, and in which words; nothing is left of it.
func TestParentRefused(t *testing.T) {
	w := newWorld(t, Settings{})
	host(t, "ip link add bridge0 type bridge")
	host(t, "ip link add port0 type veth peer name port1")
	host(t, "ip link set port0 master bridge0")
	defer host(t, "ip link delete bridge0")
	defer host(t, "ip link delete port0")
	w.create(lan("lan", "macvlan"))
	other := func(n Network) Network {
		n.Subnets = []Subnet{{Prefix: netip.MustParsePrefix("10.9.0.0/24")}}
		return n
	}
	links, err := netns.Links()
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		n    Network
		kind fault.Kind
		want string
	}{
		{lan("lan", "macvlan"), fault.Exists, "network with name lan already exists"},
		{lan("x", "macvlan"), fault.Conflict, "Pool overlaps with other one on this address space"},
		{lan("x", "macvlan", "macvlan_mode", "l2"), fault.Invalid, "requested macvlan mode 'l2' is not valid, 'bridge' mode is the macvlan driver default"},
		{lan("x", "ipvlan", "ipvlan_mode", "bridge"), fault.Invalid, "requested ipvlan mode 'bridge' is not valid, 'l2' mode is the ipvlan driver default"},
		{lan("x", "ipvlan", "ipvlan_flag", "l2"), fault.Invalid, "requested ipvlan flag 'l2' is not valid, 'bridge' is the ipvlan driver default"},
		{lan("x", "macvlan", "parent", "lo"), fault.Invalid, "loopback interface is not a valid macvlan parent link"},
		{lan("x", "macvlan", "parent", "a/b"), fault.Invalid, `parent interface "a/b": not the name of a device`},
		{lan("x", "macvlan", "parent", "a b"), fault.Invalid, "not the name of a device"},
		{lan("x", "macvlan", "parent", "a\nb"), fault.Invalid, `"a\nb": not the name of a device`},
		{lan("x", "macvlan", "parent", "\xff"), fault.Invalid, "not the name of a device"},
		{lan("x", "macvlan", "parent", ".."), fault.Invalid, "not the name of a device"},
		{lan("x", "macvlan", "parent", "sixteen-letters0"), fault.Invalid, "not the name of a device"},
		{other(lan("x", "macvlan", "parent", "eth9")), fault.NotFound, "parent interface eth9 is not there"},
		{other(lan("x", "macvlan", "parent", ".5")), fault.NotFound, "parent interface .5 is not there"},
		{other(lan("x", "macvlan", "parent", "eth9.5")), fault.NotFound, "parent interface eth9.5 is not there, and no eth9 that it would be a VLAN of"},
		{other(lan("x", "macvlan", "parent", "eth0.x")), fault.Invalid, "unable to parse a valid vlan id from: x (ex. eth0.10 for vlan 10)"},
		{other(lan("x", "macvlan", "parent", "eth0.0")), fault.Invalid, "vlan id must be between 1-4094, received: 0"},
		{other(lan("x", "macvlan", "parent", "eth0.4095")), fault.Invalid, "vlan id must be between 1-4094, received: 4095"},
		{other(lan("x", "macvlan", "parent", "eth0.-1")), fault.Invalid, "unable to parse a valid vlan id"},
		{other(lan("x", "macvlan", "macvlan_mode", "passthru")), fault.Conflict, "cannot use mode passthru, macvlan network lan is already using parent interface eth0"},
		{other(lan("x", "ipvlan")), fault.Conflict, "macvlan network lan is already using parent interface eth0, which is for links of one driver"},
		{other(lan("x", "macvlan", optionMTU, "1x")), fault.Invalid, "failed to parse com.docker.network.driver.mtu value: 1x"},
	} {
		if _, err := w.s.Create(ctx, CreateRequest{c.n}); !fault.Is(err, c.kind) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s %v: %v, want %q", c.n.Driver, c.n.Options, err, c.want)
		}
	}
	w.create(other(lan("many", "macvlan"))) // a second network on the parent
	if now, err := netns.Links(); !slices.Equal(now, links) {
		t.Errorf("devices are left: %q, %v", now, err)
	}
	taken := other(lan("taken", "macvlan", "parent", "port0"))
	taken.Subnets[0].Prefix = netip.MustParsePrefix("10.9.1.0/24")
	w.create(taken)
	if _, err := w.try(Request{Endpoints: on("taken")}); !fault.Is(err, fault.Conflict) || !strings.Contains(err.Error(), "network taken: parent interface port0 is a port of a bridge or bond") {
		t.Errorf("a bridge's port: %v", err)
	}
	jumbo := other(lan("jumbo", "macvlan", optionMTU, "9000"))
	jumbo.Subnets[0].Prefix = netip.MustParsePrefix("10.9.2.0/24")
	w.create(jumbo)
	if _, err := w.try(Request{Endpoints: on("jumbo")}); !fault.Is(err, fault.Invalid) || !strings.Contains(err.Error(), "MTU 9000 is more than parent interface eth0 has, 1500") {
		t.Errorf("more than the parent's MTU: %v", err)
	}
}

// What a kernel lacks is named. In the guest, whose kernel lacks nothing, the tests
// below look at the rest.
func TestParentLacking(t *testing.T) {
	w := newWorld(t, Settings{})
	for _, c := range []struct{ probe, driver, parent, want string }{
		{"ipvlan", "ipvlan", "eth0", "this kernel has no ipvlan"},
		{"vlan", "macvlan", "eth0.5", "network x: make VLAN eth0.5: this kernel has no VLANs (8021q)"},
	} {
		_, err := netns.Run("ip", "link", "add", "link", "eth0", "name", "probe", "type", c.probe)
		if err == nil {
			host(t, "ip link delete probe")
			continue
		}
		if !strings.Contains(err.Error(), "Unknown device type") {
			continue // it wants more words, so it is there
		}
		_, err = w.s.Create(ctx, CreateRequest{lan("x", c.driver, "parent", c.parent)})
		if !fault.Is(err, fault.Unsupported) || !strings.HasPrefix(err.Error(), c.want) {
			t.Errorf("%s: %v", c.probe, err)
		}
		if _, err := w.s.Find("x"); !fault.Is(err, fault.NotFound) {
			t.Errorf("%s: its record is left: %v", c.probe, err)
		}
	}
}

// podman's networks without a parent are on the device of the default route.
func TestDefaultParent(t *testing.T) {
	w := newWorld(t, Settings{})
	n := lan("lan", "macvlan")
	delete(n.Options, "parent")
	n.DefaultParent = true
	made, err := w.s.Create(ctx, CreateRequest{n})
	if err != nil || made.Device != "eth0" || made.Options["parent"] != "eth0" {
		t.Errorf("%+v, %v", made, err)
	}
}

// Several subnets: a container is in one of each family.
func TestParentSubnets(t *testing.T) {
	w := newWorld(t, Settings{})
	n := lan("lan", "macvlan")
	n.Subnets[0].Range = netip.MustParsePrefix("192.0.2.64/32")
	n.Subnets = append(n.Subnets, Subnet{Prefix: netip.MustParsePrefix("10.9.0.0/24")})
	w.create(n)
	a, b := w.run(Request{Endpoints: on("lan")}), w.run(Request{Endpoints: on("lan")})
	c := w.run(Request{Endpoints: []Endpoint{{Network: "lan", IPv4: netip.MustParseAddr("10.9.0.9")}}})
	if a.ip() != "192.0.2.64" || b.ip() != "10.9.0.2" || c.ip() != "10.9.0.9" || c.a.Endpoints[0].Gateway.String() != "10.9.0.1" {
		t.Errorf("%s %s %s", a.ip(), b.ip(), c.ip())
	}
	if err := w.s.Detach(ctx, c.id); err != nil {
		t.Error(err)
	}
	c.Close()
	if again := w.run(Request{Container: c.id, Endpoints: on("lan")}); again.ip() != c.ip() {
		t.Errorf("after a restart: %s", again.ip())
	}
	if _, err := w.try(Request{Endpoints: []Endpoint{{Network: "lan", IPv4: netip.MustParseAddr("10.8.0.9")}}}); !fault.Is(err, fault.Invalid) {
		t.Errorf("%v", err)
	}
}

// ipvlan's modes. All links have the parent's link address.
func TestIPvlan(t *testing.T) {
	w := newWorld(t, Settings{})
	needKind(t, "ipvlan", "link", "eth0")
	w.serve(w.outside, "tcp4", "192.0.2.1:80")
	for i, c := range []struct{ mode, flag string }{{"", ""}, {"l2", "private"}, {"l2", "vepa"}, {"l3", ""}, {"l3s", ""}} {
		n := piece(i, lan("lan", "ipvlan", "ipvlan_mode", c.mode, "ipvlan_flag", c.flag))
		if strings.HasPrefix(c.mode, "l3") { // nobody answers for them on the wire: others need a route
			n.Subnets = []Subnet{{Prefix: netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 8, byte(i), 0}), 24)}}
			w.in(w.outside, "ip route add "+n.Subnets[0].Prefix.String()+" via 192.0.2.2")
		}
		w.create(n)
		a, b := w.run(Request{Endpoints: on("lan")}), w.run(Request{Endpoints: on("lan")})
		w.serve(b.Namespace, "tcp4", ":80")
		w.reach(a.Namespace, "tcp4", "192.0.2.1:80", a.ip())
		w.reach(w.outside, "tcp4", b.ip()+":80", "192.0.2.1")
		if c.flag == "" {
			w.reach(a.Namespace, "tcp4", b.ip()+":80", a.ip())
		} else {
			w.refuse(a.Namespace, "tcp4", b.ip()+":80")
		}
		want := "default via 192.0.2.1 dev eth0"
		if strings.HasPrefix(c.mode, "l3") {
			want = "default dev eth0 scope link"
		}
		if out := w.in(a.Namespace, "ip route"); !strings.Contains(out, want) {
			t.Errorf("%s: %s", c.mode, out)
		}
		if a.a.Endpoints[0].MAC != "" {
			t.Errorf("%+v", a.a.Endpoints[0])
		}
		if _, err := w.try(Request{Endpoints: []Endpoint{{Network: "lan", MAC: "02:00:00:00:00:01"}}}); !fault.Is(err, fault.Invalid) || !strings.Contains(err.Error(), "ipvlan interfaces do not support custom mac address assignment") {
			t.Errorf("%v", err)
		}
		second := lan("second", "ipvlan", "ipvlan_mode", "l3", "ipvlan_flag", "vepa")
		second.Subnets = []Subnet{{Prefix: netip.MustParsePrefix("10.9.0.0/24")}}
		if _, err := w.s.Create(ctx, CreateRequest{second}); !fault.Is(err, fault.Conflict) {
			t.Errorf("another mode on one parent: %v", err)
		}
		// The same address in the next run, while the last link is there.
		if err := w.s.Detach(ctx, a.id); err != nil {
			t.Error(err)
		}
		time.AfterFunc(200*time.Millisecond, a.Close)
		again := w.run(Request{Container: a.id, Endpoints: on("lan")})
		w.reach(w.outside, "tcp4", b.ip()+":80", "192.0.2.1")
		w.reach(again.Namespace, "tcp4", "192.0.2.1:80", a.ip())
		w.release(again, b)
		again.Close()
		b.Close()
		w.removeNetwork("lan")
	}
}

// A VLAN is made with its network and goes with the last one on it; one that was there
// stays.
func TestVLAN(t *testing.T) {
	w := newWorld(t, Settings{})
	if _, err := w.outside.Run("ip", "link", "add", "link", "eth0", "name", "eth0.50", "type", "vlan", "id", "50"); err != nil {
		t.Skipf("this kernel has no VLANs: %v", err)
	}
	w.in(w.outside, "ip address add 10.9.0.1/24 dev eth0.50")
	w.in(w.outside, "ip link set eth0.50 up")
	w.serve(w.outside, "tcp4", "10.9.0.1:80")
	on50 := func(name, subnet string) Network {
		n := lan(name, "macvlan", "parent", "eth0.50")
		n.Subnets = []Subnet{{Prefix: netip.MustParsePrefix(subnet)}}
		return n
	}
	w.create(on50("fifty", "10.9.0.0/24"))
	if out := host(t, "ip -d link show dev eth0.50"); !strings.Contains(out, "vlan protocol 802.1Q id 50") || !strings.Contains(out, "UP") {
		t.Errorf("%s", out)
	}
	w.create(on50("more", "10.9.1.0/24"))
	w.removeNetwork("fifty")
	if _, err := netns.Run("ip", "link", "show", "dev", "eth0.50"); err != nil {
		t.Errorf("another network has it still: %v", err)
	}
	w.removeNetwork("more")
	if out, err := netns.Run("ip", "link", "show", "dev", "eth0.50"); err == nil {
		t.Errorf("it is left: %s", out)
	}
	// One that somebody took away comes back with the next container.
	w.create(on50("fifty", "10.9.0.0/24"))
	host(t, "ip link delete eth0.50")
	g := w.run(Request{Endpoints: on("fifty")})
	w.reach(g.Namespace, "tcp4", "10.9.0.1:80", g.ip())
	w.release(g)
	host(t, "ip link delete eth0.50")
	w.removeNetwork("fifty") // nothing to remove is no error
	host(t, "ip link add link eth0 name eth0.50 type vlan id 50")
	w.create(on50("fifty", "10.9.0.0/24"))
	w.removeNetwork("fifty")
	host(t, "ip link delete eth0.50") // it was the administrator's
	// Another name of the same VLAN.
	host(t, "ip link add link eth0 name wire type vlan id 50")
	_, err := w.s.Create(ctx, CreateRequest{on50("fifty", "10.9.0.0/24")})
	if !fault.Is(err, fault.Conflict) || !strings.Contains(err.Error(), "eth0 has VLAN 50 already, under another name") {
		t.Errorf("%v", err)
	}
	host(t, "ip link delete wire")
	// The device below is down.
	host(t, "ip link set eth0 down")
	if _, err = w.s.Create(ctx, CreateRequest{on50("fifty", "10.9.0.0/24")}); !fault.Is(err, fault.Unavailable) || !strings.Contains(err.Error(), "is down") {
		t.Errorf("%v", err)
	}
	host(t, "ip link set eth0 up")
	if out, err := netns.Run("ip", "link", "show", "dev", "eth0.50"); err == nil {
		t.Errorf("what could not be set up is left: %s", out)
	}
}
