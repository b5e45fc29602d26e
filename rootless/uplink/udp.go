package uplink

import (
	"errors"
	"net"
	"net/netip"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
	"gvisor.dev/gvisor/pkg/tcpip/transport/udp"
	"gvisor.dev/gvisor/pkg/waiter"
)

const (
	silence    = 90 * time.Second // a flow without datagrams for so long is forgotten
	silenceDNS = 15 * time.Second // and one to dnsPort
	dnsPort    = 53
)

// flow is datagrams from one socket inside to one address outside, and back.
type flow struct {
	*end
	from, to netip.AddrPort
	outside  *net.UDPConn
	last     atomic.Int64 // when something came, UnixNano
	once     sync.Once
}

// flows are all there are.
type flows struct {
	mu   sync.Mutex
	most int
	list map[*flow]struct{}
}

// add has a flow counted; the one that was silent for the longest time makes room.
func (s *flows) add(f *flow) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.list) >= s.most {
		var oldest *flow
		for g := range s.list {
			if oldest == nil || g.last.Load() < oldest.last.Load() {
				oldest = g
			}
		}
		delete(s.list, oldest)
		oldest.close()
	}
	s.list[f] = struct{}{}
}

func (s *flows) drop(f *flow) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.list, f)
}

func (f *flow) close() {
	f.once.Do(func() {
		f.Close()
		f.outside.Close()
	})
}

// takeDatagram sees the first datagram of each flow. One that is not handled is answered by
// the stack: no such port.
func (u *uplink) takeDatagram(r *udp.ForwarderRequest) bool {
	id := r.ID()
	f := &flow{
		from: netip.AddrPortFrom(address(id.RemoteAddress), id.RemotePort),
		to:   netip.AddrPortFrom(address(id.LocalAddress), id.LocalPort),
	}
	err := u.reach.check(f.to, unix.IPPROTO_UDP)
	if err == nil {
		f.outside, err = net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(f.to))
	}
	if errors.Is(err, errOwn) {
		return false
	}
	if err != nil {
		if !silent(err) {
			u.link.unreachable(f.from, f.to, udp.ProtocolNumber, 0, err)
		}
		return true
	}
	var queue waiter.Queue
	e, terr := r.CreateEndpoint(&queue)
	if terr != nil {
		f.outside.Close()
		return true
	}
	f.end = newEnd(e, &queue)
	f.seen()
	u.flows.add(f)
	go u.serveUDP(f)
	return true
}

func (f *flow) seen() { f.last.Store(time.Now().UnixNano()) }

// serveUDP carries a flow until both have been silent, or nobody is there.
func (u *uplink) serveUDP(f *flow) {
	defer u.flows.drop(f)
	defer f.close()
	go func() {
		for f.next(&whole, f.out) == nil {
		}
		f.close()
	}()
	if err := f.in(); errors.Is(err, unix.ECONNREFUSED) {
		u.link.unreachable(f.from, f.to, udp.ProtocolNumber, 0, err)
	}
}

// out sends a datagram into the world. What is wrong with one, such as its length, is no end.
func (f *flow) out(b []byte) error {
	f.seen()
	_, _ = f.outside.Write(b)
	return nil
}

// in is the other way. It ends with an error, or nil after the silence.
func (f *flow) in() error {
	raw, err := f.outside.SyscallConn()
	if err != nil {
		return err
	}
	long := silence
	if f.to.Port() == dnsPort {
		long = silenceDNS
	}
	for {
		until := time.Unix(0, f.last.Load()).Add(long)
		if !time.Now().Before(until) {
			return nil
		}
		if err := f.outside.SetReadDeadline(until); err != nil {
			return err
		}
		err := nextOf(raw, &whole, false, func(b []byte) error {
			f.seen()
			_ = f.write(b)
			return nil
		})
		if err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
			return err
		}
	}
}
