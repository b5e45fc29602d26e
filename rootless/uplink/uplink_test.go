package uplink

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"berth/rootless/uplink/order"
	"berth/test/netns"
	"berth/test/serving"
)

func TestMain(m *testing.M) { os.Exit(netns.Main(m.Run)) }

// Both ways at once, each with an end of its own, and not a byte is another.
func TestTCP(t *testing.T) {
	s := set(t)
	sent, answer := make([]byte, 8<<20), make([]byte, 12<<20)
	_, _ = rand.Read(sent)
	_, _ = rand.Read(answer)
	for _, at := range []string{worldAt, worldAt6} {
		to := listen(t, s.world, at, func(c *net.TCPConn) {
			defer c.Close()
			go func() { _, _ = c.Write(answer) }()
			sum := sha256.New()
			_, _ = io.Copy(sum, c) // until the end of that way
			_, _ = c.Write(sum.Sum(nil))
		})
		c := s.connect(t, "tcp", to).(*net.TCPConn)
		go func() {
			_, _ = c.Write(sent)
			_ = c.CloseWrite()
		}()
		got, err := io.ReadAll(c)
		must(t, err)
		sum := sha256.Sum256(sent)
		if len(got) != len(answer)+len(sum) {
			t.Fatalf("%s: %d bytes came back, want %d", at, len(got), len(answer)+len(sum))
		}
		// The sum stands where the answer was when it was written: take it out.
		i := bytes.Index(got, sum[:])
		if i < 0 || !bytes.Equal(append(got[:i:i], got[i+len(sum):]...), answer) {
			t.Errorf("%s: other bytes came", at)
		}
	}
}

// The world's end comes first, and what is said after it still arrives.
func TestHalfClose(t *testing.T) {
	s := set(t)
	after := make(chan string, 1)
	c := s.connect(t, "tcp", listen(t, s.world, worldAt, func(c *net.TCPConn) {
		defer c.Close()
		_, _ = c.Write([]byte("first"))
		_ = c.CloseWrite()
		all, _ := io.ReadAll(c)
		after <- string(all)
	})).(*net.TCPConn)
	if got, err := io.ReadAll(c); string(got) != "first" || err != nil {
		t.Errorf("%q, %v", got, err)
	}
	_, err := c.Write([]byte("after"))
	must(t, errors.Join(err, c.CloseWrite()))
	if got := <-after; got != "after" {
		t.Errorf("after its end the world got %q", got)
	}
}

// A connection that is lost on one side is lost on the other, not ended.
func TestLost(t *testing.T) {
	s := set(t)
	lost := make(chan error, 1)
	to := listen(t, s.world, worldAt, func(c *net.TCPConn) {
		b := make([]byte, 1)
		_, _ = io.ReadFull(c, b)
		if b[0] == 'k' {
			_ = c.SetLinger(0)
			c.Close()
			return
		}
		_, err := io.ReadAll(c)
		lost <- err
	})
	c := s.connect(t, "tcp", to)
	_, err := c.Write([]byte("k"))
	must(t, err)
	if b, err := io.ReadAll(c); !errors.Is(err, unix.ECONNRESET) {
		t.Errorf("lost by the world: read %q, %v", b, err)
	}
	c = s.connect(t, "tcp", to)
	_, err = c.Write([]byte("x"))
	must(t, err)
	time.Sleep(50 * time.Millisecond)
	must(t, c.(*net.TCPConn).SetLinger(0))
	c.Close()
	if err := <-lost; !errors.Is(err, unix.ECONNRESET) {
		t.Errorf("lost from inside: %v", err)
	}
}

// Who is refused out there is refused in here, for the same reason; the host's own addresses
// are refused.
func TestRefused(t *testing.T) {
	s := set(t)
	own := map[string]string{}
	for _, at := range []string{hostAt, hostAt6} {
		own[at] = listen(t, nil, at, func(c *net.TCPConn) { c.Close() })
	}
	for to, want := range map[string]error{
		worldAt + ":9":           unix.ECONNREFUSED,
		"[" + worldAt6 + "]:9":   unix.ECONNREFUSED,
		elsewhere + ":9":         unix.ENETUNREACH,
		"[" + elsewhere6 + "]:9": unix.ENETUNREACH,
		barredAt + ":9":          unix.EHOSTUNREACH,
		own[hostAt]:              unix.ECONNREFUSED,
		own[hostAt6]:             unix.ECONNREFUSED,
		"198.51.100.255:9":       unix.ECONNREFUSED, // the wire's broadcast
	} {
		begun := time.Now()
		if c, err := s.dial("tcp", to); !errors.Is(err, want) {
			if err == nil {
				c.Close()
			}
			t.Errorf("%s: %v, want %v", to, err, want)
		}
		if d := time.Since(begun); d > 900*time.Millisecond { // the next SYN comes after a second
			t.Errorf("%s: the answer took %v", to, d)
		}
	}
	for _, to := range []string{worldAt + ":9", hostAt + ":9", "[" + hostAt6 + "]:9"} {
		c := s.connect(t, "udp", to)
		_, err := c.Write([]byte("x"))
		must(t, err)
		if n, err := c.Read(make([]byte, 1)); !errors.Is(err, unix.ECONNREFUSED) {
			t.Errorf("udp %s: %d, %v", to, n, err)
		}
	}
	s.noLoopback(t)
}

// With --host the host's own addresses are led to, but not its loopback.
func TestHost(t *testing.T) {
	s := set(t, order.Order{Host: true}.Arguments()...)
	for _, at := range []string{hostAt, hostAt6} {
		c := s.connect(t, "tcp", listen(t, nil, at, func(c *net.TCPConn) { _, _ = c.Write([]byte("host")); c.Close() }))
		if got, err := io.ReadAll(c); string(got) != "host" || err != nil {
			t.Errorf("%s: %q, %v", at, got, err)
		}
	}
	s.noLoopback(t)
}

// noLoopback sends to the host's loopback from a namespace that has none itself: nothing
// comes there.
func (s *stage) noLoopback(t *testing.T) {
	t.Helper()
	run(t, s.inside, "ip addr flush dev lo", "sysctl -qw net.ipv4.conf.all.route_localnet=1 net.ipv4.conf.uplink.route_localnet=1",
		"ip route add 127.0.0.0/8 dev uplink src 10.77.0.1", "ip -6 route add ::1 dev uplink src fd77::1")
	for _, at := range []string{"127.0.0.1", "::1"} {
		to := listen(t, nil, at, func(c *net.TCPConn) {
			t.Errorf("a connection came to %s", c.LocalAddr())
			c.Close()
		})
		s.inside.Do(func() {
			if c, err := net.DialTimeout("tcp", to, 300*time.Millisecond); err == nil {
				t.Errorf("connected to %s", to)
				c.Close()
			}
		})
	}
}

// Some addresses lead to the host whatever its routes are.
func TestNever(t *testing.T) {
	for text, want := range map[string]bool{
		"0.0.0.0": true, "0.1.2.3": true, "127.0.0.1": true, "127.255.1.1": true, "224.0.0.1": true, "239.1.1.1": true, "255.255.255.255": true,
		"::": true, "::1": true, "::127.0.0.1": true, "::ffff:127.0.0.1": true, "::ffff:192.0.2.1": true, "ff02::1": true, "ff0e::1": true,
		"10.0.0.1": false, "128.0.0.1": false, "169.254.1.1": false, "192.0.2.1": false, "2001:db8::1": false, "fe80::1": false, "64:ff9b::1": false,
	} {
		if got := never(netip.MustParseAddr(text)); got != want {
			t.Errorf("%s: %v", text, got)
		}
	}
}

// echoes answers datagrams with who asked, and what.
func echoes(t testing.TB, n *netns.Namespace, at string) string {
	t.Helper()
	var p net.PacketConn
	var err error
	do(n, func() { p, err = net.ListenPacket("udp", at) })
	must(t, err)
	t.Cleanup(func() { p.Close() })
	go serving.Datagrams(p)
	return p.LocalAddr().String()
}

// Datagrams of any length, of both families, to a usual port and to that of DNS.
func TestUDP(t *testing.T) {
	s := set(t)
	for _, at := range []string{worldAt + ":0", "[" + worldAt6 + "]:0", worldAt + ":53"} {
		c := s.connect(t, "udp", echoes(t, s.world, at))
		first := ""
		for _, n := range []int{1, 512, 1473, 9000, 65400} {
			text := string(bytes.Repeat([]byte("x"), n))
			_, err := c.Write([]byte(text))
			must(t, err)
			b := make([]byte, maxDatagram)
			got, err := c.Read(b)
			must(t, err)
			from, back, _ := strings.Cut(string(b[:got]), " ")
			if back != text {
				t.Errorf("%s: of %d bytes %d came back", at, n, len(back))
			}
			if first == "" {
				first = from
			}
			if from != first {
				t.Errorf("%s: a flow has two ways, %s and %s", at, first, from)
			}
		}
	}
}

// Of too many flows the most silent one is forgotten, and begins anew.
func TestManyFlows(t *testing.T) {
	s := set(t)
	to := echoes(t, s.world, worldAt+":0")
	ask := func(c net.Conn) string {
		_, err := c.Write([]byte("x"))
		must(t, err)
		b := make([]byte, 100)
		n, err := c.Read(b)
		must(t, err)
		return string(b[:n])
	}
	var all []net.Conn
	ways := map[string]bool{}
	for range maxUDP + 1 {
		c := s.connect(t, "udp", to)
		ways[ask(c)] = true
		all = append(all, c)
	}
	if len(ways) != maxUDP+1 {
		t.Errorf("%d flows have %d ways", maxUDP+1, len(ways))
	}
	if ways[ask(all[0])] {
		t.Error("the first flow was not forgotten")
	}
	if !ways[ask(all[maxUDP])] {
		t.Error("the last flow was forgotten")
	}
}

// Who is too many waits until another has gone, and is then served. There are fewer where
// fewer files may be open, and datagrams have their part of these.
func TestManyConnections(t *testing.T) {
	const files, most = 600, (600 - otherFiles) * maxTCP / (maxTCP + maxUDP + maxPings)
	s := set(t, "files", strconv.Itoa(files))
	to := listen(t, s.world, worldAt, func(c *net.TCPConn) {
		_, _ = c.Write([]byte("x"))
		_, _ = io.Copy(io.Discard, c)
		c.Close()
	})
	var all []net.Conn
	for range most {
		c := s.connect(t, "tcp", to)
		if _, err := io.ReadFull(c, make([]byte, 1)); err != nil {
			t.Fatal(len(all), err)
		}
		all = append(all, c)
	}
	var err error
	s.inside.Do(func() { _, err = net.DialTimeout("tcp", to, 300*time.Millisecond) })
	if !os.IsTimeout(err) {
		t.Fatalf("one more than %d: %v", most, err)
	}
	c := s.connect(t, "udp", echoes(t, s.world, worldAt+":0"))
	if _, err = c.Write([]byte("x")); err == nil {
		_, err = c.Read(make([]byte, 100))
	}
	must(t, err)
	all[7].Close()
	if _, err := io.ReadFull(s.connect(t, "tcp", to), make([]byte, 1)); err != nil {
		t.Error(err)
	}
}

// ping asks from inside for an echo, and tells whether it came within a while.
func (s *stage) ping(t *testing.T, to string, size int, wait time.Duration) bool {
	t.Helper()
	network, request, reply := "ip4:icmp", byte(8), byte(0)
	if strings.Contains(to, ":") {
		network, request, reply = "ip6:ipv6-icmp", 128, 129
	}
	c := s.connect(t, network, to)
	defer c.Close()
	m := append([]byte{request, 0, 0, 0, 0x12, 0x34, 0, 7}, bytes.Repeat([]byte("p"), size)...)
	if request == 8 { // the kernel sets the sum of the other
		sum := uint32(0)
		for i := 0; i < len(m); i += 2 {
			sum += uint32(m[i])<<8 | uint32(m[i+1])
		}
		sum = ^(sum>>16 + sum&0xffff)
		m[2], m[3] = byte(sum>>8), byte(sum)
	}
	_, err := c.Write(m)
	must(t, err)
	must(t, c.SetDeadline(time.Now().Add(wait)))
	b := make([]byte, maxDatagram)
	for {
		n, _, err := c.(*net.IPConn).ReadFrom(b)
		if err != nil {
			return false
		}
		if n == len(m) && b[0] == reply && bytes.Equal(b[4:n], m[4:]) {
			return true
		}
	}
}

// Echo requests go out where the host allows ping sockets, and are not answered otherwise.
func TestPing(t *testing.T) {
	s := set(t)
	const allowed = "/proc/sys/net/ipv4/ping_group_range"
	must(t, os.WriteFile(allowed, []byte("1 0"), 0)) // of the test's namespace
	if s.ping(t, worldAt, 56, 200*time.Millisecond) {
		t.Error("an answer although the host allows no ping")
	}
	must(t, os.WriteFile(allowed, []byte("0 2147483647"), 0))
	for _, at := range []string{worldAt, worldAt6} {
		for _, size := range []int{0, 56, 56, 20000} {
			if !s.ping(t, at, size, 5*time.Second) {
				t.Errorf("%s: no answer of %d bytes", at, size)
			}
		}
	}
	for _, at := range []string{elsewhere, elsewhere6, hostAt, hostAt6} {
		if s.ping(t, at, 56, 200*time.Millisecond) {
			t.Errorf("an answer from %s", at)
		}
	}
}

// The process is confined, ignores what ends sessions, and ends with its life descriptor.
func TestProcess(t *testing.T) {
	t.Run("user", func(t *testing.T) { process(t, uid) })
	t.Run("root", func(t *testing.T) { process(t, 65534, asRoot) })
}

func process(t *testing.T, id int, args ...string) {
	s := set(t, args...)
	c := s.connect(t, "tcp", listen(t, s.world, worldAt, func(c *net.TCPConn) { _, _ = c.Write([]byte("x")); _, _ = io.Copy(c, c) }))
	_, err := io.ReadFull(c, make([]byte, 1))
	must(t, err)
	proc := fmt.Sprintf("/proc/%d/", s.cmd.Process.Pid)
	status, err := os.ReadFile(proc + "status")
	must(t, err)
	ids := strings.Repeat(fmt.Sprintf("\t%d", id), 4)
	for _, want := range []string{"Uid:" + ids + "\n", "Gid:" + ids + "\n", "CapEff:\t0000000000000000\n", "CapPrm:\t0000000000000000\n", "NoNewPrivs:\t1\n", "Seccomp:\t2\n"} {
		if !bytes.Contains(status, []byte(want)) {
			t.Errorf("no %q in its status", want)
		}
	}
	for _, name := range []string{"0", "1", "2"} {
		if to, err := os.Readlink(proc + "fd/" + name); err != nil || to != os.DevNull {
			t.Errorf("its descriptor %s is %s, %v", name, to, err)
		}
	}
	if to, err := os.Readlink(proc + "fd/7"); strings.Contains(to, "berth") {
		t.Errorf("its descriptor 7 is still %s, %v", to, err)
	}
	for _, signal := range []unix.Signal{unix.SIGHUP, unix.SIGINT, unix.SIGQUIT, unix.SIGTERM} {
		must(t, unix.Kill(s.cmd.Process.Pid, signal))
	}
	time.Sleep(50 * time.Millisecond)
	_, err = c.Write([]byte("y"))
	must(t, err)
	if _, err := io.ReadFull(c, make([]byte, 1)); err != nil {
		t.Errorf("after the signals: %v", err)
	}
	begun := time.Now()
	s.stop(t)
	if d := time.Since(begun); d > 2*time.Second {
		t.Errorf("it took %v to end", d)
	}
}

// The program ends with the device, too: its namespace has gone.
func TestNoDevice(t *testing.T) {
	s := set(t)
	if _, err := s.dial("tcp", worldAt+":9"); !errors.Is(err, unix.ECONNREFUSED) { // it has begun
		t.Fatal(err)
	}
	run(t, s.inside, "ip link del uplink")
	err := s.cmd.Wait()
	if s.cmd.ProcessState.ExitCode() != failed {
		t.Errorf("it ended with %v", err)
	}
}

// What is wrong with how it was started is said in one line.
func TestMisuse(t *testing.T) {
	bin, err := filepath.Abs("../../bin/berth-uplink")
	must(t, err)
	null, err := os.Open(os.DevNull)
	must(t, err)
	defer null.Close()
	for _, c := range []struct {
		args  string
		files []*os.File
		want  string
		code  int
	}{
		{"--help", nil, "Usage: berth-uplink", 0},
		{"--version", nil, "berth-uplink version ", 0},
		{"--mtu 5", nil, `berth-uplink: --mtu "5" is no number`, 2},
		{"word", nil, `berth-uplink: no argument "word" here`, 2},
		{"", nil, "berth-uplink: descriptor 3 is no attached file", 2},
		{"", []*os.File{null, null}, "berth-uplink: descriptor 3 is no attached file", 2},
	} {
		cmd := exec.Command(bin, strings.Fields(c.args)...)
		cmd.ExtraFiles = c.files
		out, _ := cmd.CombinedOutput()
		if !strings.HasPrefix(string(out), c.want) || cmd.ProcessState.ExitCode() != c.code || c.code != 0 && bytes.Count(out, []byte("\n")) != 1 {
			t.Errorf("%q: %q, code %d; want %q, %d", c.args, out, cmd.ProcessState.ExitCode(), c.want, c.code)
		}
	}
}
