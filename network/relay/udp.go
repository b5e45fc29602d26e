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
	port   int
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
	if err != nil || control(d.File, func(fd int) error { return unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_RECVPKTINFO, 1) }) != nil {
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
		if p, ok := peerOf(d, from, oob[:oobn]); ok && failed == nil {
			if f := s.flow(d, p); f != nil {
				_, _ = f.Write(b[:n]) // that nobody listens is told to nobody: so are datagrams
				f.last.Store(time.Now().UnixNano())
			}
		}
		d.room.Put(b)
	}
}

// mapped is how an address of IPv4 begins on a socket of IPv6 (RFC 4291, 2.5.5.2).
var mapped = [12]byte{10: 0xff, 11: 0xff}

// peerOf reads who sent, and where to.
func peerOf(d *door, from unix.Sockaddr, oob []byte) (p peer, ok bool) {
	a, ok := from.(*unix.SockaddrInet6)
	if !ok || [12]byte(a.Addr[:12]) == mapped { // it came before the door was closed to IPv4
		return p, false
	}
	list, err := unix.ParseSocketControlMessage(oob)
	if err != nil || len(list) != 1 || list[0].Header.Type != unix.IPV6_PKTINFO || len(list[0].Data) < unix.SizeofInet6Pktinfo {
		return p, false
	}
	info := (*unix.Inet6Pktinfo)(unsafe.Pointer(&list[0].Data[0]))
	p = peer{door: d.fd, addr: a.Addr, port: a.Port, zone: a.ZoneId, at: info.Addr}
	if p.zone != 0 { // an address of a link; others find their way back themselves
		p.device = info.Ifindex
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
	fd, err := socketTo(&d.to, unix.SOCK_DGRAM)
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
	to := &unix.SockaddrInet6{Addr: p.addr, Port: p.port, ZoneId: p.zone}
	oob := sourceOf(p)
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

// sourceOf has a datagram go out from where the peer sent to.
func sourceOf(p peer) []byte {
	b := make([]byte, unix.CmsgSpace(unix.SizeofInet6Pktinfo))
	h := (*unix.Cmsghdr)(unsafe.Pointer(&b[0]))
	h.Level, h.Type = unix.IPPROTO_IPV6, unix.IPV6_PKTINFO
	h.SetLen(unix.CmsgLen(unix.SizeofInet6Pktinfo))
	info := (*unix.Inet6Pktinfo)(unsafe.Pointer(&b[unix.CmsgLen(0)]))
	info.Addr, info.Ifindex = p.at, p.device
	return b
}
