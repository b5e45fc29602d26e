package reach

import (
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	"berth/test/netns"
)

// world is a host and what is around it.
type world struct {
	t                                   *testing.T
	engine                              engine
	few                                 bool     // of the networks and containers
	lenient                             bool     // with datagrams that another answers
	without                             []string // names of containers
	host, router, neighbour, far, aside *netns.Namespace
	at                                  map[string]*netns.Namespace // by the names of the rows
}

// all are all addresses of a family.
var all = []string{"0.0.0.0", "::"}

func newWorld(t *testing.T, router string) *world {
	t.Helper()
	return newWorldOn(t, netns.New(t), router)
}

// newWorldOn is a world around a host.
func newWorldOn(t *testing.T, host *netns.Namespace, router string) *world {
	t.Helper()
	w := &world{t: t, host: host}
	for _, n := range []**netns.Namespace{&w.host, &w.router, &w.neighbour, &w.far, &w.aside} {
		if *n == nil {
			*n = netns.New(t)
		}
		// A new namespace has the settings of the machine's, whatever they are.
		w.lines(*n, "ip link set lo up", "sysctl -qw net.ipv4.ip_forward=0 net.ipv6.conf.all.forwarding=0 "+
			"net.ipv4.conf.all.rp_filter=0 net.ipv4.conf.default.rp_filter=0 net.ipv4.conf.all.route_localnet=0 "+
			"net.ipv6.conf.all.disable_ipv6=0 net.ipv6.conf.default.disable_ipv6=0")
		n := *n
		n.Do(func() { // where the kernel shows a bridge's frames to the firewall of packets
			for _, f := range []string{"iptables", "ip6tables"} {
				_ = os.WriteFile("/proc/sys/net/bridge/bridge-nf-call-"+f, []byte("0"), 0)
			}
		})
	}
	w.at = map[string]*netns.Namespace{"host": w.host, "neighbour": w.neighbour, "far": w.far, "side": w.aside}
	w.lines(w.router, "sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1", "ip link add lan type bridge", "ip link set lan up",
		"ip link add host type veth peer name eth0 netns "+path(w.host), "ip link set host master lan up",
		"ip link add next type veth peer name eth0 netns "+path(w.neighbour), "ip link set next master lan up",
		"ip link add far type veth peer name eth0 netns "+path(w.far))
	w.lines(w.host, "ip link add eth1 type veth peer name eth0 netns "+path(w.aside))
	w.address(w.router, "lan", "192.0.2.1/24", "2001:db8::1/64")
	w.address(w.router, "far", "198.51.100.1/24", "2001:db8:1::1/64")
	w.address(w.host, "eth0", hostV4+"/24", hostV6+"/64", host2V4+"/24", host2V6+"/64")
	w.address(w.host, "eth1", "203.0.113.2/24", "2001:db8:2::2/64")
	w.address(w.neighbour, "eth0", neighbourV4+"/24", neighbourV6+"/64")
	w.address(w.far, "eth0", farV4+"/24", farV6+"/64")
	w.address(w.aside, "eth0", sideV4+"/24", sideV6+"/64")
	w.route(w.host, "192.0.2.1", "2001:db8::1", "default")
	w.route(w.neighbour, "192.0.2.1", "2001:db8::1", "default")
	w.route(w.far, "198.51.100.1", "2001:db8:1::1", "default")
	w.route(w.aside, "203.0.113.2", "2001:db8:2::2", "default")
	for _, n := range []*netns.Namespace{w.router, w.neighbour} {
		w.route(n, hostV4, "", "172.17.0.0/16", "172.30.0.0/16", "203.0.113.0/24")
		w.route(n, "", hostV6, "fd00:30::/32", "2001:db8:2::/64")
	}
	w.astray(w.neighbour, hostV4, hostV6)
	for _, f := range strings.Fields(router) {
		w.lines(w.host, "sysctl -qw net.ipv"+f+".conf.all.forwarding=1")
	}
	w.serve(w.host, "host", portService, all...)
	w.serve(w.host, "loopback", portLoopback, "127.0.0.1", "::1")
	w.serve(w.neighbour, "neighbour", portService, all...)
	w.serve(w.far, "far", portService, all...)
	w.serve(w.aside, "side", portService, all...)
	return w
}

// astray sends what is for the loopback to another.
func (w *world) astray(n *netns.Namespace, v4, v6 string) {
	w.t.Helper()
	w.lines(n, "ip address delete 127.0.0.1/8 dev lo", "sysctl -qw net.ipv4.conf.all.route_localnet=1",
		"ip route add 127.0.0.0/8 via "+v4, "ip -6 address delete ::1/128 dev lo", "ip -6 route add ::1/128 via "+v6)
}

func (w *world) address(n *netns.Namespace, device string, list ...string) {
	w.t.Helper()
	w.lines(n, "ip link set "+device+" up")
	for _, a := range list {
		if strings.Contains(a, ":") {
			a += " nodad"
		}
		w.lines(n, "ip address add "+a+" dev "+device)
	}
}

func (w *world) route(n *netns.Namespace, v4, v6 string, list ...string) {
	w.t.Helper()
	for _, to := range list {
		if v4 != "" {
			w.lines(n, "ip -4 route add "+to+" via "+v4)
		}
		if v6 != "" {
			w.lines(n, "ip -6 route add "+to+" via "+v6)
		}
	}
}

// lines runs command lines somewhere.
func (w *world) lines(n *netns.Namespace, list ...string) {
	w.t.Helper()
	for _, line := range list {
		f := strings.Fields(line)
		if _, err := n.Run(f[0], f[1:]...); err != nil {
			w.t.Fatal(err)
		}
	}
}

// path is a path to a namespace, for ip(8).
func path(n *netns.Namespace) string { return fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), n.File.Fd()) }

// populate makes networks and containers, all or a few, and what serves in them.
func (w *world) populate(e engine, few bool) {
	w.t.Helper()
	w.engine, w.few = e, few
	for _, n := range networks {
		if few && n.name != "one" {
			continue
		}
		words := []string{"network", "create", "--ipv6", "--subnet", n.v4, "--gateway", n.gateway4, "--subnet", n.v6, "--gateway", n.gateway6}
		if n.internal {
			words = append(words, "--internal")
		}
		w.do(append(words, n.name)...)
	}
	for _, c := range containers {
		if few && c.name != "web" && c.name != "peer" || slices.Contains(w.without, c.name) {
			continue
		}
		words := []string{"run", "-d", "--name", c.name, "--network", c.network}
		if c.v6 != "" {
			words = append(words, "--ip", c.v4, "--ip6", c.v6)
		}
		for _, p := range c.publish {
			words = append(words, "-p", p+"/tcp", "-p", p+"/udp")
		}
		w.do(append(append(words, e.image()), "sleep", "10000")...)
		n := w.enter(c.name)
		if c.network == "host" {
			w.serve(n, c.name, portShared, all...)
			continue
		}
		w.serve(n, c.name, portInside, all...)
		if out, _ := n.Run("ip", "-o", "address"); c.v4 != "" && !strings.Contains(out, " "+c.v4+"/") {
			w.t.Fatalf("%s is not %s:\n%s", c.name, c.v4, out)
		}
	}
	if w.at["rogue"] == nil {
		return
	}
	w.astray(w.at["rogue"], gateway1V4, gateway1V6)
}

// enter gives the namespace of a container of the engine's.
func (w *world) enter(name string) *netns.Namespace {
	w.t.Helper()
	pid, err := strconv.Atoi(w.do("inspect", "-f", "{{.State.Pid}}", name))
	if err != nil {
		w.t.Fatal(err)
	}
	w.at[name] = netns.Enter(w.t, fmt.Sprintf("/proc/%d/ns/net", pid))
	return w.at[name]
}

// has reports whether who a row is about is there.
func (w *world) has(r *row) bool {
	_, asked := w.at[r.who]
	return w.at[r.from] != nil && (asked || r.who == "loopback") && !(w.few && r.v4 == gateway3V4)
}

// do runs a command of the engine's and gives what it prints.
func (w *world) do(words ...string) (out string) {
	w.t.Helper()
	var err error
	w.host.Do(func() { out, err = w.engine.do(words...) })
	if err != nil {
		w.t.Fatal(err)
	}
	return strings.TrimSpace(out)
}
