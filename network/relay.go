package network

import (
	"fmt"
	"net/netip"
	"os"

	"berth/base/fault"
	"berth/base/ids"
	"berth/network/bridge"
	"berth/network/nft"
	"berth/network/portmap"
	"berth/network/relay"
	"berth/sys/fdpass"
	"berth/sys/netlink"
)

// relays are the published ports that a relay serves, at the host's IPv6 addresses or
// anywhere, and where they lead.
func (e *endpointFile) relays() (ports []Port, to portmap.Target) {
	v4, v6 := e.leading()
	switch {
	case v4 == nil || e.NoRelay:
		return nil, to
	case e.AllRelay:
		to.All = true
		if v4.IPv4.IsValid() && v4.Ways4.NAT {
			to.IPv4 = v4.IPv4.Addr()
		}
		if v6.IPv6.IsValid() && v6.Ways6.NAT {
			to.IPv6 = v6.IPv6.Addr()
		}
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

// noRelay reports whether the administrator has switched relays off; not an ordinary
// user's, whose ports are not served otherwise.
func (s *builder) noRelay() bool { return s.records.Settings.NoRelay && s.at.Home == nil }

// mostHeld is up to how many ports of a container are held by sockets.
func (s *boot) mostHeld() int {
	if s.at.Home != nil {
		return portmap.MaxRelayed
	}
	return portmap.MaxHeld
}

// wayBack has what a container answers to those who come to its published ports come to
// the relay, which serves them under their own addresses.
func (s *boot) wayBack(c *netlink.Conn, e *endpointFile) error {
	if s.at.Home == nil || len(e.Ports) == 0 {
		return nil
	}
	return bridge.WayBack(c)
}

// subnets are those of the container's networks, and then those of all others, as many as
// a relay can be told.
func (s *boot) subnets(e *endpointFile) (list []relay.Subnet, err error) {
	lives, err := s.lives()
	if err != nil {
		return nil, err
	}
	add := func(p netip.Prefix) {
		if !p.IsValid() || len(list) == relay.MaxSubnets {
			return
		}
		bits := p.Bits()
		if p.Addr().Is4() {
			bits += 96
		}
		list = append(list, relay.Subnet{IP: p.Masked().Addr().As16(), Bits: bits})
	}
	for _, a := range e.Endpoints {
		add(a.IPv4)
		add(a.IPv6)
	}
	for _, l := range lives {
		for _, sub := range l.Network.Subnets {
			if e.on(l.Network.ID) == nil {
				add(sub.Prefix)
			}
		}
	}
	return list, nil
}

// Bell readies the published ports that a relay would serve: at ::1, and where the
// container has IPv4 alone, at all of the host's IPv6 addresses; of an ordinary user's all
// ports. Of the sockets that it
// holds, theirs listen now, and no others. The result becomes readable when somebody
// comes; it is nil where nothing is to be relayed.
func Bell(a *Attachment) (*os.File, error) {
	e := &endpointFile{Container: string(a.Container), Endpoints: a.Endpoints, Ports: a.Ports, NoRelay: a.NoRelay, AllRelay: a.AllRelay}
	d, err := e.doors(a.Hold)
	if err != nil {
		return nil, err
	}
	return d.bell, nil
}

// doors are the sockets by which one comes to a relay, with what says that somebody waits.
type doors struct {
	to      portmap.Target
	list    []relay.Door
	sockets []*os.File
	bell    *os.File // nil: there is no door
	waiting bool
}

func (e *endpointFile) doors(held []*os.File) (d doors, err error) {
	var ports []Port
	ports, d.to = e.relays()
	if d.list, d.sockets, err = portmap.Doors(ports, d.to, held); err == nil {
		err = portmap.Listen(d.list, d.sockets, held, d.to.All)
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
// process of the helper's word "relay", in a network namespace unless that is nil, and
// gives a socket to it, which is the result, and hangs up when that is lost: Relay is to be
// called again then. The relay ends when the other side hangs up.
func Relay(s *Store, container ids.ID, held []*os.File, begin func(namespace *os.File) (*os.File, error)) (beside *os.File, err error) {
	e, err := s.endpoint(container)
	if err != nil || e == nil || e.State != stateUp {
		return nil, err
	}
	d, err := e.doors(held)
	if err != nil || !d.waiting {
		return d.bell, err
	}
	d.bell.Close()
	o, sock, err := s.order(e, d, begin)
	if err != nil {
		return nil, fmt.Errorf("relay the ports of container %s: %w", container, err)
	}
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

// order starts a relay and says what it is to be told.
func (s *boot) order(e *endpointFile, d doors, begin func(namespace *os.File) (*os.File, error)) (o relay.Order, sock *os.File, err error) {
	o = relay.Order{OOMScoreAdj: -999, Doors: d.list}
	d.to.Lead(&o)
	var namespace *os.File
	if s.at.Home != nil {
		o.Keep = true
		if o.Own, err = s.subnets(e); err != nil {
			return o, nil, err
		}
		if namespace, err = s.at.Home.Open(); err != nil {
			return o, nil, err
		}
		defer namespace.Close()
	}
	sock, err = begin(namespace)
	return o, sock, err
}
