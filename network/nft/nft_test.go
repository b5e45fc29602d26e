package nft

import (
	"errors"
	"net/netip"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"berth/test/netns"
)

func TestMain(m *testing.M) { os.Exit(netns.Main(m.Run)) }

func open(t *testing.T) *Conn {
	t.Helper()
	netns.Need(t)
	c, err := Open(Table, Ports)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Uninstall(); err != nil {
			t.Error(err)
		}
		c.Close()
	})
	return c
}

func listing(t *testing.T) string {
	t.Helper()
	out, err := netns.Run("nft", "list", "ruleset")
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func example() []Element {
	net := Network{Device: "docker0", Subnets: []Subnet{{Prefix: netip.MustParsePrefix("172.17.0.0/16"), NAT: true}, {Prefix: netip.MustParsePrefix("fd00:17::/64"), NAT: true}}}
	elements := net.Elements()
	routed := Network{Device: "br-routed", Trusted: []string{"eth1"}, Mingles: true, Subnets: []Subnet{
		{Prefix: netip.MustParsePrefix("192.0.2.128/25"), Open: true}, {Prefix: netip.MustParsePrefix("2001:db8:1::/64"), Routed: true},
	}}
	elements = append(elements, routed.Elements()...)
	for _, o := range []Opening{{netip.MustParseAddr("192.0.2.130"), 6, 80, 80}, {netip.MustParseAddr("2001:db8:1::2"), 6, 8000, 8099}} {
		elements = append(elements, o.Element())
	}
	elements = append(elements, Guard("veth-1a2b3c4", []byte{2, 0x42, 0xac, 0x11, 0, 2},
		[]netip.Addr{netip.MustParseAddr("172.17.0.2"), netip.MustParseAddr("fd00:17::2")})...)
	to4, to6 := netip.MustParseAddr("172.17.0.2"), netip.MustParseAddr("fd00:17::2")
	for _, m := range []Mapping{
		{6, netip.Addr{}, 8080, 8080, netip.AddrPortFrom(to4, 80)},
		{6, netip.MustParseAddr("127.0.0.1"), 5432, 5432, netip.AddrPortFrom(to4, 5432)},
		{17, netip.Addr{}, 10000, 19999, netip.AddrPortFrom(to4, 0)},
		{17, netip.MustParseAddr("192.0.2.1"), 20000, 20999, netip.AddrPortFrom(to4, 0)},
		{6, netip.Addr{}, 8080, 8080, netip.AddrPortFrom(to6, 80)},
		{6, netip.MustParseAddr("2001:db8::1"), 443, 443, netip.AddrPortFrom(to6, 8443)},
		{6, netip.Addr{}, 9000, 9100, netip.AddrPortFrom(to6, 0)},
		{132, netip.MustParseAddr("2001:db8::1"), 9000, 9100, netip.AddrPortFrom(to6, 0)},
	} {
		elements = append(elements, m.Element())
	}
	for _, r := range []Relayed{{6, netip.Addr{}, 8082}, {17, netip.IPv6Loopback(), 5353}} {
		elements = append(elements, r.Element())
	}
	elements = append(elements, Trust("veth-5d6e7f8")...)
	return append(elements, Opened("eth0", false), Opened("eth0", true), Opened("br0", false), Within("br0"))
}

func TestInstall(t *testing.T) {
	c := open(t)
	if f, err := c.Fingerprint(); f != "" || err != nil {
		t.Fatalf("without a table: %q, %v", f, err)
	}
	for range 2 { // the second replaces the first
		if err := c.Install(example()); err != nil {
			t.Fatal(err)
		}
	}
	got := listing(t)
	t.Log(got)
	for _, want := range []string{"172.17.0.0/16", "tcp . 8080 : 172.17.0.2 . 80", "127.0.0.1 . tcp . 5432",
		"udp . 10000-19999 : 172.17.0.2", "\"docker0\" . \"docker0\"", "veth-1a2b3c4"} {
		if !strings.Contains(got, want) {
			t.Errorf("no %q", want)
		}
	}
	before, err := c.Fingerprint()
	if err != nil || before == "" {
		t.Fatal(before, err)
	}
	if err := c.Remove(example()); err != nil {
		t.Fatal(err)
	}
	if got := listing(t); strings.Contains(got, "172.17.0.2") || strings.Contains(got, "1a2b3c4") || strings.Contains(got, "docker0") {
		t.Errorf("elements are left:\n%s", got)
	}
	if err := c.Remove(example()); err != nil {
		t.Errorf("again: %v", err)
	}
	if err := c.Add(example()); err != nil {
		t.Errorf("add: %v", err)
	}
	if err := c.Add(example()); err != nil {
		t.Errorf("add again: %v", err)
	}
	other := Mapping{6, netip.Addr{}, 8080, 8080, netip.MustParseAddrPort("172.17.0.3:80")}
	if err := c.Add([]Element{other.Element()}); !errors.Is(err, unix.EBUSY) && !errors.Is(err, unix.EEXIST) {
		t.Errorf("another's port: %v", err)
	}
	if after, err := c.Fingerprint(); after != before {
		t.Errorf("elements changed the fingerprint: %v", err)
	}
	if _, err := netns.Run("nft", "flush", "table", "inet", "berth"); err != nil {
		t.Fatal(err)
	}
	if after, err := c.Fingerprint(); after == before || err != nil {
		t.Errorf("a flush is not seen: %v", err)
	}
}

func TestGeneration(t *testing.T) {
	c := open(t)
	first, err := c.Generation()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Install(nil); err != nil {
		t.Fatal(err)
	}
	second, err := c.Generation()
	if err != nil || second != first+1 {
		t.Errorf("one change: from %d to %d, %v", first, second, err)
	}
}

func BenchmarkPublish(b *testing.B) {
	netns.Need(b)
	c, err := Open(Table, Ports)
	if err != nil {
		b.Fatal(err)
	}
	defer c.Close()
	if err := c.Install(example()); err != nil {
		b.Fatal(err)
	}
	list := []Element{Mapping{6, netip.Addr{}, 8081, 8081, netip.MustParseAddrPort("172.17.0.2:80")}.Element()}
	for b.Loop() {
		if err := c.Add(list); err != nil {
			b.Fatal(err)
		}
		if err := c.Remove(list); err != nil {
			b.Fatal(err)
		}
	}
	_ = c.Uninstall()
}
