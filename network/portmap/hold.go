package portmap

import (
	"fmt"
	"iter"
	"net/netip"
	"os"
	"slices"

	"golang.org/x/sys/unix"

	"berth/base/fault"
	"berth/network/relay"
)

// MaxHeld is up to how many ports of a container are held by sockets; of more
// it is only looked at the start whether they are free. Where all are relayed
// they are MaxRelayed, and there are no more.
const (
	MaxHeld    = 64
	MaxRelayed = relay.MaxDoors
)

// First and last port of those that are given when none was asked for: the
// dynamic ones of RFC 6335.
const (
	firstFree = 49153
	lastFree  = 65535
)

// Decide chooses the host's ports where any would do, and binds all of them, which
// it holds if they are at most as many as said. Of others are the ports that containers of ours have without holding them. The
// sockets do not listen: the firewall leads connections to the container before
// they come to one. have are sockets that are bound already, which stay the
// caller's: a port of theirs is the caller's own. On an error none stays open.
// Kind Conflict: a port is another's.
func Decide(ports, others []Port, have []*os.File, most int) (decided []Port, held []*os.File, err error) {
	h := &holder{keep: Count(ports) <= most, have: have}
	defer func() {
		if err != nil {
			CloseAll(h.files)
		}
	}()
	for _, p := range ports {
		if err := p.Check(); err != nil {
			return nil, nil, err
		}
		p.Count = max(p.Count, 1)
		p, err := h.decide(p, slices.Concat(others, decided))
		if err != nil {
			return nil, nil, err
		}
		decided = append(decided, p)
	}
	return decided, h.files, nil
}

// Count is how many ports are published.
func Count(ports []Port) (total int) {
	for _, p := range ports {
		total += int(max(p.Count, 1))
	}
	return total
}

// Explain tells of a conflict whether a container of ours has the port, in the
// words for that; otherwise it gives err.
func Explain(err error, ports, others []Port) error {
	if !fault.Is(err, fault.Conflict) {
		return err
	}
	for _, p := range ports {
		p.Count = max(p.Count, 1)
		if other := find(p, others); other != nil && p.HostEnd == 0 {
			return taken(p, max(p.Host, other.Host))
		}
	}
	return err
}

// CloseAll closes files.
func CloseAll(files []*os.File) {
	for _, f := range files {
		f.Close()
	}
}

type holder struct {
	keep  bool
	have  []*os.File
	files []*os.File
}

// decide finds the host's ports for p and binds them.
func (h *holder) decide(p Port, others []Port) (Port, error) {
	first, last := p.Host, max(p.HostEnd, p.Host)
	if p.Host == 0 {
		first, last = firstFree, lastFree-p.Count+1
	}
	end := p.HostEnd
	p.HostEnd = 0
	var err error
	for n := range h.candidates(p.Protocol, p.Address, first, last) {
		p.Host = n
		if other := find(p, others); other != nil {
			err = taken(p, max(p.Host, other.Host))
			continue
		}
		if err = h.bind(p); err == nil || !fault.Is(err, fault.Conflict) {
			return p, err
		}
	}
	if end > first {
		err = fault.New(fault.Conflict, "all ports of %d-%d are allocated: %w", first, last, err)
	}
	return p, err
}

// candidates are the ports of first to last: those first that the caller has bound
// already, so that a port which nobody asked for by number stays the same.
func (h *holder) candidates(protocol string, a netip.Addr, first, last uint16) iter.Seq[uint16] {
	return func(yield func(uint16) bool) {
		for _, f := range h.have {
			if port, ok := serves(f, protocol, a); ok && port >= first && port <= last && !yield(port) {
				return
			}
		}
		for n := uint32(first); n <= uint32(last); n++ {
			if !yield(uint16(n)) {
				return
			}
		}
	}
}

func find(p Port, others []Port) *Port {
	for i := range others {
		if p.Overlaps(others[i]) {
			return &others[i]
		}
	}
	return nil
}

// bind binds all ports of p, or looks whether it could.
func (h *holder) bind(p Port) error {
	var mine []*os.File
	for i := range p.Count {
		port := p.Host + i
		fd, err := h.bound(p.Protocol, p.Address, port)
		if fd < 0 && err == nil {
			fd, err = bind(p.Protocol, p.Address, port)
		}
		switch {
		case err == unix.EPROTONOSUPPORT || err == unix.ESOCKTNOSUPPORT:
			continue // a kernel without sctp has nobody who could take the port
		case err != nil:
			CloseAll(mine)
			return inUse(p, port, err)
		case h.keep:
			mine = append(mine, os.NewFile(uintptr(fd), fmt.Sprintf("held port %d/%s", port, p.Protocol)))
		default:
			unix.Close(fd)
		}
	}
	h.files = append(h.files, mine...)
	return nil
}

// bound gives a copy of the socket that is bound to a port already, -1 without.
func (h *holder) bound(protocol string, a netip.Addr, port uint16) (int, error) {
	for _, f := range h.have {
		if at, ok := serves(f, protocol, a); ok && at == port {
			return unix.FcntlInt(f.Fd(), unix.F_DUPFD_CLOEXEC, 3)
		}
	}
	return -1, nil
}

// serves is the port to which a socket of the protocol is bound at a, which is not
// valid for all addresses.
func serves(f *os.File, protocol string, a netip.Addr) (port uint16, ok bool) {
	kind := unix.SOCK_STREAM
	if protocol == "udp" {
		kind = unix.SOCK_DGRAM
	}
	fd := int(f.Fd())
	at, has := nameOf(fd)
	if !has || at.Addr() != a && (a.IsValid() || !at.Addr().IsUnspecified()) {
		return 0, false
	}
	t, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_TYPE)
	number, err2 := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_PROTOCOL)
	return at.Port(), err == nil && err2 == nil && t == kind && number == int(protocolNumber(protocol))
}

// nameOf is where a socket is bound.
func nameOf(fd int) (netip.AddrPort, bool) {
	name, err := unix.Getsockname(fd)
	if err != nil {
		return netip.AddrPort{}, false
	}
	switch a := name.(type) {
	case *unix.SockaddrInet4:
		return netip.AddrPortFrom(netip.AddrFrom4(a.Addr), uint16(a.Port)), true
	case *unix.SockaddrInet6:
		return netip.AddrPortFrom(netip.AddrFrom16(a.Addr), uint16(a.Port)), true
	}
	return netip.AddrPort{}, false
}

// bind binds one socket; for all addresses it is one of IPv6 that takes IPv4's
// as well, where the host has IPv6.
//
// Two sockets that do not listen share a port if both have SO_REUSEADDR, as most
// servers set it, so ours has it only where old connections of the host still
// wait for their end.
func bind(protocol string, a netip.Addr, port uint16) (fd int, err error) {
	try := []netip.Addr{a}
	if !a.IsValid() {
		try = []netip.Addr{netip.IPv6Unspecified(), netip.IPv4Unspecified()}
	}
	for _, one := range try {
		fd, err = bindOnce(protocol, one, port, !a.IsValid(), false)
		if err == unix.EADDRINUSE && protocol == "tcp" {
			fd, err = bindOnce(protocol, one, port, !a.IsValid(), true)
		}
		if err != unix.EAFNOSUPPORT && err != unix.EADDRNOTAVAIL {
			break
		}
	}
	return fd, err
}

func bindOnce(protocol string, a netip.Addr, port uint16, both, reuse bool) (int, error) {
	domain, kind, number := unix.AF_INET, unix.SOCK_STREAM, int(protocolNumber(protocol))
	if a.Is6() {
		domain = unix.AF_INET6
	}
	if protocol == "udp" {
		kind = unix.SOCK_DGRAM
	}
	fd, err := unix.Socket(domain, kind|unix.SOCK_CLOEXEC, number)
	if err != nil {
		return -1, err
	}
	if reuse {
		_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1)
	}
	var to unix.Sockaddr
	if a.Is6() {
		only := 1
		if both {
			only = 0
		}
		_ = unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_V6ONLY, only)
		to = &unix.SockaddrInet6{Port: int(port), Addr: a.As16()}
	} else {
		to = &unix.SockaddrInet4{Port: int(port), Addr: a.As4()}
	}
	if err := unix.Bind(fd, to); err != nil {
		unix.Close(fd)
		return -1, err
	}
	return fd, nil
}
