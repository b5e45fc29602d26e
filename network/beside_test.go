package network

import (
	"strings"
	"testing"
)

// Where dockerd or ufw drop what is forwarded, networks are let through by the
// chains that both offer: as they come, after a flush, and not for good.
func TestBesideOthers(t *testing.T) {
	w := newWorld(t, Settings{})
	publish := []Port{{Protocol: "tcp", Host: 8080, Container: 80, Count: 1}}
	first := w.run(Request{Publish: publish})
	w.serve(first.Namespace, "tcp4", ":80")
	w.serve(w.outside, "tcp4", "192.0.2.1:80")
	w.reach(w.outside, "tcp4", "192.0.2.2:8080", "192.0.2.1")

	// dockerd comes; a container of its own is 10.9.0.2.
	for _, line := range []string{"iptables -P FORWARD DROP", "iptables -N DOCKER-USER", "iptables -A DOCKER-USER -j RETURN", "iptables -A FORWARD -j DOCKER-USER",
		"iptables -N ufw-user-forward", "iptables -A FORWARD -j ufw-user-forward"} {
		host(t, line)
	}
	t.Cleanup(func() { host(t, "nft flush ruleset") })
	theirs := w.outside
	host(t, "ip link add br-theirs type veth peer name eth1 netns "+namespacePath(theirs))
	t.Cleanup(func() { host(t, "ip link delete br-theirs") })
	host(t, "ip address add 10.9.0.1/24 dev br-theirs")
	host(t, "ip link set br-theirs up")
	w.in(theirs, "ip address add 10.9.0.2/24 dev eth1")
	w.in(theirs, "ip link set eth1 up")
	w.in(theirs, "ip route add 172.16.0.0/12 via 10.9.0.1")
	w.serve(theirs, "tcp4", "10.9.0.2:81")
	host(t, "sysctl -qw net.ipv4.conf.br-theirs.forwarding=1")
	w.refuse(w.outside, "tcp4", "192.0.2.2:8080")
	w.refuse(first.Namespace, "tcp4", "192.0.2.1:80")

	// The next verb sees it.
	second := w.run(Request{})
	w.reach(w.outside, "tcp4", "192.0.2.2:8080", "192.0.2.1")
	w.reach(first.Namespace, "tcp4", "192.0.2.1:80", "192.0.2.2")
	w.reach(second.Namespace, "tcp4", "192.0.2.1:80", "192.0.2.2")
	// dockerd's containers stay its own affair, and what nobody published is closed.
	w.refuse(first.Namespace, "tcp4", "10.9.0.2:81")
	w.in(w.outside, "ip route replace 172.17.0.0/16 via 192.0.2.2")
	w.refuse(w.outside, "tcp4", first.ip()+":80")

	// An administrator's own rule comes first.
	host(t, "iptables -I DOCKER-USER -p tcp --dport 80 -i eth0 -j DROP")
	w.refuse(w.outside, "tcp4", "192.0.2.2:8080")
	host(t, "iptables -D DOCKER-USER -p tcp --dport 80 -i eth0 -j DROP")

	// ufw alone, loaded anew.
	host(t, "iptables -F DOCKER-USER")
	host(t, "iptables -F ufw-user-forward")
	w.refuse(w.outside, "tcp4", "192.0.2.2:8080")
	if err := w.s.Reload(ctx); err != nil {
		t.Fatal(err)
	}
	host(t, "iptables -F DOCKER-USER")
	w.reach(w.outside, "tcp4", "192.0.2.2:8080", "192.0.2.1")

	if err := w.s.TearDown(ctx); err != nil {
		t.Fatal(err)
	}
	if out := host(t, "iptables-save"); strings.Contains(out, "BERTH") {
		t.Errorf("rules of ours are left:\n%s", out)
	}
}

// With firewall.integrate=false others' rules are not touched.
func TestNotIntegrated(t *testing.T) {
	w := newWorld(t, Settings{NoIntegrate: true})
	for _, line := range []string{"iptables -P FORWARD DROP", "iptables -N DOCKER-USER", "iptables -A FORWARD -j DOCKER-USER"} {
		host(t, line)
	}
	t.Cleanup(func() { host(t, "nft flush ruleset") })
	before := host(t, "iptables -S")
	g := w.run(Request{})
	w.serve(w.outside, "tcp4", "192.0.2.1:80")
	w.refuse(g.Namespace, "tcp4", "192.0.2.1:80")
	if now := host(t, "iptables -S"); now != before {
		t.Errorf("was\n%snow\n%s", before, now)
	}
}
