package uplink

import (
	"encoding/binary"
	"net/netip"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
	"gvisor.dev/gvisor/pkg/tcpip/header"
)

// silencePing is how long an echo may take to come back.
const silencePing = 15 * time.Second

// pings carries echo requests by the host's ping sockets, where the host lets this user have
// them (net.ipv4.ping_group_range, of both families): else they get no answer.
type pings struct {
	link  *link
	reach *reach
	mu    sync.Mutex
	most  int
	list  map[pingKey]*ping
}

// pingKey is who asks whom.
type pingKey struct {
	from, to netip.Addr
	ident    uint16
}

// ping is one of them.
type ping struct {
	pingKey
	outside *os.File
	last    atomic.Int64 // when something was asked, UnixNano
}

// take sends one request on. The packet was judged.
func (p *pings) take(b []byte) {
	k, m := request(b)
	if g := p.find(k); g != nil {
		g.last.Store(time.Now().UnixNano())
		_, _ = g.outside.Write(m) // the kernel sets identifier and sum
	}
}

// request reads a packet that judge has said to be one.
func request(b []byte) (k pingKey, message []byte) {
	if b[0]>>4 == header.IPv4Version {
		h := header.IPv4(b)
		k.from, k.to, message = address(h.SourceAddress()), address(h.DestinationAddress()), h.Payload()
	} else {
		h := header.IPv6(b)
		k.from, k.to, message = address(h.SourceAddress()), address(h.DestinationAddress()), h.Payload()
	}
	k.ident = binary.BigEndian.Uint16(message[4:])
	return k, message
}

// find is the socket of those who ask each other, a new one if there is none; nil if there
// can be none.
func (p *pings) find(k pingKey) *ping {
	p.mu.Lock()
	defer p.mu.Unlock()
	if g := p.list[k]; g != nil {
		return g
	}
	if len(p.list) >= p.most || p.reach.check(netip.AddrPortFrom(k.to, 0), protocolOf(k.to)) != nil {
		return nil
	}
	f, err := pingSocket(k.to)
	if err != nil {
		return nil
	}
	g := &ping{pingKey: k, outside: f}
	g.last.Store(time.Now().UnixNano())
	p.list[k] = g
	go p.answer(g)
	return g
}

func protocolOf(a netip.Addr) uint8 {
	if a.Is4() {
		return unix.IPPROTO_ICMP
	}
	return unix.IPPROTO_ICMPV6
}

func pingSocket(to netip.Addr) (*os.File, error) {
	family := unix.AF_INET6
	var at unix.Sockaddr = &unix.SockaddrInet6{Addr: to.As16()}
	if to.Is4() {
		family, at = unix.AF_INET, &unix.SockaddrInet4{Addr: to.As4()}
	}
	fd, err := unix.Socket(family, unix.SOCK_DGRAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, int(protocolOf(to)))
	if err != nil {
		return nil, os.NewSyscallError("socket", err)
	}
	if err := unix.Connect(fd, at); err != nil {
		unix.Close(fd)
		return nil, os.NewSyscallError("connect", err)
	}
	return os.NewFile(uintptr(fd), "ping"), nil
}

// answer brings the answers back, until there was no request for a while.
func (p *pings) answer(g *ping) {
	defer func() {
		p.mu.Lock()
		delete(p.list, g.pingKey)
		p.mu.Unlock()
		g.outside.Close()
	}()
	raw, err := g.outside.SyscallConn()
	if err != nil {
		return
	}
	for {
		until := time.Unix(0, g.last.Load()).Add(silencePing)
		if !time.Now().Before(until) || g.outside.SetReadDeadline(until) != nil {
			return
		}
		// An error, such as that the host has no way there, is no end.
		_ = nextOf(raw, &whole, false, func(b []byte) error {
			p.bring(g, b)
			return nil
		})
	}
}

// bring makes an answer one to the request that was asked inside.
func (p *pings) bring(g *ping, b []byte) {
	if len(b) < header.ICMPv4MinimumSize || len(b) > maxDatagram-header.IPv6MinimumSize-1 {
		return
	}
	want := uint8(header.ICMPv6EchoReply)
	if g.to.Is4() {
		want = uint8(header.ICMPv4EchoReply)
	}
	if b[0] != want {
		return
	}
	binary.BigEndian.PutUint16(b[4:], g.ident)
	p.link.send(message(g.to, g.from, b[0], b[1], b[4:]))
}
