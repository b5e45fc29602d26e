package nft

import (
	"strings"
	"testing"

	"berth/test/netns"
)

func host(t *testing.T, line string) string {
	t.Helper()
	f := strings.Fields(line)
	out, err := netns.Run(f[0], f[1:]...)
	if err != nil {
		t.Fatalf("%s: %v: %s", line, err, out)
	}
	return out
}

const passageWant = `-N BERTH-FORWARD
-A BERTH-FORWARD -o berth0 -j ACCEPT
-A BERTH-FORWARD -o br-1234567890ab -j ACCEPT
-A BERTH-FORWARD -o docker+ -j RETURN
-A BERTH-FORWARD -o br-+ -j RETURN
-A BERTH-FORWARD -o virbr+ -j RETURN
-A BERTH-FORWARD -o lxcbr+ -j RETURN
-A BERTH-FORWARD -o lxdbr+ -j RETURN
-A BERTH-FORWARD -o incusbr+ -j RETURN
-A BERTH-FORWARD -o podman+ -j RETURN
-A BERTH-FORWARD -o cni+ -j RETURN
-A BERTH-FORWARD -i berth0 -j ACCEPT
-A BERTH-FORWARD -i br-1234567890ab -j ACCEPT
`

// passer lets bridges through, which changes something or does not.
func passer(t *testing.T) func(want bool, bridges ...string) {
	t.Helper()
	c := open(t)
	return func(want bool, bridges ...string) {
		t.Helper()
		before, err := c.Generation()
		if err != nil {
			t.Fatal(err)
		}
		if err := c.Pass(bridges); err != nil {
			t.Errorf("Pass(%q): %v", bridges, err)
		}
		if after, err := c.Generation(); err != nil || (after != before) != want {
			t.Errorf("Pass(%q): generation %d, was %d: %v", bridges, after, before, err)
		}
	}
}

// The rules in others' chains are those that iptables lists, in its own words:
// before dockerd's RETURN, after the administrator's.
func TestPass(t *testing.T) {
	defer host(t, "nft flush ruleset")
	pass := passer(t)
	pass(false, "berth0") // nobody is there
	if out := listing(t); out != "" {
		t.Error(out)
	}
	for _, line := range []string{"iptables -P FORWARD DROP", "iptables -N DOCKER-USER", "iptables -A DOCKER-USER -s 192.0.2.9 -j RETURN", "iptables -A DOCKER-USER -j RETURN",
		"iptables -N ufw-user-forward", "iptables -A ufw-user-forward -s 192.0.2.9 -j DROP", "ip6tables -N ufw6-user-forward"} {
		host(t, line)
	}
	pass(true, "br-1234567890ab", "berth0")
	pass(false, "berth0", "br-1234567890ab")
	for _, c := range []struct{ command, want string }{
		{"iptables -S BERTH-FORWARD", passageWant}, {"ip6tables -S BERTH-FORWARD", passageWant},
		{"iptables -S DOCKER-USER", "-N DOCKER-USER\n-A DOCKER-USER -s 192.0.2.9/32 -j RETURN\n-A DOCKER-USER -j BERTH-FORWARD\n-A DOCKER-USER -j RETURN\n"},
		{"iptables -S ufw-user-forward", "-N ufw-user-forward\n-A ufw-user-forward -s 192.0.2.9/32 -j DROP\n-A ufw-user-forward -j BERTH-FORWARD\n"},
		{"ip6tables -S ufw6-user-forward", "-N ufw6-user-forward\n-A ufw6-user-forward -j BERTH-FORWARD\n"},
	} {
		if got := host(t, c.command); got != c.want {
			t.Errorf("%s:\n%swant\n%s", c.command, got, c.want)
		}
	}
	// What iptables saves it restores, and it is the same.
	host(t, "sh -c iptables-save>/tmp/saved.$PPID&&iptables-restore</tmp/saved.$PPID;rm${IFS}/tmp/saved.$PPID")
	pass(false, "berth0", "br-1234567890ab")
	// ufw reload empties its chain; an administrator may change ours.
	host(t, "iptables -F ufw-user-forward")
	host(t, "iptables -D BERTH-FORWARD -o berth0 -j ACCEPT")
	pass(true, "berth0", "br-1234567890ab")
	pass(false, "berth0", "br-1234567890ab")
	if got := host(t, "iptables -S BERTH-FORWARD"); got != passageWant {
		t.Errorf("mended to\n%s", got)
	}
	pass(true, "berth0")
	if got := host(t, "iptables -S BERTH-FORWARD"); strings.Contains(got, "br-1234567890ab") {
		t.Error(got)
	}
	pass(true)
	pass(false)
	for _, command := range []string{"iptables-save", "ip6tables-save"} {
		if got := host(t, command); strings.Contains(got, "BERTH") || !strings.Contains(got, "user-forward") {
			t.Error(got)
		}
	}
}

// Where nobody offers a chain and FORWARD drops what nobody accepts, ours is its
// last rule, for as long as that is so.
func TestPassLast(t *testing.T) {
	defer host(t, "nft flush ruleset")
	pass := passer(t)
	is := func(command, want string) {
		t.Helper()
		if got := host(t, command); got != want {
			t.Errorf("%s:\n%swant\n%s", command, got, want)
		}
	}
	host(t, "iptables -A FORWARD -s 192.0.2.9 -j DROP")
	host(t, "ip6tables -P FORWARD DROP")
	pass(true, "berth0")
	pass(false, "berth0")
	is("iptables -S FORWARD", "-P FORWARD ACCEPT\n-A FORWARD -s 192.0.2.9/32 -j DROP\n")
	is("ip6tables -S FORWARD", "-P FORWARD DROP\n-A FORWARD -j BERTH-FORWARD\n")
	host(t, "iptables -P FORWARD DROP")
	pass(true, "berth0")
	is("iptables -S FORWARD", "-P FORWARD DROP\n-A FORWARD -s 192.0.2.9/32 -j DROP\n-A FORWARD -j BERTH-FORWARD\n")
	// dockerd comes, which has a better place.
	host(t, "iptables -N DOCKER-USER")
	host(t, "iptables -A DOCKER-USER -j RETURN")
	pass(true, "berth0")
	pass(false, "berth0")
	is("iptables -S FORWARD", "-P FORWARD DROP\n-A FORWARD -s 192.0.2.9/32 -j DROP\n")
	is("iptables -S DOCKER-USER", "-N DOCKER-USER\n-A DOCKER-USER -j BERTH-FORWARD\n-A DOCKER-USER -j RETURN\n")
	host(t, "iptables -F DOCKER-USER")
	host(t, "iptables -X DOCKER-USER")
	host(t, "ip6tables -P FORWARD ACCEPT")
	pass(true, "berth0")
	is("ip6tables -S FORWARD", "-P FORWARD ACCEPT\n")
	pass(true)
	is("iptables -S FORWARD", "-P FORWARD DROP\n-A FORWARD -s 192.0.2.9/32 -j DROP\n")
}
