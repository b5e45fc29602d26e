package network

import (
	"fmt"
	"os"

	"berth/base/fault"
	"berth/base/ids"
	"berth/network/nft"
	"berth/network/portmap"
	"berth/network/relay"
	"berth/sys/fdpass"
)

// relays are the published ports that a relay serves at the host's IPv6 addresses, and
// where they lead.
func (e *endpointFile) relays() (ports []Port, to portmap.Target) {
	v4, v6 := e.leading()
	switch {
	case v4 == nil || e.NoRelay:
		return nil, to
	case v6.IPv6.IsValid() && v6.Ways6.NAT:
		to.IPv6 = v6.IPv6.Addr()
	case v4.IPv4.IsValid() && v4.Ways4.NAT && !v6.IPv6.IsValid():
		to.IPv4 = v4.IPv4.Addr()
	default:
		return nil, to
	}
	return portmap.Relayed(e.Ports, to), to
}

// relayed are the firewall's elements for them.
func (e *endpointFile) relayed() (list []nft.Element) {
	ports, _ := e.relays()
	for _, g := range portmap.Guards(ports) {
		list = append(list, g.Element())
	}
	return list
}

// Relay has the published ports of a container served at ::1, and where it has IPv4 alone,
// at all of the host's IPv6 addresses. held are the sockets of its ports. While nobody has come there, or with
// begin nil, it starts nothing, and the result becomes readable when somebody comes; else
// begin starts a process of the helper's word "relay" and gives a socket to it, which is
// the result, and hangs up when that is lost: Relay is to be called again then. The relay
// ends when the other side hangs up. The result is nil where nothing is to be relayed.
func Relay(s *Store, container ids.ID, held []*os.File, begin func() (*os.File, error)) (beside *os.File, err error) {
	e, err := s.endpoint(container)
	if err != nil || e == nil || e.State != stateUp {
		return nil, err
	}
	ports, to := e.relays()
	doors, sockets, err := portmap.Doors(ports, to, held)
	if err == nil {
		err = portmap.Listen(doors, sockets, held)
	}
	if err != nil {
		return nil, fmt.Errorf("relay the ports of container %s: %w", container, err)
	}
	if len(doors) == 0 {
		return nil, nil
	}
	bell, waiting, err := portmap.Bell(sockets)
	if err != nil || !waiting || begin == nil {
		return bell, err
	}
	bell.Close()
	sock, err := begin()
	if err != nil {
		return nil, fmt.Errorf("relay the ports of container %s: %w", container, err)
	}
	o := relay.Order{OOMScoreAdj: -999, Doors: doors}
	fds := make([]int, len(sockets))
	for i, f := range sockets {
		fds[i] = int(f.Fd())
	}
	if err := fdpass.Send(int(sock.Fd()), o.Text(), fds...); err != nil {
		sock.Close()
		return nil, fault.New(fault.Unavailable, "relay the ports of container %s: %w", container, err)
	}
	return sock, nil
}
