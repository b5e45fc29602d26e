package container

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/net/dns/dnsmessage"

	"berth/test/netns"
)

// networkAttacks are on networks of others, and on what the host has for itself: V24,
// V25, V26.
func networkAttacks() []attack {
	return []attack{
		{name: "V24-another-network", guard: "guard_off_unpublished", try: func(w *world) string { return anotherNetwork(w, "second") },
			control: func(w *world) string { return anotherNetwork(w, "first") }},
		{name: "V24-loopback-port-from-a-neighbour", alone: true, guard: "guard_off_loopback", try: func(w *world) string { return loopbackPort(w, true) },
			control: func(w *world) string { return loopbackPort(w, false) }},
		{name: "V24-container-address-from-a-neighbour", alone: true, guard: "guard_off_unpublished", try: func(w *world) string { return direct(w) },
			control: func(w *world) string {
				return direct(w, "-o", "com.docker.network.bridge.gateway_mode_ipv4=nat-unprotected")
			}},
		{name: "V25-false-neighbours", guard: "guard_off_claims", try: func(w *world) string { return falseNeighbours(w) },
			control: func(w *world) string { return falseNeighbours(w, "--privileged") }},
		{name: "V25-false-router", guard: "guard_off_claims", try: func(w *world) string { return falseRouter(w) },
			control: func(w *world) string { return falseRouter(w, "--privileged") }},
		{name: "V26-internal-network-asks-outside", alone: true, guard: "guard_off_internal", try: func(w *world) string { return asksOutside(w, "--internal") },
			control: func(w *world) string { return asksOutside(w) }},
	}
}

// network makes one that goes with the test, after the containers.
func (w *world) network(options ...string) string {
	w.Helper()
	name := fresh("n")
	w.must(append(append([]string{"network", "create"}, options...), name)...)
	w.Cleanup(func() {
		w.removeAll()
		w.must("network", "rm", name)
	})
	return name
}

// serve has a container answer at TCP port 80.
func (w *world) serve(name string) {
	w.Helper()
	w.must("exec", "-d", name, "httpd", "-f", "-p", "80", "-h", "/tmp")
	if !eventually(func() bool { return w.in(name, "/intruder", "dial", "tcp", "127.0.0.1:80").out == "open" }) {
		w.Fatalf("%s does not serve", name)
	}
}

func (w *world) address(name string) string {
	return w.ask(name, "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}")
}

func anotherNetwork(w *world, of string) string {
	networks := map[string]string{"first": w.network(), "second": w.network()}
	one, other := w.up("--network", networks["first"]), w.up("--network", networks[of])
	w.serve(one)
	if o := w.in(other, "/intruder", "dial", "tcp", w.address(one)+":80"); o.code == 0 {
		return "a container of another network answered"
	}
	return ""
}

// neighbour is a machine at 192.0.2.1 beside this one, which is at 192.0.2.2.
func (w *world) neighbour() *netns.Namespace {
	w.Helper()
	n := netns.New(w.T)
	host := func(words string) {
		w.Helper()
		f := strings.Fields(words)
		if _, err := netns.Run(f[0], f[1:]...); err != nil {
			w.Fatal(err)
		}
	}
	host("ip link add near type veth peer name eth0")
	w.Cleanup(func() { host("ip link delete near") })
	host(fmt.Sprintf("ip link set eth0 netns /proc/%d/fd/%d", os.Getpid(), n.File.Fd()))
	host("ip address add 192.0.2.2/24 dev near")
	host("ip link set near up")
	host("ip link set lo up")
	for _, words := range []string{"ip address add 192.0.2.1/24 dev eth0", "ip link set eth0 up"} {
		w.inside(n, words)
	}
	return n
}

func (w *world) inside(n *netns.Namespace, words string) string {
	w.Helper()
	f := strings.Fields(words)
	out, err := n.Run(f[0], f[1:]...)
	if err != nil {
		w.Fatal(err)
	}
	return out
}

// dials reports whether an address answers from there.
func dials(n *netns.Namespace, address string) bool {
	var err error
	n.Do(func() {
		d := net.Dialer{Timeout: 1500 * time.Millisecond, FallbackDelay: -1}
		var c net.Conn
		if c, err = d.Dial("tcp4", address); err == nil {
			c.Close()
		}
	})
	return err == nil
}

// loopbackPort has the neighbour send to 127.0.0.1 over the wire, to a port that is
// published there; the control takes the rule away that drops this. The host is one
// that lets such packets in (route_localnet), as some programs set it.
func loopbackPort(w *world, guarded bool) string {
	n := w.neighbour()
	port := "18411"
	w.serve(w.up("--network", w.network(), "-p", "127.0.0.1:"+port+":80"))
	if !guarded {
		w.noRawRules()
	}
	if _, err := netns.Run("sysctl", "-qw", "net.ipv4.conf.near.route_localnet=1", "net.ipv4.conf.near.rp_filter=0", "net.ipv4.conf.all.rp_filter=0"); err != nil {
		w.Fatal(err)
	}
	for _, words := range []string{"ip route add 127.0.0.0/8 via 192.0.2.2", "sysctl -qw net.ipv4.conf.eth0.route_localnet=1 net.ipv4.conf.eth0.rp_filter=0 net.ipv4.conf.all.rp_filter=0"} {
		w.inside(n, words)
	}
	if dials(n, "127.0.0.1:"+port) {
		return "a port at 127.0.0.1 answered a neighbour"
	}
	return ""
}

// noRawRules takes the rules of the chain raw away until the test's end.
func (w *world) noRawRules() {
	w.Helper()
	tables, err := netns.Run("nft", "list", "tables", "inet")
	if err != nil {
		w.Fatal(err)
	}
	for line := range strings.Lines(tables) {
		if f := strings.Fields(line); len(f) == 3 && strings.HasPrefix(f[2], "berth-") {
			if _, err := netns.Run("nft", "flush", "chain", "inet", f[2], "raw"); err != nil {
				w.Fatal(err)
			}
			w.Cleanup(func() { w.must("network", "reload", "--all") })
		}
	}
}

// direct has the neighbour send to a container's own address by way of the host.
func direct(w *world, options ...string) string {
	n := w.neighbour()
	name := w.up("--network", w.network(options...))
	w.serve(name)
	w.inside(n, "ip route add "+w.address(name)+" via 192.0.2.2")
	if dials(n, w.address(name)+":80") {
		return "a port that is not published answered a neighbour"
	}
	return ""
}

// pair is a victim that believes all it is told about neighbours, and somebody beside.
func (w *world) pair(options ...string) (victim, evil string, at *netns.Namespace) {
	w.Helper()
	network := w.network("--ipv6")
	victim = w.up("--network", network)
	evil = w.up(append([]string{"--network", network}, options...)...)
	at = netns.Enter(w.T, "/proc/"+w.ask(victim, "{{.State.Pid}}")+"/ns/net")
	w.inside(at, "sysctl -qw net.ipv4.conf.eth0.arp_accept=1 net.ipv6.conf.eth0.accept_untracked_na=1 net.ipv6.conf.eth0.accept_ra=2")
	return victim, evil, at
}

func (w *world) mac(name string) net.HardwareAddr {
	w.Helper()
	m, err := net.ParseMAC(w.ask(name, "{{range .NetworkSettings.Networks}}{{.MacAddress}}{{end}}"))
	if err != nil {
		w.Fatal(err)
	}
	return m
}

// send sends frames from a container, and waits until what is sent after them arrived.
func (w *world) send(evil, victim string, list ...[]byte) {
	w.Helper()
	words := []string{"/intruder", "frame", "eth0"}
	for _, f := range list {
		words = append(words, hex.EncodeToString(f))
	}
	if o := w.in(evil, words...); o.code != 0 {
		w.Fatalf("frames: %s", o)
	}
	if o := w.in(evil, "ping", "-c", "1", "-W", "5", w.address(victim)); o.code != 0 {
		w.Fatalf("ping: %s", o)
	}
}

// falseNeighbours says, by ARP and by a neighbour advertisement, that addresses of
// others are here.
func falseNeighbours(w *world, options ...string) string {
	victim, evil, at := w.pair(options...)
	mac := w.mac(evil)
	a := netip.MustParseAddr(w.address(victim)).As4()
	a[3] = 77
	foreign := netip.AddrFrom4(a)
	six := netip.MustParseAddr("fe80::77")
	arp := append([]byte{255, 255, 255, 255, 255, 255}, mac...)
	arp = append(arp, 8, 6, 0, 1, 8, 0, 6, 4, 0, 2)
	arp = append(append(append(append(arp, mac...), foreign.AsSlice()...), 255, 255, 255, 255, 255, 255), foreign.AsSlice()...)
	body := append(append([]byte{136, 0, 0, 0, 0x20, 0, 0, 0}, six.AsSlice()...), 2, 1)
	w.send(evil, victim, arp, icmp6(mac, six, append(body, mac...)))
	known := w.inside(at, "ip neighbour show")
	for _, address := range []netip.Addr{foreign, six} {
		if strings.Contains(known, address.String()+" ") {
			return fmt.Sprintf("the victim believes in %s: %s", address, known)
		}
	}
	return ""
}

// icmp6 is a message to all nodes.
func icmp6(mac net.HardwareAddr, from netip.Addr, body []byte) []byte {
	to := netip.MustParseAddr("ff02::1")
	sum := uint32(len(body)) + 58
	for _, part := range [][]byte{from.AsSlice(), to.AsSlice(), body} {
		for i := 0; i+1 < len(part); i += 2 {
			sum += uint32(binary.BigEndian.Uint16(part[i:]))
		}
	}
	for sum>>16 != 0 {
		sum = sum&0xffff + sum>>16
	}
	binary.BigEndian.PutUint16(body[2:], ^uint16(sum))
	frame := append([]byte{0x33, 0x33, 0, 0, 0, 1}, mac...)
	frame = append(frame, 0x86, 0xdd, 0x60, 0, 0, 0)
	frame = binary.BigEndian.AppendUint16(frame, uint16(len(body)))
	frame = append(append(append(frame, 58, 255), from.AsSlice()...), to.AsSlice()...)
	return append(frame, body...)
}

// falseRouter advertises itself as a router, with a prefix.
func falseRouter(w *world, options ...string) string {
	victim, evil, at := w.pair(options...)
	mac := w.mac(evil)
	var from netip.Addr
	for f := range strings.FieldsSeq(w.in(evil, "ip", "-6", "address", "show", "dev", "eth0", "scope", "link").out) {
		if p, err := netip.ParsePrefix(f); err == nil {
			from = p.Addr()
		}
	}
	if !from.IsValid() {
		w.Fatal("no address of the link")
	}
	body := []byte{134, 0, 0, 0, 64, 0, 7, 8, 0, 0, 0, 0, 0, 0, 0, 0, 3, 4, 64, 0xc0, 0, 0, 14, 16, 0, 0, 14, 16, 0, 0, 0, 0}
	body = append(body, netip.MustParseAddr("2001:db8:bad::").AsSlice()...)
	w.send(evil, victim, icmp6(mac, from, body))
	known := w.inside(at, "ip -6 address show") + w.inside(at, "ip -6 route show")
	if strings.Contains(known, "2001:db8:bad:") || strings.Contains(known, "via "+from.String()) {
		return "the victim believes the router: " + known
	}
	return ""
}

// asksOutside has a container ask for a name of the world.
func asksOutside(w *world, options ...string) string {
	w.neighbour()
	c, err := net.ListenPacket("udp4", "192.0.2.2:53")
	if err != nil {
		w.Fatal(err)
	}
	defer c.Close()
	var asked atomic.Int32
	go answer(c, &asked)
	name := w.up("--network", w.network(options...), "--dns", "192.0.2.2")
	o := w.in(name, "/intruder", "lookup", "secret-of-the-container.example.org")
	if asked.Load() > 0 || strings.Contains(o.out, "203.0.113.9") {
		return fmt.Sprintf("%d questions got out: %s", asked.Load(), o)
	}
	return ""
}

func answer(c net.PacketConn, asked *atomic.Int32) {
	b := make([]byte, 4096)
	for {
		n, from, err := c.ReadFrom(b)
		if err != nil {
			return
		}
		var m dnsmessage.Message
		if m.Unpack(b[:n]) != nil || len(m.Questions) != 1 {
			continue
		}
		if asked.Add(1); m.Questions[0].Type == dnsmessage.TypeA {
			m.Answers = []dnsmessage.Resource{{Header: dnsmessage.ResourceHeader{Name: m.Questions[0].Name, Class: dnsmessage.ClassINET, TTL: 1},
				Body: &dnsmessage.AResource{A: [4]byte{203, 0, 113, 9}}}}
		}
		m.Response, m.RecursionAvailable, m.Additionals = true, true, nil
		if out, err := m.Pack(); err == nil {
			_, _ = c.WriteTo(out, from)
		}
	}
}
