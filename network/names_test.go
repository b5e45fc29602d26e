package network

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"
	"golang.org/x/sys/unix"

	"berth/network/names"
	"berth/sys/pidfd"
)

// resolverMark makes the test binary a resolver, as the helper is one.
const resolverMark = "BERTH_TEST_RESOLVER"

// resolverHost starts resolvers for a test, and ends them with it.
type resolverHost struct {
	t  *testing.T
	mu sync.Mutex
	ps []*exec.Cmd
}

func (r *resolverHost) begin() (*os.File, error) {
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	theirs := os.NewFile(uintptr(pair[1]), "theirs")
	defer theirs.Close()
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), resolverMark+"=1", "GOMAXPROCS=1")
	cmd.ExtraFiles = []*os.File{theirs}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	r.mu.Lock()
	r.ps = append(r.ps, cmd)
	r.mu.Unlock()
	r.t.Cleanup(func() { _ = cmd.Process.Kill(); _, _ = cmd.Process.Wait() })
	return os.NewFile(uintptr(pair[0]), "ours"), nil
}

// asker is a guest whose questions for names are answered.
type asker struct {
	*guest
	t       *testing.T
	process *exec.Cmd // stands for its first one
	beside  *os.File
}

func (w *world) asker(r *resolverHost, q Request) *asker {
	w.t.Helper()
	a := &asker{guest: w.run(q), t: w.t, process: exec.Command("sleep", "1000")}
	if err := a.process.Start(); err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(a.end)
	a.serve(w.s, r)
	return a
}

func (a *asker) serve(s *Store, r *resolverHost) {
	a.t.Helper()
	p, err := pidfd.Open(a.process.Process.Pid)
	if err != nil {
		a.t.Fatal(err)
	}
	defer p.Close()
	if a.beside, err = Serve(s, a.id, a.File, p, r.begin); err != nil {
		a.t.Fatal(err)
	}
}

func (a *asker) end() {
	_ = a.process.Process.Kill()
	_, _ = a.process.Process.Wait()
}

const dnsPatience = 5 * time.Second

// exchange sends a message to the container's name server.
func (a *asker) exchange(network string, b []byte) (out []byte, err error) {
	a.Do(func() {
		var c net.Conn
		if c, err = (&net.Dialer{Timeout: dnsPatience}).Dial(network, NameServer+":53"); err != nil {
			return
		}
		defer c.Close()
		_ = c.SetDeadline(time.Now().Add(dnsPatience))
		out, err = dnsExchange(c, network, b)
	})
	return out, err
}

func dnsExchange(c net.Conn, network string, b []byte) ([]byte, error) {
	if network != "tcp" {
		if _, err := c.Write(b); err != nil {
			return nil, err
		}
		out := make([]byte, 65536)
		n, err := c.Read(out)
		return out[:n], err
	}
	if _, err := c.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(b))), b...)); err != nil {
		return nil, err
	}
	return dnsRead(c)
}

func dnsRead(c net.Conn) ([]byte, error) {
	var size [2]byte
	if _, err := io.ReadFull(c, size[:]); err != nil {
		return nil, err
	}
	out := make([]byte, binary.BigEndian.Uint16(size[:]))
	_, err := io.ReadFull(c, out)
	return out, err
}

func dnsQuery(t *testing.T, name string, kind dnsmessage.Type) []byte {
	t.Helper()
	m := dnsmessage.Message{Header: dnsmessage.Header{ID: 99, RecursionDesired: true},
		Questions: []dnsmessage.Question{{Name: dnsmessage.MustNewName(name), Type: kind, Class: dnsmessage.ClassINET}}}
	b, err := m.Pack()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// lookup is what the container is told: addresses and names, sorted, and a code that
// is no success.
func (a *asker) lookup(network, name string, kind dnsmessage.Type) string {
	a.t.Helper()
	b, err := a.exchange(network, dnsQuery(a.t, name, kind))
	if err != nil {
		return err.Error()
	}
	var m dnsmessage.Message
	if err := m.Unpack(b); err != nil || m.ID != 99 || !m.Response {
		a.t.Fatalf("%s: %v: %x", name, err, b)
	}
	var out []string
	for _, r := range m.Answers {
		switch r := r.Body.(type) {
		case *dnsmessage.AResource:
			out = append(out, netip.AddrFrom4(r.A).String())
		case *dnsmessage.AAAAResource:
			out = append(out, netip.AddrFrom16(r.AAAA).String())
		case *dnsmessage.PTRResource:
			out = append(out, r.PTR.String())
		}
	}
	slices.Sort(out)
	if m.Truncated {
		out = append(out, "cut")
	}
	if m.RCode != dnsmessage.RCodeSuccess {
		out = append(out, strings.TrimPrefix(m.RCode.String(), "RCode"))
	}
	return strings.Join(out, " ")
}

func (a *asker) expect(name string, kind dnsmessage.Type, want string) {
	a.t.Helper()
	for _, network := range []string{"udp", "tcp"} {
		if got := a.lookup(network, name, kind); got != want {
			a.t.Errorf("%s %s by %s: %q, want %q", name, kind, network, got, want)
		}
	}
}

func (w *world) network(n Network) {
	w.t.Helper()
	if _, err := w.s.Create(context.Background(), CreateRequest{n}); err != nil {
		w.t.Fatal(err)
	}
}

func subnets(list ...string) (out []Subnet) {
	for _, s := range list {
		out = append(out, Subnet{Prefix: netip.MustParsePrefix(s)})
	}
	return out
}

func TestNames(t *testing.T) {
	w := newWorld(t, Settings{})
	r := &resolverHost{t: t}
	w.network(Network{Name: "one", IPv6: true, Subnets: subnets("10.71.0.0/24", "fd00:71::/64")})
	w.network(Network{Name: "two", Subnets: subnets("10.72.0.0/24")})
	w.network(Network{Name: "closed", Internal: true, Subnets: subnets("10.73.0.0/24")})
	at := func(network, ip string, more ...string) Endpoint {
		return Endpoint{Network: network, IPv4: netip.MustParseAddr(ip), Aliases: more}
	}
	web := w.asker(r, Request{Name: "web", Endpoints: []Endpoint{at("one", "10.71.0.10", "www")}, Naming: Naming{Hostname: "webhost"}})
	db := w.asker(r, Request{Name: "db", Endpoints: []Endpoint{at("one", "10.71.0.11", "www"), at("two", "10.72.0.11")}})
	two := w.asker(r, Request{Name: "far", Endpoints: []Endpoint{at("two", "10.72.0.12")}})
	closed := w.asker(r, Request{Name: "in", Endpoints: []Endpoint{{Network: "closed", IPv4: netip.MustParseAddr("10.73.0.10"), Links: []string{"in:self"}}}})
	bridged := w.run(Request{Name: "plain"})
	const a, aaaa, ptr = dnsmessage.TypeA, dnsmessage.TypeAAAA, dnsmessage.TypePTR
	web.expect("web.", a, "10.71.0.10")
	web.expect("webhost.", a, "10.71.0.10")
	web.expect(string(web.id[:12])+".", a, "10.71.0.10")
	web.expect("DB.", a, "10.71.0.11")
	web.expect("db.one.", a, "10.71.0.11")
	web.expect("www.", a, "10.71.0.10 10.71.0.11")
	web.expect("db.", aaaa, db.a.On(db.a.Endpoints[0].NetworkID).IPv6.Addr().String())
	web.expect("11.0.71.10.in-addr.arpa.", ptr, "db.one.")
	db.expect("far.", a, "10.72.0.12")
	db.expect("far.", aaaa, "")
	db.expect("web.", a, "10.71.0.10")
	closed.expect("self.", a, "10.73.0.10")
	closed.expect("web.", a, "ServerFailure")
	closed.expect("10.0.71.10.in-addr.arpa.", ptr, "ServerFailure")
	if p, err := Serve(w.s, bridged.id, bridged.File, nil, r.begin); p != nil || err != nil {
		t.Error("a container of the default bridge has a resolver:", p, err)
	}
	if n := len(r.ps); n != 3 { // of one, two, closed
		t.Errorf("%d resolvers", n)
	}
	// A server of its own can listen at port 53 of all addresses.
	web.Do(func() {
		u, err := net.ListenPacket("udp", ":53")
		if err == nil {
			defer u.Close()
			var l net.Listener
			if l, err = net.Listen("tcp", ":53"); err == nil {
				defer l.Close()
			}
		}
		if err != nil {
			t.Error("listen at port 53 in the container:", err)
		}
	})
	// Connected and disconnected while it runs, and renamed.
	if _, err := w.s.Alter(ctx, Request{Container: web.id, Name: "web", Endpoints: []Endpoint{at("one", "10.71.0.10", "www"), at("two", "10.72.0.20", "also")}}, web.File); err != nil {
		t.Fatal(err)
	}
	web.expect("far.", a, "10.72.0.12")
	two.expect("also.", a, "10.72.0.20")
	if _, err := w.s.Alter(ctx, Request{Container: web.id, Name: "web", Endpoints: []Endpoint{at("two", "10.72.0.20", "also")}}, web.File); err != nil {
		t.Fatal(err)
	}
	web.expect("web.", a, "10.72.0.20")
	db.expect("www.", a, "10.71.0.11")
	if err := w.s.Rename(web.id, "other"); err != nil {
		t.Fatal(err)
	}
	two.expect("other.", a, "10.72.0.20")
	// One that has left is known no more.
	if err := w.s.Detach(ctx, db.id); err != nil {
		t.Fatal(err)
	}
	two.expect("12.0.72.10.in-addr.arpa.", ptr, "far.two.")
	two.expect("11.0.72.10.in-addr.arpa.", ptr, "NameError")
}

// dnsServer answers on the host, and counts what it is asked.
type dnsServer struct {
	mu    sync.Mutex
	asked []string
}

func (s *dnsServer) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.asked)
}

// answer is what it says: cut names are cut by UDP, fail fails, forged comes first
// under another id, big is larger than half a kilobyte.
func (s *dnsServer) answer(t *testing.T, b []byte, network string) (out [][]byte) {
	var m dnsmessage.Message
	if err := m.Unpack(b); err != nil || len(m.Questions) != 1 {
		t.Errorf("the server was asked %x: %v", b, err)
		return nil
	}
	q := m.Questions[0]
	name := q.Name.String()
	s.mu.Lock()
	s.asked = append(s.asked, network+" "+name)
	s.mu.Unlock()
	m.Response, m.RecursionAvailable = true, true
	add := func(ip ...byte) {
		m.Answers = append(m.Answers, dnsmessage.Resource{Header: dnsmessage.ResourceHeader{Name: q.Name, Class: q.Class, TTL: 5},
			Body: &dnsmessage.AResource{A: [4]byte(ip)}})
	}
	switch {
	case strings.HasPrefix(name, "nothing."):
		m.RCode = dnsmessage.RCodeNameError
	case strings.HasPrefix(name, "fail."):
		m.RCode = dnsmessage.RCodeServerFailure
	case strings.HasPrefix(name, "cut.") && network == "udp":
		m.Truncated = true
	case strings.HasPrefix(name, "big."):
		for i := range 100 {
			add(203, 0, 113, byte(i))
		}
	case strings.HasPrefix(name, "forged."):
		forged := m
		forged.ID++
		forged.Answers = []dnsmessage.Resource{{Header: dnsmessage.ResourceHeader{Name: q.Name, Class: q.Class}, Body: &dnsmessage.AResource{A: [4]byte{6, 6, 6, 6}}}}
		p, _ := forged.Pack()
		out = append(out, p)
		forged.ID, forged.Questions = m.ID, []dnsmessage.Question{{Name: dnsmessage.MustNewName("forgee.example."), Type: q.Type, Class: q.Class}}
		p, _ = forged.Pack()
		out = append(out, p)
		add(203, 0, 113, 7)
	default:
		add(203, 0, 113, 7)
	}
	p, err := m.Pack()
	if err != nil {
		t.Error(err)
	}
	if network != "udp" {
		return [][]byte{p}
	}
	return append(out, p)
}

func newDNSServer(t *testing.T, address string) *dnsServer {
	t.Helper()
	s := &dnsServer{}
	u, err := net.ListenPacket("udp", address)
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { u.Close(); l.Close() })
	go func() {
		b := make([]byte, 65536)
		for {
			n, from, err := u.ReadFrom(b)
			if err != nil {
				return
			}
			for _, p := range s.answer(t, b[:n], "udp") {
				_, _ = u.WriteTo(p, from)
			}
		}
	}()
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			if b, err := dnsRead(c); err == nil {
				for _, p := range s.answer(t, b, "tcp") {
					_, _ = c.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(p))), p...))
				}
			}
			c.Close()
		}
	}()
	return s
}

func TestNamesOfOthers(t *testing.T) {
	w := newWorld(t, Settings{})
	r := &resolverHost{t: t}
	server := newDNSServer(t, "127.77.0.1:53")
	w.network(Network{Name: "one", Subnets: subnets("10.71.0.0/24")})
	w.network(Network{Name: "closed", Internal: true, Subnets: subnets("10.73.0.0/24")})
	some := func(list ...string) (out []netip.Addr) {
		for _, s := range list {
			out = append(out, netip.MustParseAddr(s))
		}
		return out
	}
	const a = dnsmessage.TypeA
	// Nobody listens at the first server.
	web := w.asker(r, Request{Name: "web", Endpoints: []Endpoint{{Network: "one"}}, Naming: Naming{Servers: some("127.77.0.9", "127.77.0.1", NameServer)}})
	web.expect("out.example.", a, "203.0.113.7")
	web.expect("forged.example.", a, "203.0.113.7")
	web.expect("nothing.example.", a, "NameError")
	web.expect("fail.example.", a, "ServerFailure")
	if got := web.lookup("udp", "cut.example.", a); got != "cut" {
		t.Errorf("a cut answer: %q", got)
	}
	if got := web.lookup("tcp", "cut.example.", a); got != "203.0.113.7" {
		t.Errorf("the whole of a cut answer: %q", got)
	}
	if got := web.lookup("udp", "big.example.", a); got != "cut" {
		t.Errorf("a large answer to one who takes 512 bytes: %q", got)
	}
	if got := strings.Fields(web.lookup("tcp", "big.example.", a)); len(got) != 100 {
		t.Errorf("a large answer by TCP has %d addresses", len(got))
	}
	// Of names that our networks know, and of one of a word where ndots was given,
	// others hear nothing; an internal network asks nobody.
	before := server.count()
	web.expect("web.", dnsmessage.TypeMX, "")
	web.expect("9.0.71.10.in-addr.arpa.", dnsmessage.TypePTR, "NameError")
	dotted := w.asker(r, Request{Name: "dotted", Endpoints: []Endpoint{{Network: "one"}}, Naming: Naming{Servers: some("127.77.0.1"), Dotted: true}})
	dotted.expect("word.", a, "")
	closed := w.asker(r, Request{Name: "in", Endpoints: []Endpoint{{Network: "closed"}}, Naming: Naming{Servers: some("127.77.0.1")}})
	closed.expect("out.example.", a, "ServerFailure")
	if server.count() != before {
		t.Errorf("a server was asked: %v", server.asked[before:])
	}
	dead := w.asker(r, Request{Name: "dead", Endpoints: []Endpoint{{Network: "one"}}, Naming: Naming{Servers: some("127.77.0.8")}})
	dead.expect("out.example.", a, "ServerFailure")
	// Nobody is served at the device of a network.
	if err := web.direct(); err == nil {
		t.Error("the resolver answers at", web.ip())
	}
}

// direct asks for names at the container's address, from the host.
func (a *asker) direct() error {
	c, err := net.Dial("udp", a.ip()+":53")
	if err != nil {
		return err
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(200 * time.Millisecond))
	_, err = dnsExchange(c, "udp", dnsQuery(a.t, "web.", dnsmessage.TypeA))
	return err
}

// hungUp waits for the end of what is beside.
func hungUp(t *testing.T, f *os.File) {
	t.Helper()
	_ = f.SetReadDeadline(time.Now().Add(10 * time.Second))
	if _, err := f.Read(make([]byte, 1)); errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatal("the resolver's end was not told")
	}
}

// A resolver lives as long as it serves somebody; one that was killed is replaced.
func TestResolverLives(t *testing.T) {
	w := newWorld(t, Settings{})
	r := &resolverHost{t: t}
	w.network(Network{Name: "one", Subnets: subnets("10.71.0.0/24")})
	first := w.asker(r, Request{Name: "first", Endpoints: []Endpoint{{Network: "one"}}})
	second := w.asker(r, Request{Name: "second", Endpoints: []Endpoint{{Network: "one"}}})
	if len(r.ps) != 1 {
		t.Fatalf("%d resolvers of one network", len(r.ps))
	}
	first.expect("second.", dnsmessage.TypeA, second.ip())
	confined(t, r.ps[0].Process.Pid)
	first.end()
	hungUp(t, first.beside)
	second.expect("second.", dnsmessage.TypeA, second.ip())
	// Served anew, the old sockets go, and the new ones count.
	old := second.beside
	second.serve(w.s, r)
	hungUp(t, old)
	second.expect("second.", dnsmessage.TypeA, second.ip())
	_ = r.ps[0].Process.Kill()
	hungUp(t, second.beside)
	_ = r.ps[0].Wait() // its listener may be closed after its connections: a monitor waits a moment, too
	second.serve(w.s, r)
	second.expect("second.", dnsmessage.TypeA, second.ip())
	if len(r.ps) != 2 {
		t.Fatalf("%d resolvers were started", len(r.ps))
	}
	second.end()
	done := make(chan error, 1)
	go func() { done <- r.ps[1].Wait() }()
	select {
	case err := <-done:
		if err != nil {
			t.Error("the last resolver:", err)
		}
	case <-time.After(10 * time.Second):
		t.Error("the resolver outlives all whom it served")
	}
	// And the next one finds another.
	third := w.asker(r, Request{Name: "third", Endpoints: []Endpoint{{Network: "one"}}})
	third.expect("third.", dnsmessage.TypeA, third.ip())
	n, err := w.s.Find("one")
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range []*asker{first, second, third} {
		a.end()
		if err := w.s.Release(ctx, a.id); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.s.Remove(ctx, n); err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{names.Views, names.On, "../resolvers"} {
		list, err := os.ReadDir(w.root + "/run/network/names/" + dir)
		if err != nil || len(list) > 0 {
			t.Errorf("left in %s: %v %v", dir, list, err)
		}
	}
}

// confined looks at a resolver's rights from outside.
func confined(t *testing.T, pid int) {
	t.Helper()
	b, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/status")
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range []string{"CapEff:\t0000000000000000", "CapPrm:\t0000000000000000", "NoNewPrivs:\t1", "Seccomp:\t2", "Uid:\t65534\t65534\t65534\t65534", "Gid:\t65534\t65534\t65534\t65534", "Groups:\t "} {
		if !strings.Contains(string(b), "\n"+line+"\n") {
			t.Errorf("no %q in\n%s", line, b)
		}
	}
}

// Many questions at once are answered or refused, and the next one is answered.
func TestNamesFlood(t *testing.T) {
	w := newWorld(t, Settings{})
	r := &resolverHost{t: t}
	w.network(Network{Name: "one", Subnets: subnets("10.71.0.0/24")})
	// Nobody answers there, and nothing says that nobody is there.
	c, err := net.ListenPacket("udp", "127.77.0.2:53")
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	q := Request{Name: "noisy", Endpoints: []Endpoint{{Network: "one"}}, Naming: Naming{Servers: []netip.Addr{netip.MustParseAddr("127.77.0.2")}}}
	noisy := w.asker(r, q)
	quiet := w.asker(r, Request{Name: "quiet", Endpoints: []Endpoint{{Network: "one"}}})
	noisy.Do(func() {
		s, err := net.Dial("udp", NameServer+":53")
		if err != nil {
			t.Error(err)
			return
		}
		defer s.Close()
		for range 20_000 {
			_, _ = s.Write(dnsQuery(t, "out.example.", dnsmessage.TypeA))
		}
		for range 300 { // connections that say nothing
			if l, err := net.DialTimeout("tcp", NameServer+":53", time.Second); err == nil {
				defer l.Close()
			}
		}
		quiet.expect("noisy.", dnsmessage.TypeA, noisy.ip())
		if got := noisy.lookupHere("noisy."); got != noisy.ip() {
			t.Errorf("the noisy one itself: %q", got)
		}
	})
	fds, err := os.ReadDir("/proc/" + strconv.Itoa(r.ps[0].Process.Pid) + "/fd")
	if err != nil || len(fds) > 200 {
		t.Errorf("the resolver has %d descriptors: %v", len(fds), err)
	}
	b, err := os.ReadFile("/proc/" + strconv.Itoa(r.ps[0].Process.Pid) + "/status")
	if err != nil || !strings.Contains(string(b), "VmRSS") {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(b)) {
		if strings.HasPrefix(line, "VmHWM") {
			t.Log(strings.TrimSpace(line))
		}
	}
}

// lookupHere is lookup on the thread that is in the namespace already.
func (a *asker) lookupHere(name string) string {
	c, err := net.Dial("udp", NameServer+":53")
	if err != nil {
		return err.Error()
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(dnsPatience))
	b, err := dnsExchange(c, "udp", dnsQuery(a.t, name, dnsmessage.TypeA))
	if err != nil {
		return err.Error()
	}
	var m dnsmessage.Message
	if err := m.Unpack(b); err != nil || len(m.Answers) != 1 {
		return m.RCode.String()
	}
	return netip.AddrFrom4(m.Answers[0].Body.(*dnsmessage.AResource).A).String()
}
