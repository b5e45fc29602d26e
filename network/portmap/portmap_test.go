package portmap

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"runtime"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"berth/base/fault"
	"berth/test/netns"
)

func TestMain(m *testing.M) { os.Exit(netns.Main(m.Run)) }

func port(proto string, host, container, count uint16, at string) Port {
	p := Port{Protocol: proto, Host: host, Container: container, Count: count}
	if at != "" {
		p.Address = netip.MustParseAddr(at)
	}
	return p
}

func TestOverlaps(t *testing.T) {
	for _, c := range []struct {
		p, q Port
		want bool
	}{
		{port("tcp", 80, 1, 1, ""), port("tcp", 80, 2, 1, ""), true},
		{port("tcp", 80, 1, 1, ""), port("udp", 80, 1, 1, ""), false},
		{port("tcp", 80, 1, 1, ""), port("tcp", 80, 1, 1, "::1"), true},
		{port("tcp", 80, 1, 1, "0.0.0.0"), port("tcp", 80, 1, 1, "127.0.0.1"), true},
		{port("tcp", 80, 1, 1, "0.0.0.0"), port("tcp", 80, 1, 1, "::1"), false},
		{port("tcp", 80, 1, 1, "127.0.0.1"), port("tcp", 80, 1, 1, "127.0.0.2"), false},
		{port("tcp", 80, 1, 10, ""), port("tcp", 89, 1, 1, ""), true},
		{port("tcp", 80, 1, 10, ""), port("tcp", 90, 1, 1, ""), false},
		{port("tcp", 0, 1, 1, ""), port("tcp", 0, 1, 1, ""), false},
	} {
		if c.p.Overlaps(c.q) != c.want || c.q.Overlaps(c.p) != c.want {
			t.Errorf("%v and %v: not %v", c.p, c.q, c.want)
		}
	}
}

func TestCheck(t *testing.T) {
	for _, p := range []Port{
		port("icmp", 1, 1, 1, ""), port("tcp", 1, 0, 1, ""), port("tcp", 65535, 1, 2, ""), port("tcp", 1, 65535, 2, ""),
		{Protocol: "tcp", Container: 1, Host: 10, HostEnd: 9, Count: 1}, {Protocol: "tcp", Container: 1, Host: 10, HostEnd: 20, Count: 2},
	} {
		if err := p.Check(); !fault.Is(err, fault.Invalid) {
			t.Errorf("%+v: %v", p, err)
		}
	}
	if err := port("sctp", 65535, 65535, 1, "").Check(); err != nil {
		t.Error(err)
	}
}

// Equal ranges are one element, shifted ones one a port.
func TestMappings(t *testing.T) {
	both := Target{IPv4: netip.MustParseAddr("10.0.0.2"), IPv6: netip.MustParseAddr("fd00::2")}
	for _, c := range []struct {
		p    Port
		want string
	}{
		{port("tcp", 8080, 80, 1, ""), "6 invalid IP 8080-8080 10.0.0.2:80; 6 invalid IP 8080-8080 [fd00::2]:80"},
		{port("udp", 1000, 1000, 5000, "0.0.0.0"), "17 invalid IP 1000-5999 10.0.0.2:0"},
		{port("tcp", 1000, 2000, 2, "127.0.0.1"), "6 127.0.0.1 1000-1000 10.0.0.2:2000; 6 127.0.0.1 1001-1001 10.0.0.2:2001"},
		{port("tcp", 443, 443, 1, "::1"), "6 ::1 443-443 [fd00::2]:443"},
	} {
		var got []string
		for _, m := range c.p.Mappings(both) {
			got = append(got, fmt.Sprintf("%d %v %d-%d %v", m.Protocol, m.At, m.First, m.Last, m.To))
		}
		if s := strings.Join(got, "; "); s != c.want {
			t.Errorf("%v:\n%s\nwant\n%s", c.p, s, c.want)
		}
	}
}

// Ports of the container are open once, however they are published.
func TestOpenings(t *testing.T) {
	both := Target{IPv4: netip.MustParseAddr("10.0.0.2"), IPv6: netip.MustParseAddr("fd00::2")}
	var got []string
	for _, o := range Openings([]Port{
		port("tcp", 8080, 80, 1, ""), port("tcp", 8081, 80, 1, "0.0.0.0"), port("udp", 5, 90, 11, "127.0.0.1"), port("udp", 0, 95, 10, "0.0.0.0"),
	}, both) {
		got = append(got, fmt.Sprintf("%d %v %d-%d", o.Protocol, o.To, o.First, o.Last))
	}
	if s := strings.Join(got, "; "); s != "6 10.0.0.2 80-80; 17 10.0.0.2 90-104; 6 fd00::2 80-80" {
		t.Error(s)
	}
}

func TestDecide(t *testing.T) {
	netns.Need(t)
	if _, err := netns.Run("ip", "link", "set", "lo", "up"); err != nil {
		t.Fatal(err)
	}
	others := []Port{port("tcp", 5000, 1, 100, "")}
	got, held, err := Decide([]Port{
		port("tcp", 8080, 80, 1, ""), port("tcp", 0, 81, 1, ""), port("udp", 0, 81, 3, ""),
		{Protocol: "tcp", Container: 82, Host: 5099, HostEnd: 5110, Count: 1}, port("tcp", 8081, 80, 1, "127.0.0.1"),
	}, others, nil, MaxHeld)
	if err != nil {
		t.Fatal(err)
	}
	defer CloseAll(held)
	if s := fmt.Sprint(got); s != "[0.0.0.0:8080 0.0.0.0:49153 0.0.0.0:49153-49155 0.0.0.0:5100 127.0.0.1:8081]" {
		t.Error(s)
	}
	// Held means that no other gets it, with SO_REUSEADDR (which package net sets) or not.
	for _, at := range []string{"0.0.0.0:8080", "[::]:8080", "127.0.0.1:8080", "0.0.0.0:49153", "127.0.0.1:8081"} {
		if l, err := net.Listen("tcp", at); err == nil {
			l.Close()
			t.Errorf("%s is free", at)
		}
	}
	if c, err := net.ListenPacket("udp", "127.0.0.1:49154"); err == nil {
		c.Close()
		t.Error("udp 49154 is free")
	}
	if l, err := net.Listen("tcp", "127.0.0.2:8081"); err != nil {
		t.Error(err)
	} else {
		l.Close()
	}
	// What the caller has bound already is its own, and any port is that one.
	again, held3, err := Decide([]Port{port("tcp", 8080, 80, 1, ""), port("tcp", 0, 81, 1, ""), port("udp", 0, 81, 3, ""), port("tcp", 8081, 80, 1, "127.0.0.1")}, nil, held, MaxHeld)
	if s := fmt.Sprint(again); err != nil || s != "[0.0.0.0:8080 0.0.0.0:49153 0.0.0.0:49153-49155 127.0.0.1:8081]" || len(held3) != 6 {
		t.Errorf("%s, %d held, %v", s, len(held3), err)
	}
	CloseAll(held3)
	_, _, err = Decide([]Port{port("tcp", 9000, 1, 1, ""), port("tcp", 8080, 1, 1, "127.0.0.1")}, nil, nil, MaxHeld)
	if !fault.Is(err, fault.Conflict) {
		t.Errorf("%v", err)
	}
	if l, err := net.Listen("tcp", ":9000"); err != nil {
		t.Errorf("a failed choice keeps ports: %v", err)
	} else {
		l.Close()
	}
	if _, _, err := Decide([]Port{port("tcp", 5050, 1, 1, "127.0.0.1")}, others, nil, MaxHeld); !fault.Is(err, fault.Conflict) || err.Error() != "Bind for 127.0.0.1:5050 failed: port is already allocated" {
		t.Errorf("%v", err)
	}
	many, held2, err := Decide([]Port{port("tcp", 20000, 20000, 65, "")}, nil, nil, MaxHeld)
	if err != nil || len(held2) != 0 || len(many) != 1 {
		t.Errorf("%v, %d held, %v", many, len(held2), err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:"+strconv.Itoa(20040))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if _, _, err := Decide([]Port{port("tcp", 20000, 20000, 65, "")}, nil, nil, MaxHeld); !fault.Is(err, fault.Conflict) {
		t.Errorf("a port of many is taken: %v", err)
	}
}

// A port that nobody asked for by number stays, although a lower one has become free.
func TestDecideStays(t *testing.T) {
	netns.Need(t)
	if _, err := netns.Run("ip", "link", "set", "lo", "up"); err != nil {
		t.Fatal(err)
	}
	ports := []Port{port("tcp", 0, 81, 1, ""), port("tcp", 0, 82, 2, "127.0.0.1"), {Protocol: "tcp", Container: 83, Host: 8000, HostEnd: 8010, Count: 1}}
	others := []Port{port("tcp", 49153, 80, 1, ""), port("tcp", 8000, 80, 1, "")}
	before, held, err := Decide(ports, others, nil, MaxHeld)
	if err != nil {
		t.Fatal(err)
	}
	defer CloseAll(held)
	after, again, err := Decide(ports, nil, held, MaxHeld)
	if err != nil {
		t.Fatal(err)
	}
	CloseAll(again)
	want := "[0.0.0.0:49154 127.0.0.1:49155-49156 0.0.0.0:8001]"
	if s := fmt.Sprint(before); s != want {
		t.Error(s)
	}
	if s := fmt.Sprint(after); s != want {
		t.Errorf("after a restart: %s", s)
	}
}

// Who may not take a port is told who gives it.
func TestReserved(t *testing.T) {
	netns.Need(t)
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // and never unlocked: the thread goes with what it lacks
		h := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
		var d [2]unix.CapUserData
		_, _, err := Decide([]Port{port("tcp", 80, 80, 1, "")}, nil, nil, MaxHeld)
		if err == nil {
			err = unix.Capset(&h, &d[0])
		}
		if err == nil {
			_, _, err = Decide([]Port{port("udp", 79, 80, 1, "")}, nil, nil, MaxHeld)
		}
		done <- err
	}()
	const want = "listen udp4 0.0.0.0:79: bind: permission denied: ports below 1024 are root's; sysctl net.ipv4.ip_unprivileged_port_start=79 gives them to users"
	if err := <-done; !fault.Is(err, fault.Permission) || err.Error() != want {
		t.Errorf("%v, want %s", err, want)
	}
}

// What a container has keeps the host's ports, where that is what is asked for.
func TestKeep(t *testing.T) {
	have := []Port{port("tcp", 8080, 80, 1, ""), port("tcp", 49153, 80, 1, ""), port("tcp", 49154, 80, 1, "127.0.0.1"), port("udp", 50000, 100, 10, "")}
	some := Port{Protocol: "tcp", Host: 49150, HostEnd: 49160, Container: 80, Count: 1}
	for _, c := range []struct {
		asked []Port
		want  string
	}{
		{[]Port{port("tcp", 0, 80, 0, ""), port("tcp", 8080, 80, 1, "")}, "0.0.0.0:49153 0.0.0.0:8080"},
		{[]Port{port("tcp", 0, 80, 1, "127.0.0.1"), some}, "127.0.0.1:49154 0.0.0.0:49153"},
		{[]Port{port("tcp", 0, 81, 1, ""), port("udp", 0, 80, 1, ""), port("tcp", 8081, 80, 1, "")}, "0.0.0.0:0 0.0.0.0:0 0.0.0.0:8081"},
		{[]Port{port("udp", 0, 100, 4, ""), port("udp", 0, 105, 5, "")}, "0.0.0.0:50000-50003 0.0.0.0:50005-50009"},
		{[]Port{port("udp", 0, 105, 6, "")}, "0.0.0.0:0-5"},
		{nil, ""},
	} {
		var got []string
		for _, p := range Keep(have, c.asked) {
			got = append(got, p.String())
		}
		if s := strings.Join(got, " "); s != c.want {
			t.Errorf("%v: %s, want %s", c.asked, s, c.want)
		}
	}
}
