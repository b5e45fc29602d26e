package portmap

import (
	"cmp"
	"fmt"
	"os"
	"slices"

	"golang.org/x/sys/unix"

	"berth/network/nft"
	"berth/network/relay"
)

// relayed reports whether a program has to serve the port: at the host's IPv6 addresses,
// where the container has IPv4 alone, else at ::1.
func (p Port) relayed(loopback bool) bool {
	if p.Protocol == "sctp" || p.Host == 0 {
		return false
	}
	return !p.Address.IsValid() || p.Address.Is6() && (!loopback || p.Address.IsUnspecified() || p.Address.IsLoopback())
}

// Relayed are the ports for which there is a relay. There is none for more than are held
// by sockets. A container that has IPv6 needs one at ::1 alone: where the kernel shows
// frames of bridges to the firewall of packets (net.bridge.bridge-nf-call-ip6tables, which
// dockerd and Kubernetes set), answers to ::1 are lost on their way through the rules, as
// they bear it on a wire. Where all ports are relayed the caller has seen to their number.
func Relayed(ports []Port, to Target) []Port {
	var list []Port
	total := 0
	for _, p := range ports {
		if p.Host != 0 {
			total += int(max(p.Count, 1))
		}
		if to.All && p.Protocol != "sctp" && p.Host != 0 || !to.All && p.relayed(to.IPv6.IsValid()) {
			list = append(list, p)
		}
	}
	if total > MaxHeld && !to.All {
		return nil
	}
	return list
}

// Guards are what the firewall is to know of relayed ports.
func Guards(relayed []Port) (list []nft.Relayed) {
	for _, p := range relayed {
		for i := range max(p.Count, 1) {
			g := nft.Relayed{Protocol: protocolNumber(p.Protocol), Port: p.Host + i}
			if p.Address.IsValid() && !p.Address.IsUnspecified() {
				g.At = p.Address
			}
			list = append(list, g)
		}
	}
	return list
}

// Doors are the sockets of relayed ports, with where they lead: all of held that are
// bound to one of them. Where the host has no IPv6 there are none, unless all are relayed.
func Doors(relayed []Port, to Target, held []*os.File) (doors []relay.Door, sockets []*os.File, err error) {
	for _, f := range held {
		at, has := nameOf(int(f.Fd()))
		if !has || !at.Addr().Is6() && !to.All {
			continue
		}
		number, err := unix.GetsockoptInt(int(f.Fd()), unix.SOL_SOCKET, unix.SO_PROTOCOL)
		if err != nil {
			return nil, nil, os.NewSyscallError("getsockopt", err)
		}
		for _, p := range relayed {
			same := p.Address == at.Addr() || !p.Address.IsValid() && at.Addr().IsUnspecified()
			if !same || int(protocolNumber(p.Protocol)) != number || at.Port() < p.Host || at.Port() > p.last() {
				continue
			}
			doors = append(doors, relay.Door{Port: p.Container + at.Port() - p.Host, Datagrams: p.Protocol == "udp"})
			sockets = append(sockets, f)
			break
		}
	}
	return doors, sockets, nil
}

// Lead tells a relay where its doors lead: each family to its own if there is one. What
// comes by IPv4 is not its business where the firewall leads that.
func (t Target) Lead(o *relay.Order) {
	o.To = cmp.Or(t.IPv6, t.IPv4).As16()
	if t.All {
		o.To4 = cmp.Or(t.IPv4, t.IPv6).As16()
	}
}

// backlog is how many connections wait for a relay.
const backlog = 1024

// onlyIPv6 lets a socket hear nothing that came by IPv4: one for all addresses of the
// host is of both families, and by IPv4 only the firewall leads to the container, or
// says that somebody is not to come there. It is a filter of socket(7), SO_ATTACH_FILTER.
func onlyIPv6(fd int) error {
	const protocolOf = 0xfffff000 // SKF_AD_OFF + SKF_AD_PROTOCOL
	prog := []unix.SockFilter{
		{Code: unix.BPF_LD | unix.BPF_H | unix.BPF_ABS, K: protocolOf},
		{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, Jf: 1, K: unix.ETH_P_IPV6},
		{Code: unix.BPF_RET | unix.BPF_K, K: 0xffffffff},
		{Code: unix.BPF_RET | unix.BPF_K, K: 0},
	}
	f := unix.SockFprog{Len: uint16(len(prog)), Filter: &prog[0]}
	return os.NewSyscallError("setsockopt", unix.SetsockoptSockFprog(fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, &f))
}

// Listen has those of a container's sockets that are doors listen, and no others; by IPv6
// alone unless all its ports are relayed.
func Listen(doors []relay.Door, sockets, held []*os.File, all bool) error {
	for _, f := range held {
		fd := int(f.Fd())
		if on, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ACCEPTCONN); err != nil || on == 0 || slices.Contains(sockets, f) {
			continue
		}
		_ = unix.Shutdown(fd, unix.SHUT_RDWR) // it stays bound
		_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 0)
	}
	for i, f := range sockets {
		if !all {
			if err := onlyIPv6(int(f.Fd())); err != nil {
				return err
			}
		}
		if doors[i].Datagrams {
			continue
		}
		// What remains of its connections would keep the port from the container's next
		// run; while it listens, nobody shares the port for that.
		if err := unix.SetsockoptInt(int(f.Fd()), unix.SOL_SOCKET, unix.SO_REUSEADDR, 1); err != nil {
			return os.NewSyscallError("setsockopt", err)
		}
		if err := unix.Listen(int(f.Fd()), backlog); err != nil {
			at, _ := nameOf(int(f.Fd()))
			return fmt.Errorf("listen tcp %s: %w", at, err)
		}
	}
	return nil
}

// Bell is a file that is readable while somebody waits at one of the sockets; waiting
// says whether one does now. It rings as long as anybody has the sockets open.
func Bell(sockets []*os.File) (bell *os.File, waiting bool, err error) {
	ep, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, false, os.NewSyscallError("epoll_create1", err)
	}
	bell = os.NewFile(uintptr(ep), "bell")
	for _, f := range sockets {
		fd := int(f.Fd())
		if err := unix.EpollCtl(ep, unix.EPOLL_CTL_ADD, fd, &unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(fd)}); err != nil {
			bell.Close()
			return nil, false, os.NewSyscallError("epoll_ctl", err)
		}
	}
	n, err := unix.Poll([]unix.PollFd{{Fd: int32(ep), Events: unix.POLLIN}}, 0)
	return bell, err == nil && n > 0, nil
}
