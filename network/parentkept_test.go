package network

import (
	"net/netip"
	"strings"
	"testing"

	"berth/base/fault"
)

// Verbs that look after all networks at once look after these, too, and a parent that is
// gone does not keep them from others.
func TestParentKept(t *testing.T) {
	w := newWorld(t, Settings{})
	host(t, "ip link add port0 type veth peer name port1")
	host(t, "ip link set port0 up")
	made := w.create(piece(0, lan("closed", "macvlan", "parent", "")))
	other := lan("wire", "macvlan", "parent", "port0")
	other.Subnets = []Subnet{{Prefix: netip.MustParsePrefix("10.9.0.0/24")}}
	w.create(other)
	one := w.create(Network{Name: "one"})
	g := w.run(Request{Endpoints: on("closed")})
	b := w.run(Request{Endpoints: on("one")})
	if list, err := w.s.Unplugged(); err != nil || len(list) != 0 {
		t.Errorf("%v are unplugged, %v", list, err)
	}
	if mended, err := w.s.Mend(ctx); err != nil || mended {
		t.Errorf("nothing is amiss, yet mended: %v, %v", mended, err)
	}
	host(t, "ip link delete "+made.Device)
	if mended, err := w.s.Mend(ctx); err != nil || !mended {
		t.Errorf("mended %v, %v", mended, err)
	}
	host(t, "ip link show dev "+made.Device)
	host(t, "ip link delete port0")
	if mended, err := w.s.Mend(ctx); err != nil || mended {
		t.Errorf("nobody can make a parent of others, mended %v, %v", mended, err)
	}
	host(t, "ip link delete "+one.Device)
	if err := w.s.Reload(ctx); !fault.Is(err, fault.NotFound) || !strings.Contains(err.Error(), "network wire: parent interface port0 is not there") {
		t.Errorf("reload: %v", err)
	}
	host(t, "ip link show dev "+one.Device)

	update := func(key, value string) error {
		_, err := w.s.Update(ctx, UpdateRequest{Network: "closed", Options: map[string]string{key: value}})
		return err
	}
	if err := update("macvlan_mode", "private"); !fault.Is(err, fault.Unsupported) {
		t.Errorf("another mode: %v", err)
	}
	if err := update("macvlan_mode", "bridge"); err != nil {
		t.Errorf("the same mode: %v", err)
	}
	if err := update(optionMTU, "x"); !fault.Is(err, fault.Invalid) {
		t.Errorf("no number: %v", err)
	}
	limited := []Endpoint{{Network: "closed", Options: map[string]string{"egress-rate": "10m"}}}
	if _, err := w.try(Request{Endpoints: limited}); !fault.Is(err, fault.Unsupported) || !strings.Contains(err.Error(), "network closed: what goes through macvlan links is not limited") {
		t.Errorf("a limit: %v", err)
	}
	named := w.run(Request{Endpoints: []Endpoint{{Network: "closed", Options: map[string]string{"com.docker.network.endpoint.ifname": "lan7", "com.docker.network.endpoint.sysctls": "net.ipv4.conf.IFNAME.log_martians=1"}}}})
	if out := w.in(named.Namespace, "cat /proc/sys/net/ipv4/conf/lan7/log_martians"); strings.TrimSpace(out) != "1" {
		t.Errorf("log_martians is %s", out)
	}
	w.release(g, b, named)
	for _, name := range []string{"closed", "wire", "one"} {
		w.removeNetwork(name)
	}
}
