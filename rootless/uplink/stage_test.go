package uplink

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"berth/rootless/uplink/order"
	"berth/test/netns"
	"berth/test/serving"
)

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// Addresses of the test's networks: the host has hostAt on a wire to the world, which has
// worldAt; nobody is goneAt there, and there is no way to elsewhere.
const (
	hostAt, hostAt6   = "198.51.100.1", "2001:db8:1::1"
	worldAt, worldAt6 = "198.51.100.2", "2001:db8:1::2"
	barredAt          = "198.51.100.77"
	elsewhere         = "203.0.113.1"
	elsewhere6        = "2001:db8:ffff::1"
)

// stage is a host, which is the test's own namespace, a world beside it, and a user's
// namespace with an uplink.
type stage struct {
	world, inside *netns.Namespace
	cmd           *exec.Cmd
	life          *os.File // the uplink ends when it is closed
	begun         time.Time
}

// set makes the stage and starts the program with its arguments, with "files" and how
// many may be open, or with asRoot.
func set(t testing.TB, args ...string) *stage {
	t.Helper()
	s := &stage{world: netns.New(t), inside: netns.New(t)}
	run(t, nil, "ip link set lo up")
	run(t, nil, "ip link add wire type veth peer name wire netns "+path(s.world))
	t.Cleanup(func() { _, _ = netns.Run("ip", "link", "del", "wire") })
	for at, n := range map[string]*netns.Namespace{hostAt + "/24," + hostAt6 + "/64": nil, worldAt + "/24," + worldAt6 + "/64": s.world} {
		v4, v6, _ := strings.Cut(at, ",")
		run(t, n, "ip addr add "+v4+" dev wire", "ip addr add "+v6+" dev wire nodad", "ip link set wire up", "ip link set lo up")
	}
	run(t, nil, "ip route add prohibit "+barredAt)
	t.Cleanup(func() { _, _ = netns.Run("ip", "route", "del", "prohibit", barredAt) })
	s.start(t, device(t, s.inside), args...)
	// Neighbours of IPv6 find each other some time after the wire is there.
	for _, at := range []string{worldAt, worldAt6} {
		if _, err := net.DialTimeout("tcp", net.JoinHostPort(at, "9"), 10*time.Second); !errors.Is(err, unix.ECONNREFUSED) {
			t.Fatal(err)
		}
	}
	return s
}

func path(n *netns.Namespace) string { return fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), n.File.Fd()) }

// run runs commands in a namespace, nil for the host's.
func run(t testing.TB, n *netns.Namespace, lines ...string) {
	t.Helper()
	for _, line := range lines {
		words := strings.Fields(line)
		do := netns.Run
		if n != nil {
			do = n.Run
		}
		if _, err := do(words[0], words[1:]...); err != nil {
			t.Fatal(err)
		}
	}
}

// device makes the device inside, with routes to it.
func device(t testing.TB, n *netns.Namespace) *os.File {
	t.Helper()
	var tun *os.File
	var err error
	n.Do(func() {
		var fd int
		if fd, err = unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_CLOEXEC, 0); err != nil {
			return
		}
		tun = os.NewFile(uintptr(fd), "tun")
		var ifr *unix.Ifreq
		if ifr, err = unix.NewIfreq("uplink"); err == nil {
			ifr.SetUint16(unix.IFF_TUN | unix.IFF_NO_PI)
			err = unix.IoctlIfreq(fd, unix.TUNSETIFF, ifr)
		}
	})
	must(t, err)
	run(t, n, "ip link set lo up", "ip addr add 10.77.0.1/30 dev uplink", "ip addr add fd77::1/64 dev uplink nodad",
		fmt.Sprintf("ip link set uplink mtu %d up", order.MTU), "ip route add default dev uplink", "ip -6 route add default dev uplink")
	return tun
}

// uid is of an ordinary user, who starts the program; the program is root's if asRoot.
const (
	uid    = 61234
	asRoot = "root"
)

// start starts the program by its open file, as the user has no way to its path.
func (s *stage) start(t testing.TB, tun *os.File, args ...string) {
	t.Helper()
	program, err := os.Open("../../bin/berth-uplink")
	must(t, err)
	theirs, life, err := os.Pipe()
	must(t, err)
	s.life = life
	const path = "/proc/self/fd/5"
	user := &syscall.Credential{Uid: uid, Gid: uid}
	switch {
	case len(args) == 1 && args[0] == asRoot:
		s.cmd, user = exec.Command(path), nil
	case len(args) == 2 && args[0] == "files":
		s.cmd = exec.Command("/bin/sh", "-c", "ulimit -n "+args[1]+" && exec "+path)
	default:
		s.cmd = exec.Command(path, args...)
	}
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Credential: user}
	s.cmd.ExtraFiles = []*os.File{tun, theirs, program, program, program}
	s.cmd.Stderr = os.Stderr
	s.begun = time.Now()
	must(t, s.cmd.Start())
	tun.Close()
	theirs.Close()
	program.Close()
	t.Cleanup(func() { s.stop(t) })
}

// stop ends the program by its life descriptor, if it has not ended.
func (s *stage) stop(t testing.TB) {
	t.Helper()
	s.life.Close()
	if s.cmd.ProcessState != nil {
		return
	}
	if err := s.cmd.Wait(); err != nil {
		t.Errorf("berth-uplink: %v", err)
	}
}

// listen has serve do with each connection to an address in a namespace, nil for the host's.
func listen(t testing.TB, n *netns.Namespace, at string, serve func(*net.TCPConn)) string {
	t.Helper()
	var l net.Listener
	var err error
	do(n, func() { l, err = net.Listen("tcp", net.JoinHostPort(at, "0")) })
	must(t, err)
	t.Cleanup(func() { l.Close() })
	go serving.Accept(l, serve)
	return l.Addr().String()
}

func do(n *netns.Namespace, f func()) {
	if n == nil {
		f()
	} else {
		n.Do(f)
	}
}

// dial connects from inside.
func (s *stage) dial(network, to string) (c net.Conn, err error) {
	s.inside.Do(func() { c, err = net.DialTimeout(network, to, 10*time.Second) })
	return c, err
}

func (s *stage) connect(t testing.TB, network, to string) net.Conn {
	t.Helper()
	c, err := s.dial(network, to)
	must(t, err)
	t.Cleanup(func() { c.Close() })
	must(t, c.SetDeadline(time.Now().Add(20*time.Second)))
	return c
}
