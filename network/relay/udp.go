package relay

import (
	"os"
	"sync/atomic"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// silence is how long a sender of datagrams is remembered, for answers to reach him.
const silence = 90 * time.Second

// maxDatagram is more than any has.
const maxDatagram = 64 << 10

// peer is a sender of datagrams, and where he sends to: whence he is answered.
type peer struct {
	door   int
	addr   [16]byte
	port   uint16
	zone   uint32
	at     [16]byte
	device uint32
}

// flow is a peer's way to the container.
type flow struct {
	*os.File
	last atomic.Int64 // when something went by it, in ns
}

// serveUDP sends on the datagrams that come to a door.
func (s *server) serveUDP(d *door) {
	c, err := d.SyscallConn()
	if err != nil || control(d.File, d.tellWhere) != nil {
		return
	}
	d.room.New = func() any { return new([maxDatagram]byte) }
	oob := make([]byte, unix.CmsgSpace(unix.SizeofInet6Pktinfo))
	for {
		var b *[maxDatagram]byte
		var n, oobn int
		var from unix.Sockaddr
		var failed error
		err := c.Read(func(fd uintptr) bool {
			b = d.room.Get().(*[maxDatagram]byte)
			n, oobn, _, from, failed = unix.Recvmsg(int(fd), b[:], oob, 0)
			if failed != unix.EAGAIN && failed != unix.EINTR {
				return true
			}
			d.room.Put(b)
			return false
		})
		if err != nil {
			return // it was closed
		}
		if p, ok := d.peerOf(from, oob[:oobn]); ok && failed == nil && (s.ways.to4 != [16]byte{} || !isMapped(&p.addr)) {
			if f := s.flow(d, p); f != nil {
				_, _ = f.Write(b[:n]) // that nobody listens is told to nobody: so are datagrams
				f.last.Store(time.Now().UnixNano())
			}
		}
		d.room.Put(b)
	}
}

// tellWhere has the socket of a door say where each datagram was sent to. One of IPv6
// says it of those that came by IPv4, too.
func (d *door) tellWhere(fd int) error {
	if d.v4 {
		return unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_PKTINFO, 1)
	}
	return unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_RECVPKTINFO, 1)
}

// peerOf reads who sent, and where to.
func (d *door) peerOf(from unix.Sockaddr, oob []byte) (p peer, ok bool) {
	a, zone := addressOf(from)
	list, err := unix.ParseSocketControlMessage(oob)
	if from == nil || err != nil || len(list) != 1 {
		return p, false
	}
	p = peer{door: d.fd, addr: a.ip, port: a.port, zone: zone}
	switch m := list[0]; {
	case d.v4 && m.Header.Type == unix.IP_PKTINFO && len(m.Data) >= unix.SizeofInet4Pktinfo:
		info := (*unix.Inet4Pktinfo)(unsafe.Pointer(&m.Data[0]))
		copy(p.at[:], mapped[:])
		copy(p.at[12:], info.Spec_dst[:])
	case !d.v4 && m.Header.Type == unix.IPV6_PKTINFO && len(m.Data) >= unix.SizeofInet6Pktinfo:
		info := (*unix.Inet6Pktinfo)(unsafe.Pointer(&m.Data[0]))
		p.at = info.Addr
		if zone != 0 { // an address of a link; others find their way back themselves
			p.device = info.Ifindex
		}
	default:
		return p, false
	}
	return p, true
}

// flow is a peer's, a new one if there is none.
func (s *server) flow(d *door, p peer) *flow {
	s.mu.Lock()
	defer s.mu.Unlock()
	if f := s.flows[p]; f != nil {
		return f
	}
	if len(s.flows) >= maxFlows {
		s.dropSilent()
	}
	fd, err := s.ways.socket(address{p.addr, p.port}, d.port, unix.SOCK_DGRAM)
	if err != nil {
		return nil
	}
	f := &flow{File: os.NewFile(uintptr(fd), "flow")}
	f.last.Store(time.Now().UnixNano())
	s.flows[p] = f
	go s.answer(d, p, f)
	return f
}

// dropSilent ends the flow that was silent for the longest time. The caller has mu.
func (s *server) dropSilent() {
	var most peer
	var found *flow
	for p, f := range s.flows {
		if found == nil || f.last.Load() < found.last.Load() {
			most, found = p, f
		}
	}
	delete(s.flows, most)
	found.Close()
}

// answer sends back what the container answers, until both have been silent.
func (s *server) answer(d *door, p peer, f *flow) {
	defer func() {
		s.mu.Lock()
		if s.flows[p] == f {
			delete(s.flows, p)
		}
		s.mu.Unlock()
		f.Close()
	}()
	c, err := f.SyscallConn()
	if err != nil {
		return
	}
	to, oob := d.back(p)
	for {
		until := time.Unix(0, f.last.Load()).Add(silence)
		if !time.Now().Before(until) || f.SetReadDeadline(until) != nil {
			return
		}
		var b *[maxDatagram]byte
		n := 0
		var failed error
		err := c.Read(func(fd uintptr) bool {
			b = d.room.Get().(*[maxDatagram]byte)
			if n, failed = unix.Read(int(fd), b[:]); failed != unix.EAGAIN && failed != unix.EINTR {
				return true
			}
			d.room.Put(b)
			return false
		})
		if os.IsTimeout(err) {
			continue // perhaps the other way was not silent
		}
		if err != nil {
			return // it was closed
		}
		if failed == nil {
			f.last.Store(time.Now().UnixNano())
			_ = control(d.File, func(fd int) error {
				_, err := unix.SendmsgN(fd, b[:n], oob, to, unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL)
				return err
			})
		}
		d.room.Put(b)
	}
}

// back is where a datagram goes to a peer, and has it go out from where the peer sent to.
func (d *door) back(p peer) (to unix.Sockaddr, oob []byte) {
	if !d.v4 {
		return &unix.SockaddrInet6{Addr: p.addr, Port: int(p.port), ZoneId: p.zone}, sourceOf(p)
	}
	_, to = address{p.addr, p.port}.name()
	b := make([]byte, unix.CmsgSpace(unix.SizeofInet4Pktinfo))
	h := (*unix.Cmsghdr)(unsafe.Pointer(&b[0]))
	h.Level, h.Type = unix.IPPROTO_IP, unix.IP_PKTINFO
	h.SetLen(unix.CmsgLen(unix.SizeofInet4Pktinfo))
	(*unix.Inet4Pktinfo)(unsafe.Pointer(&b[unix.CmsgLen(0)])).Spec_dst = [4]byte(p.at[12:])
	return to, b
}

// sourceOf is the same on a socket of IPv6; of IPv4, p.at is mapped.
func sourceOf(p peer) []byte {
	b := make([]byte, unix.CmsgSpace(unix.SizeofInet6Pktinfo))
	h := (*unix.Cmsghdr)(unsafe.Pointer(&b[0]))
	h.Level, h.Type = unix.IPPROTO_IPV6, unix.IPV6_PKTINFO
	h.SetLen(unix.CmsgLen(unix.SizeofInet6Pktinfo))
	info := (*unix.Inet6Pktinfo)(unsafe.Pointer(&b[unix.CmsgLen(0)]))
	info.Addr, info.Ifindex = p.at, p.device
	return b
}
