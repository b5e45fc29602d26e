package relay

import (
	"bytes"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"berth/base/codec"
	"berth/sys/fdpass"
	"berth/test/netns"
	"berth/test/serving"
)

func TestMain(m *testing.M) {
	if os.Getenv("BERTH_TEST_RELAY") != "" {
		os.Exit(Main(3))
	}
	os.Exit(netns.Main(m.Run))
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// host has a loopback.
func host(t *testing.T) {
	t.Helper()
	netns.Need(t)
	if _, err := netns.Run("ip", "link", "set", "lo", "up"); err != nil {
		t.Fatal(err)
	}
}

func TestOrder(t *testing.T) {
	o := Order{-999, [16]byte{255, 0, 1, 254}, [16]byte{10: 255, 11: 255, 12: 172, 13: 17, 15: 2}, true, []Subnet{{[16]byte{10: 255, 11: 255, 12: 10}, 104}}, []Door{{80, false}, {65535, true}}}
	var back Order
	if !codec.Whole(o.Text(), back.wire) || fmt.Sprint(back) != fmt.Sprint(o) {
		t.Errorf("%v, want %v", back, o)
	}
	o.Own, o.Doors = make([]Subnet, MaxSubnets), make([]Door, MaxDoors)
	for i := range o.Own {
		o.Own[i] = Subnet{[16]byte(bytes.Repeat([]byte{255}, 16)), 128}
	}
	for i := range o.Doors {
		o.Doors[i] = Door{65535, true}
	}
	if got := len(o.Text()); got > fdpass.MaxText {
		t.Errorf("the longest order has %d bytes, of which %d are read", got, fdpass.MaxText)
	}
}

// Peers whose addresses the container sees.
func TestKeeps(t *testing.T) {
	w := ways{keep: true}
	for _, p := range []string{"10.1.2.0/23", "fd00:17::/61"} {
		p := netip.MustParsePrefix(p)
		bits := p.Bits()
		if p.Addr().Is4() {
			bits += 96
		}
		w.own = append(w.own, Subnet{p.Addr().As16(), bits})
	}
	for text, want := range map[string]bool{
		"192.0.2.1": true, "2001:db8::1": true, "10.1.4.1": true, "10.1.1.255": true, "fd00:17:0:8::1": true, "169.253.1.1": true, "fec0::1": true,
		"127.0.0.1": false, "127.9.9.9": false, "::1": false, "169.254.1.1": false, "fe80::1": false, "febf::1": false, "0.0.0.0": false, "::": false,
		"10.1.2.0": false, "10.1.3.255": false, "fd00:17::1": false, "fd00:17:0:7::1": false,
	} {
		ip := netip.MustParseAddr(text).As16()
		if got := w.keeps(&ip); got != want {
			t.Errorf("%s: %v", text, got)
		}
	}
	ip := netip.MustParseAddr("192.0.2.1").As16()
	if (&ways{}).keeps(&ip) {
		t.Error("without being told")
	}
}

// start serves a door at ::1 in this process, which leads to a port of 127.0.0.1.
func start(t *testing.T, network string, to net.Addr) (address string) {
	t.Helper()
	var fd int
	at, udp := netip.MustParseAddrPort(to.String()), network == "udp"
	if udp {
		c, err := net.ListenUDP("udp6", &net.UDPAddr{IP: net.IPv6loopback})
		must(t, err)
		address, fd = c.LocalAddr().String(), dup(t, c)
		c.Close()
	} else {
		l, err := net.ListenTCP("tcp6", &net.TCPAddr{IP: net.IPv6loopback})
		must(t, err)
		address, fd = l.Addr().String(), dup(t, l)
		l.Close()
	}
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	must(t, err)
	s := &server{ways: ways{to: at.Addr().As16()}, slots: make(chan struct{}, maxConns), flows: map[peer]*flow{}}
	s.life, err = polled(pair[0])
	must(t, err)
	d, err := open(fd, Door{at.Port(), udp})
	must(t, err)
	s.doors = []*door{d}
	done := make(chan struct{})
	go func() { s.run(); close(done) }()
	t.Cleanup(func() {
		unix.Close(pair[1])
		<-done
	})
	return address
}

func dup(t *testing.T, c interface {
	File() (*os.File, error)
}) int {
	t.Helper()
	f, err := c.File()
	must(t, err)
	fd, err := unix.FcntlInt(f.Fd(), unix.F_DUPFD_CLOEXEC, 3)
	must(t, err)
	f.Close()
	return fd
}

// listen has serve do with each connection to a port of 127.0.0.1.
func listen(t *testing.T, serve func(*net.TCPConn)) net.Addr {
	t.Helper()
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	must(t, err)
	t.Cleanup(func() { l.Close() })
	go serving.Accept(l, serve)
	return l.Addr()
}

func connect(t *testing.T, door string) *net.TCPConn {
	t.Helper()
	c, err := net.Dial("tcp", door)
	must(t, err)
	t.Cleanup(func() { c.Close() })
	must(t, c.SetDeadline(time.Now().Add(20*time.Second)))
	return c.(*net.TCPConn)
}

// Each way ends by itself, and what was said before its end arrives.
func TestHalfClose(t *testing.T) {
	host(t)
	door := start(t, "tcp", listen(t, func(c *net.TCPConn) {
		defer c.Close()
		all, _ := io.ReadAll(c)
		_, _ = c.Write(append([]byte("got "), all...))
	}))
	sent := make([]byte, 5<<20)
	_, _ = rand.Read(sent)
	c := connect(t, door)
	go func() {
		_, _ = c.Write(sent)
		_ = c.CloseWrite()
	}()
	got, err := io.ReadAll(c)
	if err != nil || !bytes.Equal(got, append([]byte("got "), sent...)) {
		t.Errorf("%d bytes, %v", len(got), err)
	}

	door = start(t, "tcp", listen(t, func(c *net.TCPConn) { // the other way round
		_, _ = c.Write([]byte("first"))
		_ = c.CloseWrite()
		all, _ := io.ReadAll(c)
		if string(all) != "after" {
			t.Errorf("after its end the container got %q", all)
		}
		c.Close()
	}))
	c = connect(t, door)
	if got, err := io.ReadAll(c); string(got) != "first" || err != nil {
		t.Errorf("%q, %v", got, err)
	}
	_, err = c.Write([]byte("after"))
	must(t, errors.Join(err, c.CloseWrite()))
}

// A connection that is lost on one side is lost on the other, not ended.
func TestLost(t *testing.T) {
	host(t)
	lost := make(chan error, 1)
	door := start(t, "tcp", listen(t, func(c *net.TCPConn) {
		b := make([]byte, 1)
		_, _ = io.ReadFull(c, b)
		if b[0] == 'k' {
			_ = c.SetLinger(0)
			c.Close()
			return
		}
		_, err := io.ReadAll(c)
		lost <- err
	}))
	c := connect(t, door)
	_, err := c.Write([]byte("k"))
	must(t, err)
	if b, err := io.ReadAll(c); !errors.Is(err, unix.ECONNRESET) {
		t.Errorf("lost by the container: read %q, %v", b, err)
	}
	c = connect(t, door)
	_, err = c.Write([]byte("x"))
	must(t, err)
	time.Sleep(50 * time.Millisecond)
	must(t, c.SetLinger(0))
	c.Close()
	if err := <-lost; !errors.Is(err, unix.ECONNRESET) {
		t.Errorf("lost by the client: %v", err)
	}
	// Nobody listens there.
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	must(t, err)
	l.Close()
	refused, err := net.Dial("tcp", start(t, "tcp", l.Addr()))
	if err == nil {
		must(t, refused.SetDeadline(time.Now().Add(20*time.Second)))
		_, err = io.ReadAll(refused)
		refused.Close()
	}
	if !errors.Is(err, unix.ECONNRESET) {
		t.Errorf("refused: %v", err)
	}
}

// Who is too many waits until another has gone, and is then served.
func TestManyConnections(t *testing.T) {
	host(t)
	door := start(t, "tcp", listen(t, func(c *net.TCPConn) {
		defer c.Close()
		_, _ = io.Copy(c, c)
	}))
	echo := func(c *net.TCPConn) error {
		if _, err := c.Write([]byte("x")); err != nil {
			return err
		}
		_, err := io.ReadFull(c, make([]byte, 1))
		return err
	}
	var all []*net.TCPConn
	for range maxConns {
		c := connect(t, door)
		if err := echo(c); err != nil {
			t.Fatal(len(all), err)
		}
		all = append(all, c)
	}
	late := connect(t, door)
	must(t, late.SetDeadline(time.Now().Add(200*time.Millisecond)))
	if err := echo(late); !os.IsTimeout(err) {
		t.Fatalf("one more than %d: %v", maxConns, err)
	}
	all[7].Close()
	must(t, late.SetDeadline(time.Now().Add(20*time.Second)))
	if _, err := io.ReadFull(late, make([]byte, 1)); err != nil { // of what was sent before
		t.Error(err)
	}
}

// Datagrams of each sender have a way of their own, and come back from where they were
// sent to; of too many senders the most silent one is forgotten.
func TestDatagrams(t *testing.T) {
	host(t)
	in, err := net.ListenPacket("udp4", "127.0.0.1:0")
	must(t, err)
	t.Cleanup(func() { in.Close() })
	go serving.Datagrams(in)
	door := start(t, "udp", in.LocalAddr())
	ask := func(c net.Conn, text string) string {
		t.Helper()
		must(t, c.SetDeadline(time.Now().Add(20*time.Second)))
		_, err := c.Write([]byte(text))
		must(t, err)
		b := make([]byte, maxDatagram)
		n, err := c.Read(b)
		must(t, err)
		return string(b[:n])
	}
	var all []net.Conn
	ways := map[string]bool{}
	for i := range maxFlows + 1 {
		c, err := net.Dial("udp", door)
		must(t, err)
		t.Cleanup(func() { c.Close() })
		all = append(all, c)
		answer := ask(c, "hello")
		ways[answer] = true
		if i == 0 && ask(c, "hello") != answer {
			t.Error("the way of a sender is not the same")
		}
	}
	if len(ways) != maxFlows+1 {
		t.Errorf("%d senders have %d ways", maxFlows+1, len(ways))
	}
	if ways[ask(all[0], "hello")] {
		t.Error("the first sender was not forgotten")
	}
	if !ways[ask(all[maxFlows], "hello")] {
		t.Error("the last sender was forgotten")
	}
	if got := ask(all[5], string(make([]byte, 60000))); len(got) < 60000 {
		t.Errorf("a long datagram: %d bytes came back", len(got))
	}
}

// The process is confined, goes when its socket hangs up, and has let go of its doors
// then.
func TestProcess(t *testing.T) {
	for rights, keep := range map[string]bool{"0000000000000000": false, "0000000000002000": true} { // CAP_NET_RAW
		process(t, keep, rights)
	}
}

func process(t *testing.T, keep bool, rights string) {
	host(t)
	l, err := net.ListenTCP("tcp6", &net.TCPAddr{IP: net.IPv6loopback})
	must(t, err)
	fd := dup(t, l)
	at := l.Addr().String()
	l.Close()
	to := netip.MustParseAddrPort(listen(t, func(c *net.TCPConn) { _, _ = c.Write([]byte("here")); c.Close() }).String())
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	must(t, err)
	theirs := os.NewFile(uintptr(pair[1]), "socket")
	self, err := os.Executable()
	must(t, err)
	p, err := os.StartProcess(self, []string{self}, &os.ProcAttr{Env: append(os.Environ(), "BERTH_TEST_RELAY=1"), Files: []*os.File{os.Stdin, os.Stdout, os.Stderr, theirs}})
	must(t, err)
	theirs.Close()
	o := Order{To: to.Addr().As16(), Keep: keep, Doors: []Door{{Port: to.Port()}}}
	must(t, sendOrder(pair[0], &o, fd))
	unix.Close(fd)
	if got, err := io.ReadAll(connect(t, at)); string(got) != "here" || err != nil {
		t.Errorf("%q, %v", got, err)
	}
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.Pid))
	must(t, err)
	for _, want := range []string{"Uid:\t65534\t65534\t65534\t65534\n", "CapEff:\t" + rights + "\n", "CapPrm:\t" + rights + "\n", "CapInh:\t0000000000000000\n", "CapAmb:\t0000000000000000\n", "Seccomp:\t2\n"} {
		if !bytes.Contains(status, []byte(want)) {
			t.Errorf("no %q in its status", want)
		}
	}
	must(t, unix.Shutdown(pair[0], unix.SHUT_WR))
	if n, err := unix.Poll([]unix.PollFd{{Fd: int32(pair[0])}}, 10000); n != 1 {
		t.Errorf("it does not hang up: %v", err)
	}
	l2, err := net.Listen("tcp6", at)
	if err != nil {
		t.Errorf("its door is still held: %v", err)
	} else {
		l2.Close()
	}
	unix.Close(pair[0])
	if s, err := p.Wait(); err != nil || s.ExitCode() != 0 {
		t.Errorf("it ended with %v, %v", s, err)
	}
}

func sendOrder(sock int, o *Order, fds ...int) error {
	return unix.Sendmsg(sock, o.Text(), unix.UnixRights(fds...), nil, 0)
}
