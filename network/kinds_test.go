package network

import (
	"net/netip"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"berth/base/fault"
	"berth/base/ids"
	"berth/test/netns"
)

func (w *world) create(n Network) *Network {
	w.t.Helper()
	made, err := w.s.Create(ctx, CreateRequest{n})
	if err != nil {
		w.t.Fatal(err)
	}
	return made
}

func on(names ...string) (list []Endpoint) {
	for _, n := range names {
		list = append(list, Endpoint{Network: n})
	}
	return list
}

func TestIsolation(t *testing.T) {
	w := newWorld(t, Settings{})
	// With these a container of a network whose containers are apart does not
	// reach itself through its own published port.
	host(t, "sysctl -qw net.bridge.bridge-nf-call-iptables=0")
	w.create(Network{Name: "one"})
	w.create(Network{Name: "two"})
	w.create(Network{Name: "closed", Internal: true})
	w.create(Network{Name: "apart", Options: map[string]string{optionICC: "false"}})
	publish := []Port{{Protocol: "tcp", Host: 8080, Container: 80, Count: 1}}
	a := w.run(Request{Endpoints: on("one")})
	b := w.run(Request{Endpoints: on("two"), Publish: publish})
	c := w.run(Request{Endpoints: on("closed")})
	d := w.run(Request{Endpoints: on("closed")})
	e := w.run(Request{Endpoints: on("apart")})
	f := w.run(Request{Endpoints: on("apart"), Publish: []Port{{Protocol: "tcp", Host: 8081, Container: 80, Count: 1}}})
	both := w.run(Request{Endpoints: on("one", "two")})
	for _, g := range []*guest{b, d, f} {
		w.serve(g.Namespace, "tcp4", ":80")
	}
	w.serve(w.outside, "tcp4", "192.0.2.1:80")

	w.refuse(a.Namespace, "tcp4", b.ip()+":80")
	w.reach(a.Namespace, "tcp4", "192.0.2.2:8080", b.a.Endpoints[0].Gateway.String()) // as with Docker and its proxy
	w.reach(both.Namespace, "tcp4", b.ip()+":80", both.a.Endpoints[1].IPv4.Addr().String())
	w.reach(both.Namespace, "tcp4", "192.0.2.1:80", "192.0.2.2")
	w.reach(w.outside, "tcp4", "192.0.2.2:8080", "192.0.2.1")

	w.reach(c.Namespace, "tcp4", d.ip()+":80", c.ip())
	w.refuse(c.Namespace, "tcp4", "192.0.2.1:80")
	if out := w.in(c.Namespace, "ip route show default"); !strings.Contains(out, c.a.Endpoints[0].Gateway.String()) {
		t.Errorf("it has no default route, by which it reaches the host: %q", out)
	}
	w.serve(nil, "tcp4", "192.0.2.2:90")
	w.reach(c.Namespace, "tcp4", "192.0.2.2:90", c.ip())
	w.refuse(c.Namespace, "tcp4", "192.0.2.2:8080")

	w.refuse(e.Namespace, "tcp4", f.ip()+":80")
	w.in(e.Namespace, "ip route add "+f.ip()+" via "+e.a.Endpoints[0].Gateway.String()) // by way of the host
	w.refuse(e.Namespace, "tcp4", f.ip()+":80")
	w.reach(e.Namespace, "tcp4", "192.0.2.1:80", "192.0.2.2")
	w.reach(f.Namespace, "tcp4", "192.0.2.2:8081", f.a.Endpoints[0].Gateway.String())
}

func TestIPv6(t *testing.T) {
	w := newWorld(t, Settings{})
	host(t, "ip address add 2001:db8::2/64 dev eth0 nodad")
	w.in(w.outside, "ip address add 2001:db8::1/64 dev eth0 nodad")
	w.create(Network{Name: "six", IPv6: true, Subnets: []Subnet{{Prefix: netip.MustParsePrefix("fd00:5::/64")}}})
	a := w.run(Request{Endpoints: on("six"), Publish: []Port{{Protocol: "tcp", Host: 8080, Container: 80, Count: 1}, {Protocol: "udp", Host: 8080, Container: 80, Count: 1}}})
	b := w.run(Request{Endpoints: []Endpoint{{Network: "six", IPv6: netip.MustParseAddr("fd00:5::77")}}})
	if got := a.a.Endpoints[0].IPv6.String(); got != "fd00:5::2/64" {
		t.Errorf("%s", got)
	}
	w.serve(a.Namespace, "tcp", ":80")
	w.serve(a.Namespace, "udp", ":80")
	w.serve(w.outside, "tcp6", "[2001:db8::1]:80")
	w.reach(b.Namespace, "tcp6", "[fd00:5::2]:80", "fd00:5::77")
	w.reach(a.Namespace, "tcp6", "[2001:db8::1]:80", "2001:db8::2")
	w.reach(w.outside, "tcp6", "[2001:db8::2]:8080", "2001:db8::1")
	w.reach(nil, "tcp6", "[2001:db8::2]:8080", "2001:db8::2")
	w.refuse(nil, "tcp6", "[::1]:8080") // where a relay is to listen
	// Of more ports there is no relay. Where the kernel shows a bridge's frames to the
	// firewall of packets, answers to ::1 are lost then.
	host(t, "sysctl -qw net.bridge.bridge-nf-call-ip6tables=0")
	many := w.run(Request{Endpoints: on("six"), Publish: []Port{{Protocol: "tcp", Host: 9080, Container: 80, Count: 40}, {Protocol: "udp", Host: 9080, Container: 80, Count: 40}}})
	w.serve(many.Namespace, "tcp", ":80")
	w.serve(many.Namespace, "udp", ":80")
	w.reach(nil, "tcp6", "[::1]:9080", "fd00:5::1")
	w.reach(nil, "udp6", "[::1]:9080", "fd00:5::1")
	w.reach(b.Namespace, "tcp6", "[2001:db8::2]:8080", "fd00:5::1")
	w.reach(a.Namespace, "tcp6", "[2001:db8::2]:8080", "fd00:5::1")
	w.reach(w.outside, "tcp4", "192.0.2.2:8080", "192.0.2.1")
	w.in(w.outside, "ip -6 route add fd00:5::/64 via 2001:db8::2")
	w.in(w.outside, "ip -6 address delete ::1/128 dev lo")
	w.in(w.outside, "ip -6 route add ::1/128 via 2001:db8::2")
	w.serve(nil, "tcp6", "[::1]:99")
	w.refuse(w.outside, "tcp6", "[::1]:99")
	w.refuse(w.outside, "tcp6", "[::1]:8080")
	w.refuse(w.outside, "tcp6", "[fd00:5::2]:80")
}

// A container of a private user namespace, whose network namespace belongs to it.
func TestUserNamespace(t *testing.T) {
	w := newWorld(t, Settings{})
	child := exec.Command("sleep", "600")
	child.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWUSER | syscall.CLONE_NEWNET,
		UidMappings: []syscall.SysProcIDMap{{HostID: 100000, Size: 65536}}, GidMappings: []syscall.SysProcIDMap{{HostID: 100000, Size: 65536}},
		Pdeathsig: syscall.SIGKILL,
	}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { child.Process.Kill(); child.Wait() }()
	file, err := os.Open("/proc/" + strconv.Itoa(child.Process.Pid) + "/ns/net")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	r := Request{Container: ids.New(), Endpoints: on(Default)}
	if _, err := w.s.Attach(ctx, r, file); err != nil {
		t.Fatal(err)
	}
	out := host(t, "nsenter -t "+strconv.Itoa(child.Process.Pid)+" -U -n --preserve-credentials ip -4 -o address")
	if !strings.Contains(out, "172.17.0.2/16") {
		t.Errorf("%s", out)
	}
	w.serve(w.outside, "tcp4", "192.0.2.1:80")
	if _, err := netns.Run("nsenter", "-t", strconv.Itoa(child.Process.Pid), "-U", "-n", "--preserve-credentials", "timeout", "20", "bash", "-c", "read x </dev/tcp/192.0.2.1/80; echo $x"); err != nil {
		t.Error(err)
	}
}

func TestRecords(t *testing.T) {
	w := newWorld(t, Settings{})
	first := w.create(Network{Name: "first", Labels: map[string]string{"a": "b"}, Subnets: []Subnet{{Prefix: netip.MustParsePrefix("172.17.0.0/16")}}})
	if p := first.Subnets[0]; p.Prefix.String() != "172.17.0.0/16" || p.Gateway.String() != "172.17.0.1" {
		t.Errorf("%+v", p)
	}
	host(t, "ip route add 172.18.3.0/24 via 192.0.2.1")
	second := w.create(Network{Name: "a b%2f ü"})
	if p := second.Subnets[0].Prefix.String(); p != "172.20.0.0/16" {
		t.Errorf("beside a route of the host, and what the default bridge will have: %s", p)
	}
	for name, want := range map[string]*Network{"first": first, first.ID: first, first.ID[:12]: first, "a b%2f ü": second} {
		if got, err := w.s.Find(name); err != nil || got.ID != want.ID {
			t.Errorf("find %q: %v, %v", name, got, err)
		}
	}
	list, err := w.s.List()
	var names []string
	for _, n := range list {
		names = append(names, n.Name)
	}
	if got := strings.Join(names, ","); got != "a b%2f ü,bridge,first,host,none" || err != nil {
		t.Errorf("%s, %v", got, err)
	}
	refused(w)
	g := w.run(Request{Name: "web", Endpoints: []Endpoint{{Network: "first", IPv4: netip.MustParseAddr("172.17.9.9"), MAC: "02:11:22:33:44:55", Aliases: []string{"db"}}}})
	if out := w.in(g.Namespace, "ip address show dev eth0"); !strings.Contains(out, "02:11:22:33:44:55") || !strings.Contains(out, "172.17.9.9/16") {
		t.Errorf("as asked:\n%s", out)
	}
	if err := w.s.Rename(g.id, "www"); err != nil {
		t.Error(err)
	}
	if on, err := w.s.Containers(first); err != nil || len(on) != 1 || on[0].Name != "www" || on[0].Endpoints[0].Aliases[0] != "db" {
		t.Errorf("%+v, %v", on, err)
	}
	if _, err := w.try(Request{Endpoints: []Endpoint{{Network: "first", IPv4: netip.MustParseAddr("172.17.9.9")}}}); !fault.Is(err, fault.Conflict) {
		t.Errorf("another's address: %v", err)
	}
	if _, err := w.try(Request{Endpoints: []Endpoint{{Network: "first", IPv4: netip.MustParseAddr("10.1.1.1")}}}); !fault.Is(err, fault.Invalid) {
		t.Errorf("no address of the network: %v", err)
	}
	if _, err := w.try(Request{Endpoints: on("nowhere")}); !fault.Is(err, fault.NotFound) || !strings.HasSuffix(err.Error(), "network nowhere not found") {
		t.Errorf("no such network: %v", err)
	}
	if err := w.s.Remove(ctx, first); !fault.Is(err, fault.Conflict) {
		t.Errorf("in use: %v", err)
	}
	if err := w.s.Release(ctx, g.id); err != nil {
		t.Error(err)
	}
	for _, n := range []*Network{first, second} {
		if err := w.s.Remove(ctx, n); err != nil {
			t.Error(err)
		}
	}
	if bridge, _ := w.s.Find(Default); !fault.Is(w.s.Remove(ctx, bridge), fault.Conflict) {
		t.Error("the default bridge was removed")
	}
	if out := host(t, "ip -o link"); strings.Contains(out, "br-") {
		t.Errorf("the bridge is left:\n%s", out)
	}
}

// refused makes what cannot be made beside the network first.
func refused(w *world) {
	w.t.Helper()
	for _, c := range []struct {
		n    Network
		kind fault.Kind
	}{
		{Network{Name: "first"}, fault.Exists},
		{Network{Name: "bridge"}, fault.Invalid},
		{Network{Name: ""}, fault.Invalid},
		{Network{Name: "a/b"}, fault.Invalid},
		{Network{Name: "a\nb"}, fault.Invalid},
		{Network{Name: strings.Repeat("x", 300)}, fault.Invalid},
		{Network{Name: "x", Driver: "overlay"}, fault.Unsupported},
		{Network{Name: "x", Subnets: []Subnet{{Prefix: netip.MustParsePrefix("172.17.5.0/24")}}}, fault.Conflict},
		{Network{Name: "x", Subnets: []Subnet{{Prefix: netip.MustParsePrefix("192.0.2.0/25")}}}, fault.Conflict},
		{Network{Name: "x", Subnets: []Subnet{{Prefix: netip.MustParsePrefix("10.0.0.0/24"), Gateway: netip.MustParseAddr("10.0.1.1")}}}, fault.Invalid},
		{Network{Name: "x", Subnets: []Subnet{{Prefix: netip.MustParsePrefix("10.0.0.0/24"), Range: netip.MustParsePrefix("10.0.1.0/25")}}}, fault.Invalid},
		{Network{Name: "x", Options: map[string]string{optionMTU: "many"}}, fault.Invalid},
	} {
		if _, err := w.s.Create(ctx, CreateRequest{c.n}); !fault.Is(err, c.kind) {
			w.t.Errorf("create %+v: %v, want %v", c.n, err, c.kind)
		}
	}
}

func TestDefaultDevice(t *testing.T) {
	// dockerd's bridge is not ours, and its subnet is another's.
	w := newWorld(t, Settings{})
	host(t, "ip link add docker0 type bridge")
	host(t, "ip address add 172.17.0.1/16 dev docker0")
	defer host(t, "ip link delete docker0")
	a := w.run(Request{})
	if out := host(t, "ip -o link show dev "+a.a.Endpoints[0].Device); !strings.Contains(out, "master berth0") || a.ip() != "172.18.0.2" {
		t.Errorf("%s: %s", a.ip(), out)
	}
}

func TestSettings(t *testing.T) {
	// A bridge of the administrator, and a subnet as set.
	w := newWorld(t, Settings{
		Bridge: "mine", MTU: 1400, PublishAddress: netip.MustParseAddr("127.0.0.1"),
		FixedCIDR: netip.MustParsePrefix("10.9.0.64/26"), Gateway: netip.MustParseAddr("10.9.0.99"),
	})
	host(t, "ip link add mine type bridge")
	host(t, "ip address add 10.9.0.7/24 dev mine")
	host(t, "ip link set mine up")
	defer host(t, "ip link delete mine")
	a := w.run(Request{Publish: []Port{{Protocol: "tcp", Host: 8080, Container: 80, Count: 1}}})
	if a.ip() != "10.9.0.64" || a.a.Endpoints[0].Gateway.String() != "10.9.0.99" || a.a.Ports[0].String() != "127.0.0.1:8080" {
		t.Errorf("%+v", a.a)
	}
	if out := w.in(a.Namespace, "ip -o link show dev eth0"); !strings.Contains(out, "mtu 1400") {
		t.Errorf("%s", out)
	}
	other := w.open(Settings{Address: netip.MustParsePrefix("10.8.0.1/24"), FixedCIDR: netip.MustParsePrefix("10.8.0.128/25")})
	other.files.Run, other.ports, other.table = w.root+"/other", "ve-o-", "berth-o"
	w.s, other = other, w.s
	b := w.run(Request{})
	if b.ip() != "10.8.0.128" {
		t.Errorf("%s", b.ip())
	}
	if err := w.s.TearDown(ctx); err != nil {
		t.Error(err)
	}
	w.s = other
}

// TestDockerdWasHere: docker0 is left to a dockerd that has been here.
func TestDockerdWasHere(t *testing.T) {
	root := t.TempDir()
	w := newWorld(t, Settings{DockerRoot: root})
	a := w.run(Request{})
	if out := host(t, "ip -o link show dev "+a.a.Endpoints[0].Device); !strings.Contains(out, "master docker0") {
		t.Errorf("%s", out)
	}
	if err := w.s.TearDown(ctx); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(root+"/network/files", 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(root+"/network/files/local-kv.db", nil, 0o600); err != nil {
		t.Fatal(err)
	}
	a = w.run(Request{})
	if out := host(t, "ip -o link show dev "+a.a.Endpoints[0].Device); !strings.Contains(out, "master berth0") {
		t.Errorf("%s", out)
	}
}

// TestDefaultBridgeIPv6: the default bridge has IPv6 as daemon.json says, from the pools or
// of its own without a subnet, and containers go out by the gateway that is named.
func TestDefaultBridgeIPv6(t *testing.T) {
	w := newWorld(t, Settings{IPv6: true})
	host(t, "ip address add 2001:db8::2/64 dev eth0 nodad")
	w.in(w.outside, "ip address add 2001:db8::1/64 dev eth0 nodad")
	a := w.run(Request{Publish: []Port{{Protocol: "tcp", Host: 8080, Container: 80, Count: 1}}})
	end := a.a.Endpoints[0]
	if end.IPv6.Bits() != 64 || !end.IPv6.Addr().IsPrivate() || end.Gateway6 != end.IPv6.Masked().Addr().Next() {
		t.Errorf("%+v", end)
	}
	w.serve(a.Namespace, "tcp6", ":80")
	w.reach(w.outside, "tcp6", "[2001:db8::2]:8080", "2001:db8::1")
	w.serve(w.outside, "tcp6", "[2001:db8::1]:81")
	w.reach(a.Namespace, "tcp6", "[2001:db8::1]:81", "2001:db8::2")

	if err := w.s.TearDown(ctx); err != nil {
		t.Fatal(err)
	}
	w.s = w.open(Settings{
		Address: netip.MustParsePrefix("10.8.0.1/24"), Gateway: netip.MustParseAddr("10.8.0.254"),
		IPv6: true, FixedCIDR6: netip.MustParsePrefix("fd08::/112"), Gateway6: netip.MustParseAddr("fd08::fe"),
	})
	b := w.run(Request{})
	end = b.a.Endpoints[0]
	if end.IPv6.String() != "fd08::2/112" || end.Gateway6.String() != "fd08::fe" || end.Gateway.String() != "10.8.0.254" {
		t.Errorf("%+v", end)
	}
	if out := w.in(b.Namespace, "ip route"); !strings.Contains(out, "default via 10.8.0.254") {
		t.Errorf("%s", out)
	}
	if out := host(t, "ip -6 -o address show dev docker0"); !strings.Contains(out, "fd08::1/112") {
		t.Errorf("%s", out)
	}
	other := w.s
	wrong := w.open(Settings{IPv6: true, FixedCIDR6: netip.MustParsePrefix("fd08::/112"), Gateway6: netip.MustParseAddr("fd09::1")})
	wrong.files.Run = w.root + "/wrong"
	w.s = wrong
	if _, err := w.try(Request{}); err == nil || !strings.Contains(err.Error(), "daemon.json") {
		t.Errorf("a gateway elsewhere: %v", err)
	}
	w.s = other
}
