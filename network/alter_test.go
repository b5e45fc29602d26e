package network

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"berth/base/fault"
	"berth/network/portmap"
)

// alter gives a running guest other networks.
func (w *world) alter(g *guest, r Request) (*Altered, error) {
	r.Container, r.Name, r.Held = g.id, g.a.Name, g.a.Hold
	a, err := w.s.Alter(ctx, r, g.File)
	if err == nil {
		err = w.s.Confirm(g.id)
	}
	if err == nil {
		held := g.a.Hold
		if a.Moved { // as the monitor does
			portmap.CloseAll(held)
			held = a.Hold
		}
		g.a = a.Attachment
		g.a.Hold = held
	}
	return a, err
}

func (w *world) mustAlter(g *guest, r Request) *Altered {
	w.t.Helper()
	a, err := w.alter(g, r)
	if err != nil {
		w.t.Fatal(err)
	}
	return a
}

// A running container comes to a network and leaves one: what it keeps stays, the
// default route and its published ports go where they belong.
func TestAlter(t *testing.T) {
	w := newWorld(t, Settings{})
	w.create(Network{Name: "one"})
	w.create(Network{Name: "two"})
	w.create(Network{Name: "closed", Internal: true})
	before := host(t, "nft list ruleset")
	publish := []Port{{Protocol: "tcp", Host: 8080, Container: 80, Count: 1}}
	g := w.run(Request{Endpoints: on("closed"), Publish: publish})
	peer := w.run(Request{Endpoints: on("two")})
	w.serve(g.Namespace, "tcp4", ":80")
	w.serve(peer.Namespace, "tcp4", ":80")
	w.serve(w.outside, "tcp4", "192.0.2.1:80")
	w.refuse(g.Namespace, "tcp4", "192.0.2.1:80")
	w.refuse(w.outside, "tcp4", "192.0.2.2:8080")
	first := g.ip()

	// To a network with a way out: it is the default one now, and the ports lead there.
	a := w.mustAlter(g, Request{Endpoints: on("closed", "one"), Publish: publish})
	if !a.Moved || len(a.Hold) != 1 || g.ip() != first || !g.a.Endpoints[1].Default {
		t.Errorf("%+v", a)
	}
	w.reach(g.Namespace, "tcp4", "192.0.2.1:80", "192.0.2.2")
	w.reach(w.outside, "tcp4", "192.0.2.2:8080", "192.0.2.1")
	// Repeated it changes nothing.
	rules := host(t, "nft list ruleset")
	if a := w.mustAlter(g, Request{Endpoints: on("closed", "one"), Publish: publish}); a.Moved || len(a.Ports) != 1 {
		t.Errorf("again: %+v", a)
	}
	if now := host(t, "nft list ruleset"); now != rules {
		t.Errorf("again: the firewall is\n%s\nwas\n%s", now, rules)
	}
	// A priority takes the default route, and the ports keep the host's.
	w.refuse(g.Namespace, "tcp4", peer.ip()+":80")
	a = w.mustAlter(g, Request{Endpoints: []Endpoint{{Network: "closed"}, {Network: "one"}, {Network: "two", Priority: 1}}, Publish: publish})
	if !a.Moved || !g.a.Endpoints[2].Default || g.a.Endpoints[2].Interface != "eth2" {
		t.Errorf("%+v", a)
	}
	if out := w.in(g.Namespace, "ip route"); !strings.Contains(out, "default via "+g.a.Endpoints[2].Gateway.String()+" dev eth2") || strings.Count(out, "default") != 1 {
		t.Errorf("routes:\n%s", out)
	}
	w.reach(g.Namespace, "tcp4", peer.ip()+":80", g.a.Endpoints[2].IPv4.Addr().String())
	w.reach(w.outside, "tcp4", "192.0.2.2:8080", "192.0.2.1")
	// It leaves that one: the other one with a way out leads again.
	w.mustAlter(g, Request{Endpoints: on("closed", "one"), Publish: publish})
	w.reach(w.outside, "tcp4", "192.0.2.2:8080", "192.0.2.1")
	w.reach(g.Namespace, "tcp4", "192.0.2.1:80", "192.0.2.2")
	w.refuse(g.Namespace, "tcp4", peer.ip()+":80")
	if out := w.in(g.Namespace, "ip -br link"); strings.Contains(out, "eth2") {
		t.Errorf("the device stays:\n%s", out)
	}
	// And all: a new container gets what it had.
	a = w.mustAlter(g, Request{Publish: publish})
	if len(a.Endpoints) != 0 || len(a.Ports) != 0 || !a.Moved {
		t.Errorf("%+v", a)
	}
	w.refuse(w.outside, "tcp4", "192.0.2.2:8080")
	if again := w.run(Request{Endpoints: on("closed")}); again.ip() != first {
		t.Errorf("the address is not given back: %s, want %s", again.ip(), first)
	} else if err := w.s.Release(ctx, again.id); err != nil {
		t.Error(err)
	}
	w.mustAlter(g, Request{Endpoints: on("one"), Publish: publish})
	w.reach(w.outside, "tcp4", "192.0.2.2:8080", "192.0.2.1")

	w.emptied(before, g, peer)
}

// emptied removes containers and their networks: nothing of them is left in the firewall.
func (w *world) emptied(before string, guests ...*guest) {
	t := w.t
	t.Helper()
	portmap.CloseAll(guests[0].a.Hold)
	for _, x := range guests {
		if err := w.s.Release(ctx, x.id); err != nil {
			t.Error(err)
		}
	}
	for _, n := range []string{"one", "two", "closed"} {
		found, err := w.s.Find(n)
		if err == nil {
			err = w.s.Remove(ctx, found)
		}
		if err != nil {
			t.Error(err)
		}
	}
	if err := w.s.Reload(ctx); err != nil {
		t.Error(err)
	}
	if now := strings.ReplaceAll(host(t, "nft list ruleset"), before, ""); strings.Contains(now, "br-") || strings.Contains(now, "8080") {
		t.Errorf("the firewall has\n%s", now)
	}
}

// An Alter that fails leaves everything as it was; a killed one is done again.
func TestAlterFails(t *testing.T) {
	w := newWorld(t, Settings{})
	w.create(Network{Name: "one"})
	w.create(Network{Name: "two", Subnets: []Subnet{{Prefix: netip.MustParsePrefix("10.9.0.0/24")}}})
	other := w.run(Request{Endpoints: []Endpoint{{Network: "two", IPv4: netip.MustParseAddr("10.9.0.9")}}})
	g := w.run(Request{Endpoints: on("one")})
	look := func() string {
		return host(t, "nft list ruleset") + w.in(g.Namespace, "ip route") + host(t, "ip -br -o link")
	}
	before := look()
	for what, r := range map[string]Request{
		"address in use":   {Endpoints: []Endpoint{{Network: "one"}, {Network: "two", IPv4: netip.MustParseAddr("10.9.0.9")}}},
		"no such network":  {Endpoints: on("one", "nope")},
		"interface in use": {Endpoints: []Endpoint{{Network: "one"}, {Network: "two", Interface: "lo"}}},
	} {
		if _, err := w.alter(g, r); err == nil {
			t.Errorf("%s: no error", what)
		}
		if now := look(); now != before {
			t.Errorf("%s: now\n%s\nwas\n%s", what, now, before)
		}
		if a, err := w.s.Endpoints(g.id); err != nil || len(a.Endpoints) != 1 {
			t.Errorf("%s: %+v, %v", what, a, err)
		}
	}
	// Killed before the device was made: there is a file that tells of one.
	w.mustAlter(g, Request{Endpoints: on("one", "two")})
	host(t, "ip link delete "+g.a.Endpoints[1].Device)
	w.serve(other.Namespace, "tcp4", ":80")
	w.mustAlter(g, Request{Endpoints: on("one", "two")})
	w.reach(g.Namespace, "tcp4", "10.9.0.9:80", g.a.Endpoints[1].IPv4.Addr().String())
}

// What is refused of a network, and in which words.
func TestCreateRefused(t *testing.T) {
	w := newWorld(t, Settings{})
	p := netip.MustParsePrefix
	w.create(Network{Name: "one", Subnets: []Subnet{{Prefix: p("10.9.0.0/24")}}, Options: map[string]string{optionName: "mine"}})
	for _, c := range []struct {
		n    Network
		kind fault.Kind
		want string
	}{
		{Network{Name: "one"}, fault.Exists, "network with name one already exists"},
		{Network{Name: "host"}, fault.Invalid, "operation is not permitted on predefined host network"},
		{Network{Name: "default"}, fault.Invalid, "operation is not permitted on predefined default network"},
		{Network{Name: "podman"}, fault.Invalid, "operation is not permitted on predefined podman network"},
		{Network{Name: " "}, fault.Invalid, "invalid network name"},
		{Network{Name: "a/b"}, fault.Invalid, "invalid network name"},
		{Network{Name: "container:x"}, fault.Invalid, "means something else"},
		{Network{Name: "x", Driver: "null"}, fault.Invalid, `only one instance of "null" network is allowed`},
		{Network{Name: "x", Driver: "foo"}, fault.NotFound, `plugin "foo" not found`},
		{Network{Name: "x", Subnets: []Subnet{{Prefix: p("10.9.0.128/25")}}}, fault.Conflict, "Pool overlaps with other one on this address space"},
		{Network{Name: "x", Subnets: []Subnet{{Prefix: p("10.0.0.0/8")}}}, fault.Conflict, "Pool overlaps"},
		{Network{Name: "x", Subnets: []Subnet{{Prefix: p("192.0.2.0/25")}}}, fault.Conflict, "Pool overlaps"}, // the host's own
		{Network{Name: "x", Subnets: []Subnet{{Prefix: p("10.1.0.0/24")}, {Prefix: p("10.2.0.0/24")}}}, fault.Invalid, "bridge driver doesn't support multiple subnets"},
		{Network{Name: "x", Subnets: []Subnet{{Prefix: p("fd00::/64")}}}, fault.Invalid, "takes --ipv6"},
		{Network{Name: "x", Subnets: []Subnet{{Prefix: p("10.1.0.0/24"), Gateway: netip.MustParseAddr("10.1.0.255")}}}, fault.Invalid, "gateway 10.1.0.255"},
		{Network{Name: "x", Subnets: []Subnet{{Prefix: p("10.1.0.0/24"), Range: p("10.0.0.0/8")}}}, fault.Invalid, "no matching subnet for range"},
		{Network{Name: "x", Options: map[string]string{optionICC: "maybe"}}, fault.Invalid, `failed to parse com.docker.network.bridge.enable_icc value: maybe (strconv.ParseBool: parsing "maybe": invalid syntax)`},
		{Network{Name: "x", Options: map[string]string{optionBinding: "x"}}, fault.Invalid, "value: x (nil ip)"},
		{Network{Name: "x", Options: map[string]string{"com.docker.network.bridge.something": "true"}}, fault.Unsupported, "is not served yet"},
		{Network{Name: "x", Options: map[string]string{optionName: "a/b"}}, fault.Invalid, "not the name of a device"},
		{Network{Name: "x", Options: map[string]string{optionName: "mine"}}, fault.Conflict, "networks have same bridge name"},
		{Network{Name: "x", Options: map[string]string{optionName: "docker0"}}, fault.Conflict, "networks have same bridge name"},
	} {
		_, err := w.s.Create(ctx, CreateRequest{c.n})
		if !fault.Is(err, c.kind) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%+v: %v, want %q", c.n, err, c.want)
		}
	}
	all, err := w.s.List()
	if err != nil || len(all) != 4 {
		t.Errorf("%d networks, %v", len(all), err)
	}
	// The default bridge's subnet stays its own, and a name with a dot in front is seen.
	auto := w.create(Network{Name: ".auto"})
	if auto.Subnets[0].Prefix != p("172.18.0.0/16") {
		t.Errorf("%v", auto.Subnets)
	}
	if g := w.run(Request{}); g.ip() != "172.17.0.2" {
		t.Errorf("the default bridge gives %s", g.ip())
	}
	if all, _ := w.s.List(); len(all) != 5 {
		t.Errorf("%d networks", len(all))
	}
	if found, err := w.s.Find(auto.ID[:20]); err != nil || found.Name != ".auto" {
		t.Errorf("%v, %v", found, err)
	}
}

// A removal that was killed after the record was gone: the next create finds the
// subnet free, and no device is left.
func TestRemovalKilled(t *testing.T) {
	w := newWorld(t, Settings{})
	for i := range 2 {
		n := w.create(Network{Name: "one", Subnets: []Subnet{{Prefix: netip.MustParsePrefix("10.9.0.0/24")}}})
		g := w.run(Request{Endpoints: on("one")})
		if err := w.s.Release(ctx, g.id); err != nil {
			t.Fatal(err)
		}
		if i == 1 {
			if err := w.s.Remove(ctx, n); err != nil {
				t.Fatal(err)
			}
			break
		}
		host(t, fmt.Sprintf("rm %s", w.s.records.File("one")))
	}
	if out := host(t, "ip -o link show type bridge"); out != "" {
		t.Errorf("bridges are left:\n%s", out)
	}
	if out := host(t, "nft list ruleset"); strings.Contains(out, "br-") || strings.Contains(out, "10.9.0.0/24") {
		t.Errorf("rules are left:\n%s", out)
	}
	if err := w.s.Remove(ctx, &Network{Name: "one", ID: "0"}); !fault.Is(err, fault.NotFound) {
		t.Errorf("removed again: %v", err)
	}
}
