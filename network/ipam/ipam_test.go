package ipam

import (
	"net/netip"
	"os"
	"path/filepath"
	"testing"

	"pgregory.net/rapid"

	"berth/base/fault"
)

func TestChoose(t *testing.T) {
	p := netip.MustParsePrefix
	pools := []Pool{{p("10.0.0.0/22"), 24}, {p("fd00::/62"), 64}}
	for _, c := range []struct {
		taken []netip.Prefix
		v6    bool
		want  string
	}{
		{nil, false, "10.0.0.0/24"},
		{[]netip.Prefix{p("10.0.0.0/24")}, false, "10.0.1.0/24"},
		{[]netip.Prefix{p("10.0.0.128/32"), p("10.0.1.0/25")}, false, "10.0.2.0/24"},
		{[]netip.Prefix{p("0.0.0.0/0")}, false, "10.0.0.0/24"}, // the default route is no subnet
		{[]netip.Prefix{p("10.0.0.0/8")}, false, ""},
		{[]netip.Prefix{p("fd00::/64")}, true, "fd00:0:0:1::/64"},
	} {
		got, err := Choose(pools, c.taken, c.v6)
		if c.want == "" && !fault.Is(err, fault.Unavailable) || c.want != "" && (err != nil || got != p(c.want)) {
			t.Errorf("%v: %v, %v, want %s", c.taken, got, err, c.want)
		}
	}
	if got, err := Choose(DefaultPools(), []netip.Prefix{p("172.16.0.0/12")}, false); err != nil || got != p("192.168.0.0/20") {
		t.Errorf("%v, %v", got, err)
	}
}

func TestLast(t *testing.T) {
	for in, want := range map[string]string{"10.1.2.3/24": "10.1.2.255", "10.0.0.0/15": "10.1.255.255", "fd00::/127": "fd00::1", "1.2.3.4/32": "1.2.3.4"} {
		if got := Last(netip.MustParsePrefix(in)); got != netip.MustParseAddr(want) {
			t.Errorf("%s: %s", in, got)
		}
	}
}

func TestReserve(t *testing.T) {
	dir := t.TempDir()
	gone := map[string]bool{}
	b := &Book{Dir: dir, Boot: "one", Live: func(o string) bool { return !gone[o] }}
	r := Range{Network: "net", Subnet: netip.MustParsePrefix("10.0.0.0/29"), Not: []netip.Addr{netip.MustParseAddr("10.0.0.1")}}
	next := func(b *Book, owner, want string) {
		t.Helper()
		a, err := b.Next(owner, r)
		if want == "" {
			if !fault.Is(err, fault.Unavailable) {
				t.Errorf("%s gets %v, %v", owner, a, err)
			}
		} else if err != nil || a.String() != want {
			t.Errorf("%s gets %v, %v, want %s", owner, a, err, want)
		}
	}
	next(b, "a", "10.0.0.2")
	next(b, "b", "10.0.0.3")
	for address, kind := range map[string]fault.Kind{
		"10.0.0.0": fault.Conflict, "10.0.0.7": fault.Conflict, "10.0.0.1": fault.Conflict, "10.0.0.3": fault.Conflict, "10.0.1.1": fault.Invalid,
	} {
		if err := b.Take("c", r, netip.MustParseAddr(address)); !fault.Is(err, kind) {
			t.Errorf("take %s: %v, want %v", address, err, kind)
		}
	}
	if err := b.Take("b", r, netip.MustParseAddr("10.0.0.3")); err != nil {
		t.Errorf("again: %v", err)
	}
	if err := b.Give("a", "net", netip.MustParseAddr("10.0.0.3")); err != nil {
		t.Error(err)
	}
	next(b, "c", "10.0.0.4") // another's was not given
	next(b, "d", "10.0.0.5")
	next(b, "e", "10.0.0.6")
	next(b, "f", "")
	if err := b.Give("c", "net", netip.MustParseAddr("10.0.0.4")); err != nil {
		t.Error(err)
	}
	next(b, "f", "10.0.0.4")
	gone["d"] = true
	next(b, "g", "10.0.0.5")
	// Who was killed before it wrote down what it had is forgotten with it.
	if err := b.Forget("e"); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(filepath.Join(dir, "net", "10.0.0.6")); !os.IsNotExist(err) {
		t.Errorf("an address is lost: %v", err)
	}
	// After a reboot nobody has any.
	later := &Book{Dir: dir, Boot: "two"}
	for range 5 {
		if _, err := later.Next("z", r); err != nil {
			t.Error(err)
		}
	}
	next(later, "z", "")
}

// Whatever is taken and given, no address has two owners, and what all owners
// have and what is free make up the subnet.
func TestReserveProperty(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		dir, err := os.MkdirTemp("", "ipam")
		if err != nil {
			t.Fatal(err)
		}
		defer os.RemoveAll(dir)
		b := &Book{Dir: dir, Boot: "one"}
		r := Range{Network: "n", Subnet: netip.MustParsePrefix("10.0.0.0/28")}
		model := map[netip.Addr]string{}
		for range rapid.IntRange(1, 40).Draw(t, "steps") {
			owner := rapid.SampledFrom([]string{"a", "b", "c"}).Draw(t, "owner")
			switch rapid.IntRange(0, 3).Draw(t, "what") {
			case 0, 1:
				a, err := b.Next(owner, r)
				if (err == nil) != (len(model) < 14) {
					t.Fatalf("next with %d taken: %v", len(model), err)
				}
				if err == nil {
					if model[a] != "" {
						t.Fatalf("%s had %s", model[a], a)
					}
					model[a] = owner
				}
			case 2:
				a := netip.AddrFrom4([4]byte{10, 0, 0, byte(rapid.IntRange(1, 14).Draw(t, "address"))})
				err := b.Take(owner, r, a)
				if has := model[a]; (err == nil) != (has == "" || has == owner) {
					t.Fatalf("%s takes %s of %q: %v", owner, a, has, err)
				} else if err == nil {
					model[a] = owner
				}
			case 3:
				if err := b.Forget(owner); err != nil {
					t.Fatal(err)
				}
				for a, has := range model {
					if has == owner {
						delete(model, a)
					}
				}
			}
		}
	})
}
