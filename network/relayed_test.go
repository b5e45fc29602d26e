package network

import (
	"errors"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"berth/base/fault"
	"berth/base/ids"
	"berth/test/netns"
)

// relayMark makes the test binary a relay, as the helper is one.
const relayMark = "BERTH_TEST_RELAY"

// user is a store whose devices are in a network namespace that no packet of the host's
// comes to, as an ordinary user's are.
type user struct {
	*world
	n *netns.Namespace
	s *Store
}

// apart is a user's home without a way out.
type apart struct{ n *netns.Namespace }

func (a apart) Open() (*os.File, error) {
	fd, err := unix.FcntlInt(a.n.File.Fd(), unix.F_DUPFD_CLOEXEC, 3)
	return os.NewFile(uintptr(fd), "namespace"), err
}

func (apart) Name() string { return "apart" }

func (apart) WayOut() error { return nil }

func newUser(w *world) *user {
	u := &user{world: w, n: netns.New(w.t)}
	w.in(u.n, "sysctl -qw net.ipv4.conf.all.rp_filter=1 net.ipv4.conf.default.rp_filter=1")
	var err error
	u.s, err = Open(Options{Root: w.root + "/user", Run: w.root + "/userrun", Home: apart{u.n}})
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() {
		u.n.Do(func() { err = u.s.TearDown(ctx) })
		if err != nil {
			w.t.Error(err)
		}
		for _, line := range []string{"nft list ruleset", "ip route show table 48642", "ip -6 route show table 48642"} {
			if out := w.in(u.n, line); out != "" {
				w.t.Errorf("%s: %s", line, out)
			}
		}
		if out := w.in(u.n, "ip rule") + w.in(u.n, "ip -6 rule"); strings.Contains(out, "fwmark") {
			w.t.Error(out)
		}
	})
	return u
}

func (u *user) network(name string, prefixes ...string) {
	u.t.Helper()
	n := Network{Name: name, IPv6: len(prefixes) > 1}
	for _, p := range prefixes {
		n.Subnets = append(n.Subnets, Subnet{Prefix: netip.MustParsePrefix(p)})
	}
	var err error
	u.n.Do(func() { _, err = u.s.Create(ctx, CreateRequest{n}) })
	if err != nil {
		u.t.Fatal(err)
	}
}

// attach is try, in the user's namespace.
func (u *user) attach(name string, ports ...Port) (*guest, error) {
	g := &guest{Namespace: netns.New(u.t), id: ids.New()}
	var err error
	u.n.Do(func() {
		g.a, err = u.s.Attach(ctx, Request{Container: g.id, Name: name, Endpoints: on(name), Publish: ports}, g.File)
	})
	if err == nil {
		u.t.Cleanup(func() {
			for _, f := range g.a.Hold {
				f.Close()
			}
		})
	}
	return g, err
}

// relay has a relay serve the guest when the first has come, until the test's end. That one
// sees the guest see it as want.
func (u *user) relay(g *guest, network, address, want string) {
	u.t.Helper()
	bell, err := Bell(g.a)
	if err != nil || bell == nil {
		u.t.Fatal(bell, err)
	}
	defer bell.Close()
	first := make(chan string)
	go func() {
		from, err := ask(u.outside, network, address, 20*time.Second)
		if err != nil {
			from = err.Error()
		}
		first <- from
	}()
	if n, err := unix.Poll([]unix.PollFd{{Fd: int32(bell.Fd()), Events: unix.POLLIN}}, 10000); n != 1 {
		u.t.Fatal("the bell does not ring", err)
	}
	began := false
	beside, err := Relay(u.s, g.id, g.a.Hold, func(in *os.File) (_ *os.File, err error) {
		began = true
		pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return nil, err
		}
		theirs := os.NewFile(uintptr(pair[1]), "theirs")
		defer theirs.Close()
		cmd := exec.Command("/proc/self/exe")
		cmd.Env, cmd.ExtraFiles = append(os.Environ(), relayMark+"=1"), []*os.File{theirs}
		netns.Enter(u.t, namespacePath(&netns.Namespace{File: in})).Do(func() { err = cmd.Start() })
		if err == nil {
			u.t.Cleanup(func() { _ = cmd.Process.Kill(); _, _ = cmd.Process.Wait() })
		}
		return os.NewFile(uintptr(pair[0]), "ours"), err
	})
	if err != nil || !began {
		u.t.Fatal("no relay has begun", err)
	}
	u.t.Cleanup(func() { beside.Close() })
	if got := <-first; got != want {
		u.t.Errorf("the first: seen as %q, want %q", got, want)
	}
}

func (u *user) serveBoth(g *guest) {
	u.serve(g.Namespace, "tcp", ":80")
	u.serve(g.Namespace, "udp", ":80")
}

func publish(protocol string, at string, host uint16) Port {
	p := Port{Protocol: protocol, Host: host, Container: 80, Count: 1}
	if at != "" {
		p.Address = netip.MustParseAddr(at)
	}
	return p
}

// All that comes to an ordinary user's published ports is relayed, and a container sees
// whence it comes.
func TestAllRelayed(t *testing.T) {
	w := newWorld(t, Settings{})
	host(t, "ip address add 2001:db8::2/64 dev eth0 nodad")
	host(t, "ip address add 10.66.0.2/24 dev eth0")
	w.in(w.outside, "ip address add 2001:db8::1/64 dev eth0 nodad")
	w.in(w.outside, "ip address add 10.66.0.77/24 dev eth0")
	u := newUser(w)
	u.network("six", "10.66.0.0/24", "fd00:66::/64") // a subnet that is one of the host's wires, too
	u.network("four", "10.67.0.0/24")
	a, err := u.attach("six", publish("tcp", "", 8080), publish("udp", "", 8080), publish("tcp", "127.0.0.1", 8081), publish("udp", "127.0.0.1", 8081),
		publish("udp", "192.0.2.2", 8082), publish("udp", "::1", 8083))
	if err != nil {
		t.Fatal(err)
	}
	if out := w.in(u.n, "nft list ruleset"); strings.Contains(out, "8080") || !strings.Contains(out, "ct mark") {
		t.Errorf("in the user's firewall:\n%s", out)
	}
	u.serveBoth(a)
	u.relay(a, "tcp4", "192.0.2.2:8080", "192.0.2.1")
	gateway, gateway6 := "10.66.0.1", "fd00:66::1"
	began := time.Now()
	w.reach(w.outside, "tcp6", "[2001:db8::2]:8080", "2001:db8::1")
	if took := time.Since(began); took > 900*time.Millisecond { // a question for the container's link was not sent
		t.Errorf("the first connection by IPv6 took %s", took)
	}
	for _, protocol := range []string{"tcp", "udp"} {
		for range 2 { // the second time, a connection of the same kind was there before
			w.reach(w.outside, protocol+"4", "192.0.2.2:8080", "192.0.2.1")
			w.reach(w.outside, protocol+"6", "[2001:db8::2]:8080", "2001:db8::1")
			w.reach(nil, protocol+"4", "192.0.2.2:8080", "192.0.2.2") // from the host itself
			w.reach(nil, protocol+"6", "[2001:db8::2]:8080", "2001:db8::2")
		}
		w.reach(nil, protocol+"4", "127.0.0.1:8080", gateway)
		w.reach(nil, protocol+"6", "[::1]:8080", gateway6)
		w.reach(nil, protocol+"4", "127.0.0.1:8081", gateway)
		w.refuse(w.outside, protocol+"4", "192.0.2.2:8081")
		w.reach(w.outside, protocol+"4", "10.66.0.2:8080", gateway) // the container would look for it on its own network
	}
	w.reach(w.outside, "udp4", "192.0.2.2:8082", "192.0.2.1")
	w.reach(nil, "udp6", "[::1]:8083", gateway6)
	u.keepsPort()
	u.mends(a)
	// One that has IPv4 alone is served by IPv6, and sees the bridge then.
	b, err := u.attach("four", publish("tcp", "", 8090), publish("udp", "", 8090))
	if err != nil {
		t.Fatal(err)
	}
	u.serveBoth(b)
	u.relay(b, "udp6", "[2001:db8::2]:8090", "10.67.0.1")
	w.reach(w.outside, "tcp6", "[2001:db8::2]:8090", "10.67.0.1")
	w.reach(w.outside, "udp6", "[2001:db8::2]:8090", "10.67.0.1")
	w.reach(w.outside, "tcp4", "192.0.2.2:8090", "192.0.2.1")
}

// keepsPort holds that a peer's port is kept, too.
func (u *user) keepsPort() {
	u.t.Helper()
	for _, script := range []string{
		"import socket;s=socket.socket();s.bind(('192.0.2.1',4711));s.connect(('192.0.2.2',8080));print(s.recv(99).decode())",
		"import socket;s=socket.socket(socket.AF_INET6,socket.SOCK_DGRAM);s.settimeout(9);s.bind(('2001:db8::1',4711));s.sendto(b'?',('2001:db8::2',8080));print(s.recv(99).decode())",
	} {
		if out, err := u.outside.Run("python3", "-c", script); err != nil || !strings.Contains(out, "1:4711") && !strings.Contains(out, "1]:4711") {
			u.t.Errorf("seen as %q, %v", out, err)
		}
	}
}

// mends holds that what somebody flushed in the namespace comes again with the next
// published port.
func (u *user) mends(g *guest) {
	u.t.Helper()
	for _, line := range []string{"nft flush ruleset", "ip rule delete fwmark 0xbe02", "ip route flush table 48642", "ip -6 rule delete fwmark 0xbe02"} {
		u.in(u.n, line)
	}
	u.refuse(u.outside, "tcp4", "192.0.2.2:8080")
	if _, err := u.attach("four", publish("tcp", "", 8099)); err != nil {
		u.t.Fatal(err)
	}
	u.reach(u.outside, "tcp4", "192.0.2.2:8080", "192.0.2.1")
	u.reach(u.outside, "tcp6", "[2001:db8::2]:8080", "2001:db8::1")
	u.reach(u.outside, "udp6", "[2001:db8::2]:8080", "2001:db8::1")
}

// What an ordinary user's relay cannot carry is refused; an internal network has no ports.
func TestNotRelayed(t *testing.T) {
	u := newUser(newWorld(t, Settings{}))
	u.network("four", "10.67.0.0/24")
	var err error
	u.n.Do(func() { _, err = u.s.Create(ctx, CreateRequest{Network{Name: "inner", Internal: true}}) })
	if err != nil {
		t.Fatal(err)
	}
	many := publish("tcp", "", 20000)
	many.Count = 250
	g, err := u.attach("four", many)
	if err != nil || len(g.a.Hold) != 250 {
		t.Fatal(err)
	}
	if bell, err := Bell(g.a); bell == nil || err != nil {
		t.Error(err)
	} else {
		bell.Close()
	}
	for _, c := range []struct {
		p    Port
		kind error
		want string
	}{
		{Port{Protocol: "tcp", Host: 30000, Container: 80, Count: 251}, fault.Invalid, "publish 251 ports of container four: an ordinary user's are relayed, and a relay serves 250 at most"},
		{publish("sctp", "", 30000), fault.Unsupported, "publish port 80/sctp of container four: an ordinary user's ports are relayed, and a relay carries no SCTP"},
		{publish("tcp", "", 20010), fault.Conflict, "Bind for 0.0.0.0:20010 failed: port is already allocated"},
	} {
		if _, err := u.attach("four", c.p); !errors.Is(err, c.kind) || err.Error() != c.want {
			t.Errorf("%v: %v", c.p, err)
		}
	}
	inner, err := u.attach("inner", publish("tcp", "", 8080))
	if err != nil {
		t.Fatal(err)
	}
	if bell, err := Bell(inner.a); bell != nil || err != nil || len(inner.a.Hold) != 0 {
		t.Error("an internal network has published ports", err)
	}
}
