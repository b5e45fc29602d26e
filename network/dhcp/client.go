package dhcp

import (
	"encoding/binary"
	"math/rand/v2"
	"net/netip"
	"time"

	"golang.org/x/sys/unix"
)

// Client asks for one device.
type Client struct {
	wire wire
	mac  [6]byte
	host string
	xid  uint32
}

// wire sends and receives datagrams of a device. A receive ends at its time with a nil
// datagram, and with an error when there is nothing more to wait for.
type wire interface {
	send(datagram []byte) error
	receive(until time.Time) ([]byte, error)
}

// How long each answer is waited for at first, at last, and how often it is asked
// (RFC 2131, 4.1, but that a person waits).
const (
	firstWait = time.Second
	lastWait  = 16 * time.Second
	tries     = 5
)

// Failures of asking.
type failure string

func (f failure) Error() string { return string(f) }

const (
	errSilent  = failure("no DHCP server answers")
	errRefused = failure("the DHCP server refuses the address")
)

// Acquire asks for an address, the one that was had before if it is valid.
func (c *Client) Acquire(had netip.Addr) (Lease, error) {
	var err error
	for range 3 { // a refusal begins it anew
		c.xid = rand.Uint32()
		var o message
		if o, err = c.ask(message{kind: discover, asked: had}, tries, netip.Addr{}, offer); err != nil {
			return Lease{}, err
		}
		var l Lease
		if l, err = c.confirm(message{kind: request, asked: o.yours, server: o.server}, tries); err == nil {
			return l, nil
		}
		had = netip.Addr{}
	}
	return Lease{}, err
}

// Extend asks for more time, of all servers: that of the lease is among them.
func (c *Client) Extend(l Lease) (Lease, error) {
	c.xid = rand.Uint32()
	return c.confirm(message{kind: request, client: l.Address.Addr()}, 1)
}

// Release gives the address back; nobody answers.
func (c *Client) Release(l Lease) {
	c.xid = rand.Uint32()
	_ = c.say(message{kind: release, client: l.Address.Addr(), server: l.Server})
}

// confirm has a server acknowledge an address.
func (c *Client) confirm(m message, tries int) (Lease, error) {
	a, err := c.ask(m, tries, m.server, ack, nak)
	if err != nil {
		return Lease{}, err
	}
	if a.kind == nak {
		return Lease{}, errRefused
	}
	l, ok := a.lease.settle()
	if !ok {
		return Lease{}, failure("the DHCP server's lease makes no sense")
	}
	return l, nil
}

// ask says a message until an answer of one of the kinds comes, of a server if that is
// valid.
func (c *Client) ask(m message, tries int, server netip.Addr, kinds ...kind) (message, error) {
	wait := firstWait
	for range tries {
		if err := c.say(m); err != nil {
			return m, err
		}
		// Not all at once after a power cut.
		until := time.Now().Add(wait + rand.N(wait/4))
		for {
			b, err := c.wire.receive(until)
			if err != nil {
				return m, err
			}
			if b == nil {
				break
			}
			a, ok := decode(unwrap(b))
			if !ok || a.xid != c.xid || a.mac != c.mac || server.IsValid() && a.server != server || !a.server.IsValid() || a.kind != nak && !usable(a.yours) {
				continue
			}
			for _, k := range kinds {
				if a.kind == k {
					return a, nil
				}
			}
		}
		wait = min(2*wait, lastWait)
	}
	return m, errSilent
}

func (c *Client) say(m message) error {
	m.xid, m.mac, m.host = c.xid, c.mac, c.host
	var from [4]byte
	if m.client.IsValid() {
		from = m.client.As4()
	}
	return c.wire.send(wrap(from, [4]byte{255, 255, 255, 255}, m.encode()))
}

// socket is a wire: a packet socket that sees only what a DHCP server says. It ends
// when what it serves ends.
type socket struct {
	fd, index, end int // end: a pidfd
	buf            [2048]byte
}

// errEnded is the end of the container, or of its device.
const errEnded = failure("the container ended, or its device went")

// Listen opens a packet socket of a device in the caller's namespace for Order: it hears
// what a DHCP server says to its network, and nothing else.
func Listen(index int) (fd int, err error) {
	fd, err = unix.Socket(unix.AF_PACKET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return -1, err
	}
	filter := filterProgram()
	prog := unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}
	err = unix.SetsockoptSockFprog(fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, &prog)
	if err == nil { // only now it hears anything
		err = unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: networkOrder(unix.ETH_P_IP), Ifindex: index})
	}
	if err != nil {
		unix.Close(fd)
		return -1, err
	}
	return fd, nil
}

// filterProgram lets UDP datagrams to the client's port through, no pieces of one.
func filterProgram() []unix.SockFilter {
	return []unix.SockFilter{
		{Code: unix.BPF_LD | unix.BPF_B | unix.BPF_ABS, K: 9},
		{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: unix.IPPROTO_UDP, Jf: 6},
		{Code: unix.BPF_LD | unix.BPF_H | unix.BPF_ABS, K: 6},
		{Code: unix.BPF_JMP | unix.BPF_JSET | unix.BPF_K, K: 0x3fff, Jt: 4},
		{Code: unix.BPF_LDX | unix.BPF_B | unix.BPF_MSH, K: 0},
		{Code: unix.BPF_LD | unix.BPF_H | unix.BPF_IND, K: 2},
		{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: clientPort, Jf: 1},
		{Code: unix.BPF_RET | unix.BPF_K, K: 1 << 16},
		{Code: unix.BPF_RET | unix.BPF_K, K: 0},
	}
}

func networkOrder(v uint16) uint16 {
	return binary.NativeEndian.Uint16(binary.BigEndian.AppendUint16(nil, v))
}

func (s *socket) send(datagram []byte) error {
	to := unix.SockaddrLinklayer{Protocol: networkOrder(unix.ETH_P_IP), Ifindex: s.index, Halen: 6, Addr: [8]byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}}
	err := unix.Sendto(s.fd, datagram, 0, &to)
	if err == unix.ENXIO || err == unix.ENODEV {
		return errEnded
	}
	if err == unix.ENETDOWN || err == unix.ENOBUFS || err == unix.EAGAIN {
		return nil // it may come up again: nobody answers, as if the cable were out
	}
	return err
}

func (s *socket) receive(until time.Time) ([]byte, error) {
	for {
		if err := s.wait(until, true); err != nil {
			return nil, err
		}
		n, _, err := unix.Recvfrom(s.fd, s.buf[:], 0)
		switch {
		case err == nil:
			return s.buf[:n], nil
		case err == unix.ENETDOWN && s.gone():
			return nil, errEnded
		case err != unix.EAGAIN && err != unix.EINTR && err != unix.ENETDOWN:
			return nil, err
		case !time.Now().Before(until):
			return nil, nil
		}
	}
}

// gone reports whether the device is there no more; else it was only set down.
func (s *socket) gone() bool {
	_, _ = unix.GetsockoptInt(s.fd, unix.SOL_SOCKET, unix.SO_ERROR)
	err := unix.Bind(s.fd, &unix.SockaddrLinklayer{Protocol: networkOrder(unix.ETH_P_IP), Ifindex: s.index})
	return err == unix.ENODEV || err == unix.ENXIO
}

// wait waits for a datagram, if it is for one, for a time, or for the end.
func (s *socket) wait(until time.Time, datagram bool) error {
	fds := []unix.PollFd{{Fd: int32(s.end), Events: unix.POLLIN}, {Fd: int32(s.fd)}}
	if datagram {
		fds[1].Events = unix.POLLIN
	}
	for {
		left := time.Until(until)
		if left <= 0 {
			return nil
		}
		t := unix.NsecToTimespec(int64(left))
		n, err := unix.Ppoll(fds, &t, nil)
		switch {
		case err != nil && err != unix.EINTR:
			return err
		case n > 0 && fds[0].Revents != 0, n > 0 && fds[1].Revents&unix.POLLERR != 0 && s.gone():
			return errEnded
		case n > 0 && datagram:
			return nil
		}
	}
}
