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

// Bell readies the published ports that a relay would serve: at ::1, and where the
// container has IPv4 alone, at all of the host's IPv6 addresses. Of the sockets that it
// holds, theirs listen now, and no others. The result becomes readable when somebody
// comes; it is nil where nothing is to be relayed.
func Bell(a *Attachment) (*os.File, error) {
	e := &endpointFile{Container: string(a.Container), Endpoints: a.Endpoints, Ports: a.Ports, NoRelay: a.NoRelay}
	d, err := e.doors(a.Hold)
	if err != nil {
		return nil, err
	}
	return d.bell, nil
}

// doors are the sockets by which one comes to a relay, with what says that somebody waits.
type doors struct {
	list    []relay.Door
	sockets []*os.File
	bell    *os.File // nil: there is no door
	waiting bool
}

func (e *endpointFile) doors(held []*os.File) (d doors, err error) {
	ports, to := e.relays()
	if d.list, d.sockets, err = portmap.Doors(ports, to, held); err == nil {
		err = portmap.Listen(d.list, d.sockets, held)
	}
	if err == nil && len(d.list) > 0 {
		d.bell, d.waiting, err = portmap.Bell(d.sockets)
	}
	if err != nil {
		return d, fmt.Errorf("relay the ports of container %s: %w", e.Container, err)
	}
	return d, nil
}

// Relay is Bell, but for a container where somebody waits already: then begin starts a
// process of the helper's word "relay" and gives a socket to it, which is the result, and
// hangs up when that is lost: Relay is to be called again then. The relay ends when the
// other side hangs up.
func Relay(s *Store, container ids.ID, held []*os.File, begin func() (*os.File, error)) (beside *os.File, err error) {
	e, err := s.endpoint(container)
	if err != nil || e == nil || e.State != stateUp {
		return nil, err
	}
	d, err := e.doors(held)
	if err != nil || !d.waiting {
		return d.bell, err
	}
	d.bell.Close()
	sock, err := begin()
	if err != nil {
		return nil, fmt.Errorf("relay the ports of container %s: %w", container, err)
	}
	o := relay.Order{OOMScoreAdj: -999, Doors: d.list}
	fds := make([]int, len(d.sockets))
	for i, f := range d.sockets {
		fds[i] = int(f.Fd())
	}
	if err := fdpass.Send(int(sock.Fd()), o.Text(), fds...); err != nil {
		sock.Close()
		return nil, fault.New(fault.Unavailable, "relay the ports of container %s: %w", container, err)
	}
	return sock, nil
}
