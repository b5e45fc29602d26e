package network

import (
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"berth/base/fault"
	"berth/network/option"
	"berth/test/netns"
)

// pour sends bytes from one place to another and gives how long that took.
func (w *world) pour(from *netns.Namespace, to *netns.Namespace, address string, size int) time.Duration {
	w.t.Helper()
	var l net.Listener
	var c net.Conn
	var err error
	inside(to, func() { l, err = net.Listen("tcp4", ":0") })
	if err != nil {
		w.t.Fatal(err)
	}
	defer l.Close()
	done := make(chan int64)
	go func() {
		var n int64
		if c, err := l.Accept(); err == nil {
			n, _ = io.Copy(io.Discard, c)
			c.Close()
		}
		done <- n
	}()
	begin := time.Now()
	_, port, _ := net.SplitHostPort(l.Addr().String())
	inside(from, func() {
		if c, err = net.DialTimeout("tcp4", net.JoinHostPort(address, port), 10*time.Second); err == nil {
			_, err = c.Write(make([]byte, size))
			c.Close()
		}
	})
	if err != nil {
		w.t.Fatal(err)
	}
	if n := <-done; n != int64(size) {
		w.t.Errorf("%d of %d bytes arrived", n, size)
	}
	return time.Since(begin)
}

// What an endpoint's options bound takes its time, in the direction they name alone,
// and what bounds it goes with the container. Only that it is not faster is looked at.
func TestLimits(t *testing.T) {
	w := newWorld(t, Settings{})
	peer := w.run(Request{})
	const size = 1 << 20
	// A MiB at 8 Mbit/s, of which 128 KiB may come at once, takes 0.9 s.
	const least = 700 * time.Millisecond
	for _, way := range []string{"ingress", "egress"} {
		g := w.run(Request{Endpoints: []Endpoint{{Network: Default, Options: map[string]string{way + "-rate": "8mbit", way + "-burst": "128k"}}}})
		in, out := w.pour(peer.Namespace, g.Namespace, g.ip(), size), w.pour(g.Namespace, peer.Namespace, peer.ip(), size)
		limited := in
		if way == "egress" {
			limited = out
		}
		if limited < least {
			t.Errorf("%s: in %v, out %v", way, in, out)
		}
		links := host(t, "ip -o -br link show type ifb")
		if (links != "") != (way == "egress") {
			t.Errorf("%s: devices\n%s", way, links)
		}
		if err := w.s.Detach(ctx, g.id); err != nil {
			t.Fatal(err)
		}
		if links := host(t, "ip -o -br link show type ifb"); links != "" {
			t.Errorf("%s: left\n%s", way, links)
		}
	}
	// Live: it comes with the network, and goes with it; so it does where the connect fails.
	g := w.run(Request{})
	w.create(Network{Name: "slow"})
	limit := map[string]string{"egress-rate": "1m"}
	w.mustAlter(g, Request{Endpoints: []Endpoint{{Network: Default}, {Network: "slow", Options: limit}}})
	if out := host(t, "tc qdisc show"); !strings.Contains(out, "tbf") || !strings.Contains(out, "rate 1Mbit") {
		t.Errorf("%s", out)
	}
	w.mustAlter(g, Request{Endpoints: on(Default)})
	if _, err := w.alter(g, Request{Endpoints: []Endpoint{{Network: Default}, {Network: "slow", Options: limit, Interface: "lo"}}}); err == nil {
		t.Error("two devices lo")
	}
	if links := host(t, "ip -o -br link show type ifb"); links != "" {
		t.Errorf("left\n%s", links)
	}
}

// Docker's options of endpoints: kernel parameters of the device inside, and its name.
func TestEndpointOptions(t *testing.T) {
	w := newWorld(t, Settings{})
	w.create(Network{Name: "six", IPv6: true, Options: map[string]string{optionPrefix: "lan"}})
	g := w.run(Request{Endpoints: []Endpoint{{Network: Default, Options: map[string]string{option.EndpointName: "wan"}},
		{Network: "six", Options: map[string]string{option.EndpointSysctls: "net.ipv4.conf.IFNAME.log_martians=1, net.ipv6.conf.ifname.accept_ra=2"}}}})
	if got := w.in(g.Namespace, "cat /proc/sys/net/ipv4/conf/lan0/log_martians /proc/sys/net/ipv6/conf/lan0/accept_ra /proc/sys/net/ipv4/conf/wan/log_martians"); got != "1\n2\n0\n" {
		t.Errorf("%q", got)
	}
	for option, want := range map[string]string{
		"com.docker.network.endpoint.sysctls=net.ipv4.conf.eth0.log_martians=1":      "unrecognised network interface sysctl 'net.ipv4.conf.eth0.log_martians=1'",
		"com.docker.network.endpoint.sysctls=net.ipv4.ip_forward=1":                  "unrecognised network interface sysctl",
		"com.docker.network.endpoint.sysctls=net.ipv4.conf.IFNAME.../x=1":            "unrecognised network interface sysctl",
		"com.docker.network.endpoint.sysctls=net.ipv4.../../kernel.IFNAME.x=1":       "unrecognised network interface sysctl",
		"com.docker.network.endpoint.sysctls=net.ipv4.conf.IFNAME.nothing=1":         "no such file",
		"com.docker.network.endpoint.sysctls=net.ipv4.conf.IFNAME.rp_filter=so what": "invalid argument",
		"com.docker.network.endpoint.ifname=a/b":                                     `invalid interface name "a/b"`,
		"com.docker.network.endpoint.other=1":                                        "endpoint option com.docker.network.endpoint.other is not served yet",
		"ingress-rate=fast":                                                          "ingress-rate=fast: bits a second",
		"egress-rate=1":                                                              "egress-rate=1: bits a second",
		"egress-burst=1m":                                                            "egress-burst means nothing without egress-rate",
		"ingress-rate=1e9x":                                                          "bits a second",
		"egress-rate=-5m":                                                            "bits a second",
		"egress-rate=nan":                                                            "bits a second",
		"egress-rate=999999g":                                                        "bits a second",
		"ingress-burst=nothing":                                                      "ingress-burst=nothing: bytes",
	} {
		key, value, _ := strings.Cut(option, "=")
		if _, err := w.try(Request{Endpoints: []Endpoint{{Network: Default, Options: map[string]string{key: value}}}}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", option, err, want)
		}
	}
	_, err := w.try(Request{Endpoints: []Endpoint{{Network: Default, Options: map[string]string{"egress-rate": "1m", "egress-burst": "1500"}}}})
	if !fault.Is(err, fault.Invalid) || !strings.Contains(err.Error(), "do not let through a single packet") {
		t.Errorf("%v", err)
	}
}
