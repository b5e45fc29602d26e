package relay

import (
	"bytes"
	"os"

	"golang.org/x/sys/unix"
)

// ways is how a relay comes to its container.
type ways struct {
	to, to4 [16]byte
	keep    bool
	own     []Subnet
}

// address is one of a peer or of a container.
type address struct {
	ip   [16]byte // of IPv4: mapped
	port uint16
}

// mapped is how an address of IPv4 begins on a socket of IPv6 (RFC 4291, 2.5.5.2).
var mapped = [12]byte{10: 0xff, 11: 0xff}

func isMapped(ip *[16]byte) bool { return [12]byte(ip[:12]) == mapped }

// addressOf reads an address as the kernel gives it; zone is the number of the link that it
// is of, if it is of one.
func addressOf(name unix.Sockaddr) (a address, zone uint32) {
	switch n := name.(type) {
	case *unix.SockaddrInet4:
		copy(a.ip[:], mapped[:])
		copy(a.ip[12:], n.Addr[:])
		a.port = uint16(n.Port)
	case *unix.SockaddrInet6:
		a.ip, a.port, zone = n.Addr, uint16(n.Port), n.ZoneId
	}
	return a, zone
}

// name is the address as the kernel takes it.
func (a address) name() (domain int, name unix.Sockaddr) {
	if isMapped(&a.ip) {
		return unix.AF_INET, &unix.SockaddrInet4{Addr: [4]byte(a.ip[12:]), Port: int(a.port)}
	}
	return unix.AF_INET6, &unix.SockaddrInet6{Addr: a.ip, Port: int(a.port)}
}

// socket is one that is being connected to a port of the container, for a peer. Where the
// peer's address is kept, so is its port, if it is free.
func (w *ways) socket(p address, port uint16, kind int) (fd int, err error) {
	to := address{w.to, port}
	if isMapped(&p.ip) {
		to.ip = w.to4
	}
	if to.ip == [16]byte{} {
		return -1, unix.EAFNOSUPPORT
	}
	if w.keeps(&p.ip) && isMapped(&p.ip) == isMapped(&to.ip) {
		for _, port := range [...]uint16{p.port, 0} {
			if fd, err = connecting(to, kind, &address{p.ip, port}); err == nil {
				return fd, nil
			}
		}
	}
	return connecting(to, kind, nil)
}

// keeps reports whether the container is to see the address of a peer.
func (w *ways) keeps(ip *[16]byte) bool {
	if !w.keep {
		return false
	}
	for _, s := range [...]Subnet{
		{[16]byte{}, 127},                        // ::, ::1
		{[16]byte{0xfe, 0x80}, 10},               // of a link
		{[16]byte{10: 0xff, 11: 0xff}, 104},      // this network
		{[16]byte{10: 0xff, 11: 0xff, 127}, 104}, // loopback
		{[16]byte{10: 0xff, 11: 0xff, 169, 254}, 112},
	} {
		if s.has(ip) {
			return false
		}
	}
	for _, s := range w.own {
		if s.has(ip) {
			return false
		}
	}
	return true
}

func (s *Subnet) has(ip *[16]byte) bool {
	whole, rest := s.Bits/8, s.Bits%8
	if s.Bits < 0 || s.Bits > 128 || !bytes.Equal(s.IP[:whole], ip[:whole]) {
		return false
	}
	return rest == 0 || (s.IP[whole]^ip[whole])>>(8-rest) == 0
}

// connecting is a socket that is being connected, as if from an address of another if one
// is given.
func connecting(to address, kind int, from *address) (int, error) {
	domain, name := to.name()
	fd, err := unix.Socket(domain, kind|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, os.NewSyscallError("socket", err)
	}
	if from != nil {
		if err = pose(fd, domain, kind, *from); err != nil {
			unix.Close(fd)
			return -1, os.NewSyscallError("bind", err)
		}
	}
	if err = unix.Connect(fd, name); err != nil && err != unix.EINPROGRESS {
		unix.Close(fd)
		return -1, os.NewSyscallError("connect", err)
	}
	return fd, nil
}

// pose binds a socket to an address of another (IP_TRANSPARENT, IPV6_TRANSPARENT), and
// marks it, for the answers to come here.
func pose(fd, domain, kind int, from address) error {
	level, transparent := unix.IPPROTO_IP, unix.IP_TRANSPARENT
	if domain == unix.AF_INET6 {
		level, transparent = unix.IPPROTO_IPV6, unix.IPV6_TRANSPARENT
	}
	if err := unix.SetsockoptInt(fd, level, transparent, 1); err != nil {
		return err
	}
	if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_MARK, Mark); err != nil {
		return err
	}
	if kind == unix.SOCK_STREAM {
		// Whether a port is free is decided by where it leads to, too, in the connect.
		for _, o := range [...][2]int{{unix.SOL_SOCKET, unix.SO_REUSEADDR}, {unix.IPPROTO_IP, unix.IP_BIND_ADDRESS_NO_PORT}} {
			if err := unix.SetsockoptInt(fd, o[0], o[1], 1); err != nil {
				return err
			}
		}
	}
	_, name := from.name()
	return unix.Bind(fd, name)
}
