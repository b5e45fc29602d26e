package network

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"berth/base/ids"
	"berth/network/names"
	"berth/network/relay"
	"berth/test/netns"
)

func TestMain(m *testing.M) {
	if spec := os.Getenv(victimMark); spec != "" {
		os.Exit(victim(spec))
	}
	if os.Getenv(resolverMark) != "" {
		os.Exit(names.Main(3))
	}
	if os.Getenv(relayMark) != "" {
		os.Exit(relay.Main(3))
	}
	os.Exit(netns.Main(m.Run))
}

// world is a host, which is the test's own namespace, and a machine outside, on
// the wire eth0: 192.0.2.2 here, 192.0.2.1 there.
type world struct {
	t       *testing.T
	s       *Store
	root    string
	outside *netns.Namespace
}

func newWorld(t *testing.T, settings Settings) *world {
	t.Helper()
	netns.Need(t)
	w := &world{t: t, root: t.TempDir(), outside: netns.New(t)}
	// A new namespace has the settings of the machine's, whatever they are.
	host(t, "sysctl -qw net.ipv4.ip_forward=0 net.ipv6.conf.all.forwarding=0")
	host(t, "ip link set lo up")
	links := host(t, "ip -o -br link")
	host(t, "ip link add eth0 type veth peer name eth0 netns "+namespacePath(w.outside))
	t.Cleanup(func() {
		host(t, "ip link delete eth0")
		if out := host(t, "ip -o -br link"); out != links {
			t.Errorf("devices are left:\n%s\nwant\n%s", out, links)
		}
		if out := host(t, "nft list ruleset"); out != "" {
			t.Errorf("rules are left:\n%s", out)
		}
	})
	host(t, "ip address add 192.0.2.2/24 dev eth0")
	host(t, "ip link set eth0 up")
	host(t, "ip route add default via 192.0.2.1")
	for _, line := range []string{"ip link set lo up", "ip address add 192.0.2.1/24 dev eth0", "ip link set eth0 up"} {
		w.in(w.outside, line)
	}
	w.s = w.open(settings)
	t.Cleanup(func() {
		if err := w.s.TearDown(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return w
}

func (w *world) open(settings Settings) *Store {
	w.t.Helper()
	s, err := Open(Options{Root: w.root + "/root", Run: w.root + "/run", Settings: settings})
	if err != nil {
		w.t.Fatal(err)
	}
	return s
}

func host(t *testing.T, line string) string {
	t.Helper()
	f := strings.Fields(line)
	out, err := netns.Run(f[0], f[1:]...)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func (w *world) in(n *netns.Namespace, line string) string {
	w.t.Helper()
	f := strings.Fields(line)
	out, err := n.Run(f[0], f[1:]...)
	if err != nil {
		w.t.Fatal(err)
	}
	return out
}

// guest is a container as far as this room knows one.
type guest struct {
	*netns.Namespace
	id ids.ID
	a  *Attachment
}

func (g *guest) ip() string { return g.a.Endpoints[0].IPv4.Addr().String() }

// run attaches a new container to networks.
func (w *world) run(r Request) *guest {
	w.t.Helper()
	g, err := w.try(r)
	if err != nil {
		w.t.Fatal(err)
	}
	return g
}

func (w *world) try(r Request) (*guest, error) {
	g := &guest{Namespace: netns.New(w.t), id: ids.New()}
	if r.Container == "" {
		r.Container = g.id
	}
	g.id = r.Container
	if r.Name == "" {
		r.Name = string(g.id[:12])
	}
	if r.Endpoints == nil {
		r.Endpoints = []Endpoint{{Network: Default}}
	}
	var err error
	g.a, err = w.s.Attach(context.Background(), r, g.File)
	if err == nil {
		w.t.Cleanup(func() {
			for _, f := range g.a.Hold {
				f.Close()
			}
		})
	}
	return g, err
}

// where a server or client is; nil is the host.
func inside(n *netns.Namespace, f func()) {
	if n == nil {
		f()
		return
	}
	n.Do(f)
}

// serve answers each connection or datagram with the address it came from.
func (w *world) serve(n *netns.Namespace, network, address string) {
	w.t.Helper()
	var err error
	if strings.HasPrefix(network, "udp") {
		var c net.PacketConn
		inside(n, func() { c, err = net.ListenPacket(network, address) })
		if err != nil {
			w.t.Fatal(err)
		}
		w.t.Cleanup(func() { c.Close() })
		go func() {
			buf := make([]byte, 1500)
			for {
				_, from, err := c.ReadFrom(buf)
				if err != nil {
					return
				}
				_, _ = c.WriteTo([]byte(from.String()), from)
			}
		}()
		return
	}
	var l net.Listener
	inside(n, func() { l, err = net.Listen(network, address) })
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			_, _ = io.WriteString(c, c.RemoteAddr().String())
			c.Close()
		}
	}()
}

// ask gives the address as which a server sees who asks.
func ask(n *netns.Namespace, network, address string, patience time.Duration) (from string, err error) {
	inside(n, func() {
		var c net.Conn
		c, err = (&net.Dialer{Timeout: patience}).Dial(network, address)
		if err != nil {
			return
		}
		defer c.Close()
		_ = c.SetDeadline(time.Now().Add(patience))
		if strings.HasPrefix(network, "udp") {
			if _, err = c.Write([]byte("?")); err != nil {
				return
			}
		}
		buf := make([]byte, 100)
		var k int
		k, err = c.Read(buf)
		from = string(buf[:k])
	})
	if err == nil {
		var ap netip.AddrPort
		if ap, err = netip.ParseAddrPort(from); err == nil {
			from = ap.Addr().String()
		}
	}
	return from, err
}

// reach holds that a server is reached, and sees the client as from.
func (w *world) reach(n *netns.Namespace, network, address, from string) {
	w.t.Helper()
	got, err := ask(n, network, address, 10*time.Second)
	if err != nil || got != from {
		w.t.Errorf("%s %s: seen as %q, want %q, %v", network, address, got, from, err)
	}
}

// refuse holds that a server is not reached.
func (w *world) refuse(n *netns.Namespace, network, address string) {
	w.t.Helper()
	if got, err := ask(n, network, address, 400*time.Millisecond); err == nil {
		w.t.Errorf("%s %s is reached, seen as %s", network, address, got)
	}
}

// namespacePath is a path to a namespace, for ip(8).
func namespacePath(n *netns.Namespace) string {
	return fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), n.File.Fd())
}

// Options of bridge networks, and gateway modes, in Docker's words.
const (
	optionName      = "com.docker.network.bridge.name"
	optionICC       = "com.docker.network.bridge.enable_icc"
	optionMasq      = "com.docker.network.bridge.enable_ip_masquerade"
	optionMTU       = "com.docker.network.driver.mtu"
	optionBinding   = "com.docker.network.bridge.host_binding_ipv4"
	optionMode4     = "com.docker.network.bridge.gateway_mode_ipv4"
	optionMode6     = "com.docker.network.bridge.gateway_mode_ipv6"
	optionTrusted   = "com.docker.network.bridge.trusted_host_interfaces"
	optionPrefix    = "com.docker.network.container_iface_prefix"
	optionIsolate   = "isolate"
	optionManaged   = "mode"
	optionNoDefault = "no_default_route"

	modeRouted      = "routed"
	modeUnprotected = "nat-unprotected"
	modeIsolated    = "isolated"
)
