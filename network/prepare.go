package network

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"

	"golang.org/x/sys/unix"

	"berth/base/fault"
	"berth/base/flock"
	"berth/base/ids"
	"berth/base/undo"
	"berth/network/conntrack"
	"berth/network/ipam"
	"berth/network/portmap"
	"berth/sys/netlink"
)

// Prepare does all that needs no namespace: it makes the bridges, reserves
// addresses (a container that had some in this boot gets them again), binds
// ports, writes the endpoint file and opens the firewall. It may run beside the
// making of the first process; the result names the addresses for /etc/hosts. On
// an error nothing stays but addresses that the container had before. Kinds:
// NotFound a network, Conflict an address or port that another has, Unavailable
// a used-up pool, Invalid.
func (s *Store) Prepare(ctx context.Context, r Request) (a *Attachment, err error) {
	if err := r.check(); err != nil {
		return nil, err
	}
	c, err := netlink.Open()
	if err != nil {
		return nil, err
	}
	defer c.Close()
	var u undo.Stack
	defer u.Unwind(&err) // while c is open
	old, err := s.endpoint(r.Container)
	if err != nil {
		return nil, err
	}
	if old != nil && old.State != stateDown {
		// Its last run ended without a Detach.
		if err := s.takeAway(c, old, old); err != nil {
			return nil, err
		}
	}
	e := &endpointFile{Version: endpointVersion, Boot: s.boot, Container: string(r.Container), Name: r.Name, State: stateUp}
	lives, err := s.endpoints(c, e, r, old)
	u.Push("give addresses back", func() error { return s.giveBack(e, old) })
	if err != nil {
		return nil, err
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	u.Push("take the endpoints back", func() error { return s.takeAway(c, e, old) })
	var held []*os.File
	for _, all := range []bool{false, true} {
		held, err = s.open(c, e, &r, lives, all)
		// A port that no socket holds, as its monitor died, is found by its rules:
		// where any port does, another is looked for, knowing all.
		if !fault.Is(err, fault.Conflict) || !slices.ContainsFunc(r.Publish, Port.Any) {
			break
		}
	}
	if err != nil {
		return nil, err
	}
	if old != nil {
		if err := s.giveBack(old, e); err != nil {
			portmap.CloseAll(held)
			return nil, err
		}
	}
	a = e.attachment()
	a.Hold = held
	return a, nil
}

// open publishes the ports and opens the firewall for a container.
func (s *Store) open(c *netlink.Conn, e *endpointFile, r *Request, lives []*live, all bool) (held []*os.File, err error) {
	held, err = s.publish(e, r, lives, all)
	defer func() {
		if err != nil {
			portmap.CloseAll(held)
			held = nil
		}
	}()
	if err != nil {
		return nil, err
	}
	if err := s.put("endpoints", e.Container, e); err != nil {
		return held, fmt.Errorf("write the endpoints of %s: %w", e.Container, err)
	}
	v6 := slices.ContainsFunc(e.Endpoints, func(a Attached) bool { return a.IPv6.IsValid() })
	if slices.ContainsFunc(lives, func(l *live) bool { return !l.Network.Internal }) {
		if err := s.forward(c, v6); err != nil {
			return held, err
		}
	}
	if err := s.sweep(); err != nil {
		return held, err
	}
	err = s.change(e.elements(), nil)
	if errors.Is(err, unix.EBUSY) || errors.Is(err, unix.EEXIST) {
		return held, s.explain(fault.Wrap(fault.Conflict, err), e.Container, e.Ports)
	}
	if err != nil {
		return held, err
	}
	return held, conntrack.Flush(published(e.Ports))
}

// check refuses what makes no sense whatever the networks are.
func (r Request) check() error {
	if len(r.Endpoints) == 0 {
		return fault.New(fault.Invalid, "connect container %s: no network is named", r.Container)
	}
	for _, e := range r.Endpoints {
		if e.MAC != "" {
			if mac, err := net.ParseMAC(e.MAC); err != nil || len(mac) != 6 || mac[0]&1 != 0 {
				return fault.New(fault.Invalid, "invalid mac address %.40q", e.MAC)
			}
		}
		if len(e.Interface) > 15 {
			return fault.New(fault.Invalid, "invalid interface name %.40q: more than 15 bytes", e.Interface)
		}
	}
	for _, p := range r.Publish {
		if err := p.Check(); err != nil {
			return err
		}
	}
	return nil
}

// endpoints decides what the container has on each network; what was reserved
// stands in e also on an error.
func (s *Store) endpoints(c *netlink.Conn, e *endpointFile, r Request, old *endpointFile) ([]*live, error) {
	var lives []*live
	main := 0
	for i, want := range r.Endpoints {
		n, err := s.find(want.Network)
		if err != nil {
			return nil, err
		}
		if n.Driver != "bridge" {
			return nil, fault.New(fault.Invalid, "connect to network %s: its driver is %s", n.Name, n.Driver)
		}
		if slices.ContainsFunc(e.Endpoints, func(a Attached) bool { return a.NetworkID == n.ID }) {
			return nil, fault.New(fault.Invalid, "connect to network %s: it is named twice", n.Name)
		}
		l, err := s.up(c, n)
		if err != nil {
			return nil, fmt.Errorf("network %s: %w", n.Name, err)
		}
		lives = append(lives, l)
		a := Attached{
			Network: n.Name, NetworkID: n.ID, EndpointID: ids.Hex(32), Device: s.ports + ids.Hex(4),
			Interface: want.Interface, MAC: want.MAC, MTU: l.MTU,
			Aliases: want.Aliases, Options: want.Options, Priority: want.Priority, Trusted: r.Trusted,
		}
		if a.Interface == "" {
			a.Interface = fmt.Sprintf("eth%d", i)
		}
		e.Endpoints = append(e.Endpoints, a)
		if err := s.address(e.Container, &e.Endpoints[i], l, want, old); err != nil {
			return nil, err
		}
		if lead(l, want) > lead(lives[main], r.Endpoints[main]) {
			main = i
		}
	}
	e.Endpoints[main].Default = true
	return lives, nil
}

// lead is how much an endpoint wants the default route. An internal network has
// none to give.
func lead(l *live, e Endpoint) int {
	if l.Network.Internal {
		return e.Priority - 1<<32
	}
	return e.Priority
}

// address reserves the addresses of an endpoint.
func (s *folder) address(owner string, a *Attached, l *live, want Endpoint, old *endpointFile) error {
	held, err := s.lock(a.NetworkID, flock.Lock)
	if err != nil {
		return err
	}
	defer held.Unlock()
	for _, sub := range l.Network.Subnets {
		r := ipam.Range{Network: a.NetworkID, Subnet: sub.Prefix, Within: sub.Range, Not: []netip.Addr{sub.Gateway}}
		for _, aux := range sub.Aux {
			r.Not = append(r.Not, aux)
		}
		asked, had := want.IPv4, previous(old, a.NetworkID, false)
		if sub.Prefix.Addr().Is6() {
			asked, had = want.IPv6, previous(old, a.NetworkID, true)
		}
		ip, err := s.reserve(owner, r, asked, had)
		if err != nil {
			return fmt.Errorf("network %s: %w", a.Network, err)
		}
		whole := netip.PrefixFrom(ip, sub.Prefix.Bits())
		gateway := sub.Gateway
		if l.Network.Internal {
			gateway = netip.Addr{}
		}
		if ip.Is4() {
			a.IPv4, a.Gateway = whole, gateway
		} else {
			a.IPv6, a.Gateway6 = whole, gateway
		}
	}
	if a.MAC == "" {
		ip := a.IPv4.Addr()
		if !ip.IsValid() {
			ip = a.IPv6.Addr()
		}
		a.MAC = containerMAC(ip)
	}
	return nil
}

// previous is the address that a container had on a network in this boot.
func previous(old *endpointFile, network string, v6 bool) netip.Addr {
	if old != nil {
		for _, a := range old.Endpoints {
			switch {
			case a.NetworkID != network:
			case v6:
				return a.IPv6.Addr()
			default:
				return a.IPv4.Addr()
			}
		}
	}
	return netip.Addr{}
}

// reserve reserves the address that was asked for, else the one that the
// container had, else any.
func (s *folder) reserve(owner string, r ipam.Range, asked, had netip.Addr) (netip.Addr, error) {
	if asked.IsValid() {
		return asked, s.book().Take(owner, r, asked)
	}
	if had.IsValid() {
		if err := s.book().Take(owner, r, had); err == nil {
			return had, nil
		}
	}
	return s.book().Next(owner, r)
}

// giveBack gives the addresses of e back that keep does not have.
func (s *folder) giveBack(e, keep *endpointFile) error {
	kept := map[string]bool{}
	if keep != nil {
		for _, a := range keep.Endpoints {
			kept[a.NetworkID+a.IPv4.String()], kept[a.NetworkID+a.IPv6.String()] = true, true
		}
	}
	var first error
	for _, a := range e.Endpoints {
		for _, p := range []netip.Prefix{a.IPv4, a.IPv6} {
			if !p.IsValid() || kept[a.NetworkID+p.String()] {
				continue
			}
			if err := s.book().Give(e.Container, a.NetworkID, p.Addr()); err != nil && first == nil {
				first = err
			}
		}
	}
	if keep == nil {
		if err := s.book().Forget(e.Container); err != nil && first == nil {
			first = err
		}
	}
	return first
}

// publish decides the host's ports and holds them. The ports lead to the
// endpoint with the default route; on an internal network they lead nowhere. All
// says to look at the ports of all containers, not only of those without holds.
func (s *builder) publish(e *endpointFile, r *Request, lives []*live, all bool) ([]*os.File, error) {
	i := slices.IndexFunc(e.Endpoints, func(a Attached) bool { return a.Default })
	if len(r.Publish) == 0 || lives[i].Network.Internal {
		return nil, nil
	}
	ports := slices.Clone(r.Publish)
	for j := range ports {
		if !ports[j].Address.IsValid() {
			ports[j].Address = s.publishAddress(lives[i].Network)
		}
	}
	held, err := s.lock("ports", flock.Lock)
	if err != nil {
		return nil, err
	}
	defer held.Unlock()
	kind := "ports"
	if all {
		kind = "endpoints"
	}
	others, err := s.others(kind, e.Container)
	if err != nil {
		return nil, err
	}
	decided, files, err := portmap.Decide(ports, others, r.Held)
	if err != nil {
		return nil, s.explain(err, e.Container, ports)
	}
	e.Ports = decided
	if portmap.Count(decided) > portmap.MaxHeld {
		err = s.put("ports", e.Container, e)
	}
	return files, err
}

// others are the published ports of other containers: of all, or only of those
// that have too many to hold them by sockets; these have a file "ports" too, to
// be found fast.
func (s *folder) others(kind, except string) ([]Port, error) {
	names, err := s.names(kind)
	if err != nil {
		return nil, err
	}
	var list []Port
	for _, name := range names {
		var e endpointFile
		found, err := s.get(kind, name, &e)
		if err != nil {
			return nil, err
		}
		if found && name != except && e.State == stateUp && (s.live == nil || s.live(name)) {
			list = append(list, e.Ports...)
		}
	}
	return list, nil
}

// explain says whose a port is, if it is a container's.
func (s *folder) explain(err error, self string, ports []Port) error {
	if !fault.Is(err, fault.Conflict) {
		return err
	}
	others, listErr := s.others("endpoints", self)
	if listErr != nil {
		return err
	}
	return portmap.Explain(err, ports, others)
}

// published is what connections to ports are known by.
func published(ports []Port) (list []conntrack.Range) {
	for _, p := range ports {
		if p.Protocol == "udp" {
			list = append(list, conntrack.Range{First: p.Host, Last: p.Host + p.Count - 1})
		}
	}
	return list
}
