package network

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"slices"

	"berth/base/fault"
	"berth/base/undo"
	"berth/network/bridge"
	"berth/network/conntrack"
	"berth/network/nft"
	"berth/network/portmap"
	"berth/sys/netlink"
)

// Altered is what a running container has after Alter.
type Altered struct {
	*Attachment
	// Moved: the published ports lead to another endpoint, or to none, and Hold
	// are their sockets instead of those before.
	Moved bool
}

// Alter puts a running container, whose namespace is given, on the networks that
// the request names, none too: what it has on them stays as it is, it leaves
// others, and joins new ones. Repeated it does what is missing. Published ports and
// the default route go where they would be after a start. The kinds of errors are
// Prepare's; after one the container has what it had, but perhaps less of what it
// was to leave.
func (s *Store) Alter(ctx context.Context, r Request, namespace *os.File) (_ *Altered, err error) {
	if err := r.check(); err != nil {
		return nil, err
	}
	c, err := netlink.Open()
	if err != nil {
		return nil, err
	}
	defer c.Close()
	old, err := s.endpoint(r.Container)
	if err != nil {
		return nil, err
	}
	if old == nil || old.State != stateUp {
		old = &endpointFile{Version: endpointVersion, Boot: s.boot, Container: string(r.Container), Name: r.Name, State: stateUp}
	}
	a := &altering{s: s, c: c, r: r, old: old, namespace: namespace}
	defer a.u.Unwind(&err)
	if err := a.decide(); err != nil {
		return nil, err
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if err := a.leave(); err != nil {
		return nil, err
	}
	if err := a.open(); err != nil {
		return nil, err
	}
	if err := a.join(); err != nil {
		return nil, err
	}
	if err := s.giveBack(old, a.now); err != nil {
		return nil, err
	}
	a.u.Release()
	out := &Altered{a.now.attachment(), a.moved}
	out.Hold = a.held
	return out, nil
}

// altering is one Alter under way.
type altering struct {
	s         *Store
	c         *netlink.Conn
	r         Request
	old, now  *endpointFile
	lives     []*live
	namespace *os.File
	moved     bool
	held      []*os.File
	u         undo.Stack
}

// decide finds out what the container is to have, and reserves addresses.
func (a *altering) decide() (err error) {
	a.now = &endpointFile{Version: endpointVersion, Boot: a.s.boot, Container: a.old.Container, Name: a.r.Name, State: stateUp,
		Naming: a.r.Naming, Resolver: a.old.Resolver}
	a.lives, err = a.s.endpoints(a.c, a.now, a.r, a.old, a.old)
	a.u.Push("give addresses back", func() error { return a.s.giveBack(a.now, a.old) })
	if err != nil {
		return err
	}
	a.moved = !a.old.same(a.now)
	if !a.moved {
		a.now.Ports = a.old.Ports
		return nil
	}
	for i, p := range a.old.Ports {
		if p.Host != 0 && i < len(a.r.Publish) {
			a.r.Publish[i] = p // it keeps the host's port
		}
	}
	a.held, err = a.s.publish(a.now, &a.r, a.lives, true)
	if err != nil {
		return err
	}
	a.u.Push("let go of ports", func() error { portmap.CloseAll(a.held); return nil })
	return nil
}

// leave takes away the devices of networks that the container is on no more.
func (a *altering) leave() error {
	for _, e := range a.old.Endpoints {
		if a.now.on(e.NetworkID) == nil {
			if err := bridge.Remove(a.c, e.Device); err != nil {
				return err
			}
			if err := e.unlimit(a.c); err != nil {
				return err
			}
		}
	}
	return nil
}

// open writes down what is to be, and changes the firewall accordingly.
func (a *altering) open() error {
	if err := a.s.put("endpoints", a.now.Container, a.now); err != nil {
		return fmt.Errorf("write the endpoints of %s: %w", a.now.Container, err)
	}
	if err := a.s.announce(a.now, a.old); err != nil {
		return err
	}
	add, remove := differences(a.old.guards(), a.now.guards())
	if a.moved { // the same ports, which lead elsewhere
		add, remove = append(add, a.now.portElements()...), append(remove, a.old.portElements()...)
	}
	a.u.Push("close the firewall again", func() error {
		if err := a.s.put("endpoints", a.old.Container, a.old); err != nil {
			return err
		}
		if err := a.s.announce(a.old, a.now); err != nil {
			return err
		}
		return a.s.change(remove, add)
	})
	v6 := slices.ContainsFunc(a.now.Endpoints, func(e Attached) bool { return e.IPv6.IsValid() })
	if slices.ContainsFunc(a.lives, (*live).leadsOut) {
		if err := a.s.forward(a.c, v6); err != nil {
			return err
		}
	}
	if err := a.s.change(add, remove); err != nil {
		return err
	}
	if !a.moved {
		return nil
	}
	return conntrack.Flush(published(slices.Concat(a.old.Ports, a.now.Ports)))
}

// differences are the elements that come and that go.
func differences(old, now []nft.Element) (add, remove []nft.Element) {
	for _, e := range now {
		if !e.In(old) {
			add = append(add, e)
		}
	}
	for _, e := range old {
		if !e.In(now) {
			remove = append(remove, e)
		}
	}
	return add, remove
}

// join makes the devices that are missing, and moves the default route.
func (a *altering) join() error {
	var ports []bridge.Port
	for i, e := range a.now.Endpoints {
		hairpin := e.hairpin(a.now.Ports)
		link, err := bridge.Find(a.c, e.Device)
		if err != nil {
			return err
		}
		if link == nil {
			ports = append(ports, e.port(a.lives[i], hairpin))
			if a.old.on(e.NetworkID) == nil {
				a.u.Push("remove device "+e.Device, func() error { return cmp.Or(bridge.Remove(a.c, e.Device), e.unlimit(a.c)) })
			}
			continue
		}
		if !a.moved || !e.Default && !e.Default6 {
			continue
		}
		if hairpin {
			if err := bridge.Hairpin(a.c, e.Device); err != nil {
				return err
			}
		}
		if err := bridge.Lead(e.port(a.lives[i], hairpin), a.namespace); err != nil {
			return fmt.Errorf("connect container %s: %w", a.now.Container, err)
		}
	}
	if len(ports) == 0 {
		return nil
	}
	if err := bridge.Connect(a.c, ports, a.namespace); err != nil {
		if fault.Is(err, fault.NotFound) {
			return fault.New(fault.NotFound, "connect container %s: somebody removed the network", a.now.Container)
		}
		return fmt.Errorf("connect container %s: %w", a.now.Container, err)
	}
	return nil
}
