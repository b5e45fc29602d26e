package network

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"

	"golang.org/x/sys/unix"

	"berth/base/fault"
	"berth/base/ids"
	"berth/base/undo"
	"berth/network/bridge"
	"berth/network/conntrack"
	"berth/network/home"
	"berth/network/option"
	"berth/network/portmap"
	"berth/network/record"
	"berth/sys/netlink"
)

// Prepare does all that needs no namespace: it makes the bridges, reserves
// addresses (a container that had some in this boot gets them again), binds
// ports, writes the endpoint file and opens the firewall. It may run beside the
// making of the first process; the result names the addresses for /etc/hosts. On
// an error nothing stays but addresses that the container had before. Kinds:
// NotFound a network, Conflict an address or port that another has, Unavailable
// a used-up pool, Invalid.
func (s *Store) Prepare(ctx context.Context, r Request) (*Attachment, error) {
	return home.Of(s.at.Inside, func() (*Attachment, error) { return prepare(ctx, s, r) })
}

func prepare(ctx context.Context, s *Store, r Request) (a *Attachment, err error) {
	if len(r.Endpoints) == 0 {
		return nil, fault.New(fault.Invalid, "connect container %s: no network is named", r.Container)
	}
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
	e := &endpointFile{Version: endpointVersion, Boot: s.files.Boot, Container: string(r.Container), Name: r.Name, State: stateUp, Naming: r.Naming, NoRelay: s.noRelay(), AllRelay: s.at.Home != nil}
	lives, err := s.endpoints(c, e, r, old, nil)
	u.Push("give addresses back", func() error { return s.giveBack(e, old) })
	if err != nil {
		return nil, err
	}
	if err := lead(s.at, lives); err != nil {
		return nil, err
	}
	e.Resolver = homeOf(e.Endpoints) // the caller is about to call Serve
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
	if err := s.write(e, nil); err != nil {
		return held, err
	}
	if !e.walled() {
		return held, nil
	}
	if err := s.wayBack(c, e); err != nil {
		return held, err
	}
	if slices.ContainsFunc(lives, (*live).leadsOut) {
		if err := s.wall().Forward(c, e.routed6()); err != nil {
			return held, err
		}
	}
	err = s.wall().Change(e.elements(), nil)
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
	for _, e := range r.Endpoints {
		if e.MAC != "" {
			if mac, err := net.ParseMAC(e.MAC); err != nil || len(mac) != 6 || mac[0]&1 != 0 {
				return fault.New(fault.Invalid, "invalid mac address %.40q", e.MAC)
			}
		}
		o, err := option.ReadEndpoint(e.Options)
		if err != nil {
			return err
		}
		if name := cmp.Or(e.Interface, o.Name); name != "" && !record.IsDevice(name) {
			return fault.New(fault.Invalid, "invalid interface name %.40q: 1 to 15 bytes without blanks, / and :", name)
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
// stands in e also on an error. Keep is what it has now and is to stay as it is,
// may be nil.
func (s *builder) endpoints(c *netlink.Conn, e *endpointFile, r Request, old, keep *endpointFile) ([]*live, error) {
	var lives []*live
	for i, want := range r.Endpoints {
		n, l, err := s.network(c, want.Network)
		if err != nil {
			return nil, err
		}
		if e.on(n.ID) != nil {
			return nil, fault.New(fault.Invalid, "connect to network %s: it is named twice", n.Name)
		}
		lives = append(lives, l)
		if has := keep.on(n.ID); has != nil {
			same := *has
			same.Default, same.Default6, same.Priority = false, false, want.Priority
			e.Endpoints = append(e.Endpoints, same)
			continue
		}
		if err := s.room(c, l); err != nil {
			return nil, fmt.Errorf("network %s: %w", n.Name, err)
		}
		o, err := option.ReadEndpoint(want.Options)
		if err == nil {
			err = o.Fits(l.MTU)
		}
		if err != nil {
			return nil, err
		}
		e.Endpoints = append(e.Endpoints, Attached{
			Network: n.Name, NetworkID: n.ID, EndpointID: ids.Hex(32),
			Interface: cmp.Or(want.Interface, o.Name), MAC: want.MAC, MTU: l.MTU,
			Aliases: want.Aliases, Links: want.Links, Options: want.Options, Priority: want.Priority, Trusted: r.Trusted,
			Internal: l.Network.Internal, NoNames: n.NoNames, Ways4: n.Ways(false), Ways6: n.Ways(true),
		})
		a := &e.Endpoints[i]
		if a.Interface == "" {
			a.Interface = freeInterface(n.Prefix(), e, keep)
		}
		if err := s.place(c, e.Container, a, l); err != nil {
			return nil, err
		}
		if err := s.address(e.Container, a, l, want, old); err != nil {
			return nil, err
		}
	}
	e.lead()
	return lives, nil
}

// lead decides which endpoints give the default routes: internal networks only if all
// are internal, as with Docker.
func (e *endpointFile) lead() {
	if len(e.Endpoints) == 0 {
		return
	}
	closed := !slices.ContainsFunc(e.Endpoints, func(a Attached) bool { return !a.Internal })
	best := func(has func(*Attached) bool) *Attached {
		var first *Attached
		for i := range e.Endpoints {
			a := &e.Endpoints[i]
			if has(a) && a.Internal == closed && (first == nil || a.Priority > first.Priority || a.Priority == first.Priority && a.Network < first.Network) {
				first = a
			}
		}
		return first
	}
	v4 := best(func(a *Attached) bool { return a.Gateway.IsValid() || a.DHCP || a.IPv4.IsValid() && a.straight() })
	v6 := best(func(a *Attached) bool { return a.Gateway6.IsValid() || a.IPv6.IsValid() && a.straight() })
	if v6 != nil {
		v6.Default6 = true
	}
	if v4 == nil {
		v4 = cmp.Or(v6, best(func(*Attached) bool { return true }))
	}
	v4.Default = true
}

// nearFull is from how many containers on a bridge its ports are counted before one comes.
const nearFull = 900

// room refuses one container more on a bridge whose ports are used up, before anything is
// made for it.
func (s *builder) room(c *netlink.Conn, l *live) error {
	if !l.bridged() {
		return nil
	}
	if !l.Foreign { // there may be anybody's ports on one of the administrator's
		on, err := os.ReadDir(filepath.Join(s.files.Run, "addresses", l.Network.ID))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		if len(on) < nearFull {
			return nil
		}
	}
	return bridge.Room(c, l.Network.Device)
}

// network finds a network that containers can be connected to, and makes it.
func (s *builder) network(c *netlink.Conn, name string) (*Network, *live, error) {
	n, err := s.records.Find(name)
	if err != nil {
		return nil, nil, err
	}
	if !n.HasDevices() {
		return nil, nil, fault.New(fault.Invalid, "connect to network %s: its driver is %s", n.Name, n.Driver)
	}
	l, err := s.up(c, n)
	if err != nil {
		return nil, nil, fmt.Errorf("network %s: %w", n.Name, err)
	}
	return n, l, nil
}

// freeInterface is the first of eth0, eth1, … that the container has not.
func freeInterface(prefix string, e, keep *endpointFile) string {
	for i := 0; ; i++ {
		name := prefix + strconv.Itoa(i)
		has := func(a Attached) bool { return a.Interface == name }
		if !slices.ContainsFunc(e.Endpoints, has) && (keep == nil || !slices.ContainsFunc(keep.Endpoints, has)) {
			return name
		}
	}
}
