package reach

import (
	"fmt"
	"io"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"berth/test/netns"
)

// probe asks who is at an address.
type probe struct {
	from *netns.Namespace
	kind string // as in kinds
	at   netip.AddrPort
	// anyone may answer a datagram, from another address than it was sent to:
	// dockerd's proxy does, and was reached.
	anyone bool
	to     unix.Sockaddr
	fd     int
	answer string
}

func (p *probe) datagram() bool { return strings.HasPrefix(p.kind, "udp") }

// again is when a datagram without an answer is sent once more.
const again = 200 * time.Millisecond

// ask sends all probes at once and waits for their answers. One without an answer,
// refused or not, has none.
func ask(t *testing.T, list []*probe, patience time.Duration) {
	t.Helper()
	var waiting []*probe
	for _, p := range list {
		err := p.begin()
		defer unix.Close(p.fd)
		if err == nil || err == unix.EINPROGRESS {
			waiting = append(waiting, p)
		}
	}
	for end := time.Now().Add(patience); len(waiting) > 0 && time.Now().Before(end); {
		fds := make([]unix.PollFd, len(waiting))
		for i, p := range waiting {
			if p.datagram() {
				p.send()
			}
			fds[i] = unix.PollFd{Fd: int32(p.fd), Events: unix.POLLIN}
		}
		for next := time.Now().Add(again); time.Now().Before(next); {
			n, err := unix.Poll(fds, int(time.Until(next).Milliseconds())+1)
			if err != nil && err != unix.EINTR {
				t.Error(err)
				return
			}
			if n <= 0 {
				continue
			}
			for i, p := range waiting {
				if fds[i].Revents != 0 {
					p.read()
					fds[i].Fd = -1
				}
			}
		}
		var still []*probe
		for i, p := range waiting {
			if fds[i].Fd >= 0 {
				still = append(still, p)
			}
		}
		waiting = still
	}
}

// begin makes the socket where the probe comes from, where it then stays.
func (p *probe) begin() (err error) {
	domain, kind := unix.AF_INET, unix.SOCK_STREAM
	var to unix.Sockaddr = &unix.SockaddrInet4{Port: int(p.at.Port())}
	if p.at.Addr().Is6() {
		domain, to = unix.AF_INET6, &unix.SockaddrInet6{Port: int(p.at.Port()), Addr: p.at.Addr().As16()}
	} else {
		to.(*unix.SockaddrInet4).Addr = p.at.Addr().As4()
	}
	if p.datagram() {
		kind = unix.SOCK_DGRAM
	}
	p.from.Do(func() { p.fd, err = unix.Socket(domain, kind|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0) })
	if err != nil {
		return err
	}
	if p.to = to; p.datagram() && p.anyone {
		return nil
	}
	return unix.Connect(p.fd, to)
}

// send sends a datagram; what it fails with is read later.
func (p *probe) send() {
	if p.anyone {
		_ = unix.Sendto(p.fd, []byte("?"), 0, p.to)
	} else {
		_, _ = unix.Write(p.fd, []byte("?"))
	}
}

func (p *probe) read() {
	b := make([]byte, 100)
	if n, err := unix.Read(p.fd, b); err == nil {
		p.answer = string(b[:n])
	}
}

// measure asks all that the rows ask, or only what is about the host as a router.
// What is not open at once is asked again with more patience: this machine may be
// busy.
func (w *world) measure(routed bool) measured { return w.measureOf(rows, routed) }

// measureOf asks what some rows ask.
func (w *world) measureOf(list []row, routed bool) measured {
	w.t.Helper()
	type place struct {
		row  *row
		kind int
	}
	probes := map[place]*probe{}
	for i := range list {
		r := &list[i]
		if !w.has(r) || routed && !r.routed() {
			continue
		}
		for k, kind := range kinds {
			at := r.v4
			if strings.HasSuffix(kind, "6") {
				at = r.v6
			}
			if at != "" {
				probes[place{r, k}] = &probe{from: w.at[r.from], kind: kind, at: netip.AddrPortFrom(netip.MustParseAddr(at), uint16(r.port)), anyone: w.lenient}
			}
		}
	}
	for _, patience := range []time.Duration{time.Second, 4 * time.Second} {
		var some []*probe
		for at, p := range probes {
			if p.answer != at.row.who {
				p.answer = ""
				some = append(some, p)
			}
		}
		ask(w.t, some, patience)
	}
	found := measured{}
	for i := range list {
		r := &list[i]
		if !w.has(r) || routed && !r.routed() {
			continue
		}
		var c cells
		for k := range kinds {
			p := probes[place{r, k}]
			switch {
			case p == nil:
				c[k] = absent
			case p.answer == r.who:
				c[k] = open
			case p.answer == "":
				c[k] = shut
			default:
				c[k] = "answered by " + p.answer
			}
		}
		found[r.key()] = c
	}
	return found
}

// serve answers at a port, by TCP and UDP, of IPv4 and IPv6, with a name.
func (w *world) serve(n *netns.Namespace, name string, port int, addresses ...string) {
	w.t.Helper()
	for _, a := range addresses {
		at := net.JoinHostPort(a, fmt.Sprint(port))
		family := "4"
		if strings.Contains(a, ":") {
			family = "6"
		}
		var l net.Listener
		var c net.PacketConn
		var err, err2 error
		n.Do(func() {
			l, err = net.Listen("tcp"+family, at)
			c, err2 = net.ListenPacket("udp"+family, at)
		})
		if err != nil || err2 != nil {
			w.t.Fatal(name, err, err2)
		}
		w.t.Cleanup(func() { l.Close(); c.Close() })
		go func() {
			for {
				c, err := l.Accept()
				if err != nil {
					return
				}
				_, _ = io.WriteString(c, name)
				c.Close()
			}
		}()
		go answer(c.(*net.UDPConn), family, name)
	}
}

// answer answers datagrams from the address that they were sent to.
func answer(c *net.UDPConn, family, name string) {
	level, option := unix.IPPROTO_IP, unix.IP_PKTINFO
	if family == "6" {
		level, option = unix.IPPROTO_IPV6, unix.IPV6_RECVPKTINFO
	}
	if raw, err := c.SyscallConn(); err == nil {
		_ = raw.Control(func(fd uintptr) { _ = unix.SetsockoptInt(int(fd), level, option, 1) })
	}
	b, info := make([]byte, 100), make([]byte, 200)
	for {
		_, n, _, from, err := c.ReadMsgUDP(b, info)
		if err != nil {
			return
		}
		_, _, _ = c.WriteMsgUDP([]byte(name), info[:n], from)
	}
}
