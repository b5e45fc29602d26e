package network

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"slices"

	"golang.org/x/sys/unix"

	"berth/base/fault"
	"berth/base/ids"
	"berth/base/undo"
	"berth/network/bridge"
	"berth/network/conntrack"
	"berth/network/home"
	"berth/network/nft"
	"berth/network/portmap"
	"berth/sys/netlink"
)

// Altered is what a running container has after Alter.
type Altered struct {
	*Attachment
	// Moved: the published ports are others, or lead to another endpoint, or to none,
	// and Hold are their sockets instead of those before.
	Moved bool
}

// Alter puts a running container, whose namespace is given, on the networks that
// the request names, none too: what it has on them stays as it is, it leaves
// others, and joins new ones; and publishes the ports that the request names, where
// those it has keep the host's. Repeated it does what is missing, devices that
// somebody took away too. Published ports and the default route go where they would
// be after a start. The kinds of errors are Prepare's; after one the container has
// what it had.
//
// What it had is remembered until Confirm, for a caller that is killed before it has
// written down what was asked for.
func (s *Store) Alter(ctx context.Context, r Request, namespace *os.File) (*Altered, error) {
	return home.Of(s.at.Inside, func() (*Altered, error) { return alter(ctx, s, r, namespace) })
}

func alter(ctx context.Context, s *Store, r Request, namespace *os.File) (_ *Altered, err error) {
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
		old = &endpointFile{Version: endpointVersion, Boot: s.files.Boot, Container: string(r.Container), Name: r.Name, State: stateUp}
	}
	a := &altering{s: s, c: c, r: r, old: old, namespace: namespace}
	defer a.u.Unwind(&err)
	if err := a.decide(); err != nil {
		return nil, err
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if err := a.open(); err != nil {
		return nil, err
	}
	if err := a.leave(); err != nil {
		return nil, err
	}
	if err := a.join(); err != nil {
		return nil, err
	}
	a.u.Release()
	// It is done. What is not given back now, others lack until the container goes.
	for _, b := range append(old.before(), old) {
		_ = s.giveBack(b, a.now)
	}
	if portmap.Count(a.now.Ports) <= a.s.mostHeld() {
		_ = s.files.Drop("ports", a.now.Container)
	}
	out := &Altered{a.now.attachment(), a.moved || a.republished}
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
	moved     bool // the ports lead to another endpoint, or it is not sure to which
	// republished: the ports are others.
	republished bool
	held        []*os.File
	u           undo.Stack
}

// unsure reports whether a change before this one was not confirmed: nobody knows how
// far it came.
func (a *altering) unsure() bool { return len(a.old.Was) > 0 }

// decide finds out what the container is to have, and reserves addresses.
func (a *altering) decide() (err error) {
	a.now = &endpointFile{Version: endpointVersion, Boot: a.s.files.Boot, Container: a.old.Container, Name: a.r.Name, State: stateUp,
		Naming: a.r.Naming, NoRelay: a.old.NoRelay, AllRelay: a.s.at.Home != nil, Resolver: a.old.Resolver}
	a.lives, err = a.s.endpoints(a.c, a.now, a.r, a.old, a.old)
	a.u.Push("give addresses back", func() error { return a.s.giveBack(a.now, a.old) })
	if err != nil {
		return err
	}
	a.now.Was = append(slices.Clip(a.old.Was), earlier{a.old.Endpoints, a.old.Ports})
	a.moved = a.unsure() || !a.old.same(a.now)
	a.r.Publish = portmap.Keep(a.old.Ports, a.r.Publish)
	if !a.moved && slices.Equal(a.old.Ports, a.r.Publish) {
		a.now.Ports = a.old.Ports
		return nil
	}
	a.held, err = a.s.publish(a.now, &a.r, a.lives, true)
	if err != nil {
		return err
	}
	if a.republished = !slices.Equal(a.old.Ports, a.now.Ports); !a.moved && !a.republished {
		portmap.CloseAll(a.held) // an internal network, which has none either way
		a.held = nil
	}
	a.u.Push("let go of ports", func() error {
		portmap.CloseAll(a.held)
		if portmap.Count(a.old.Ports) > a.s.mostHeld() {
			return a.s.files.Put("ports", a.old.Container, a.old)
		}
		return a.s.files.Drop("ports", a.old.Container)
	})
	return nil
}

// leave takes away the devices of networks that the container is on no more.
func (a *altering) leave() error {
	for _, b := range append(a.old.before(), a.old) {
		for _, e := range b.Endpoints {
			if now := a.now.on(e.NetworkID); now != nil && now.EndpointID == e.EndpointID {
				continue
			}
			if err := cmp.Or(e.unplug(a.c, a.namespace), a.s.unlease(a.now.Container, e.NetworkID)); err != nil {
				return err
			}
			if b == a.old {
				a.u.Push("make the device on network "+e.Network+" again", func() error { return a.again(e) })
			}
		}
	}
	return nil
}

// again makes a device of what the container had.
func (a *altering) again(e Attached) error {
	var l live
	if found, err := a.s.files.Get("nets", e.NetworkID, &l); err != nil || !found {
		return err
	}
	if has := a.old.on(e.NetworkID); has != nil {
		has.Leased = false
	}
	return plug(a.c, []link{{e, &l, e.hairpin(a.old.Ports)}}, a.namespace)
}

// open writes down what is to be, and changes the firewall accordingly.
func (a *altering) open() error {
	if err := a.s.write(a.now, a.old); err != nil {
		return err
	}
	had, has, shall := a.old.leavings(), a.old.elements(), a.now.elements()
	add, remove := nft.Differences(had, shall)
	back, away := nft.Differences(shall, has)
	if a.unsure() {
		add, back = shall, has // perhaps not all of them came to be
	}
	a.u.Push("close the firewall again", func() error {
		if err := a.s.write(a.old, a.now); err != nil {
			return err
		}
		return a.s.wall().Change(back, away)
	})
	if !a.now.walled() {
		return nil
	}
	if err := a.s.wayBack(a.c, a.now); err != nil {
		return err
	}
	if slices.ContainsFunc(a.lives, (*live).leadsOut) {
		if err := a.s.wall().Forward(a.c, a.now.routed6()); err != nil {
			return err
		}
	}
	err := a.s.wall().Change(add, remove)
	if errors.Is(err, unix.EBUSY) || errors.Is(err, unix.EEXIST) {
		return a.s.explain(fault.Wrap(fault.Conflict, err), a.now.Container, a.now.Ports)
	}
	if err != nil {
		return err
	}
	return a.forget()
}

// forget ends the flows to ports that lead elsewhere now.
func (a *altering) forget() error {
	ports := a.now.Ports
	for _, b := range append(a.old.before(), a.old) {
		ports = append(slices.Clip(ports), b.Ports...)
	}
	if !a.moved {
		ports = slices.DeleteFunc(slices.Clone(ports), func(p Port) bool { return slices.Contains(a.old.Ports, p) && slices.Contains(a.now.Ports, p) })
	}
	return conntrack.Flush(published(ports))
}

// Confirm says that what the last Alter did is written down where it was asked for.
func (s *boot) Confirm(container ids.ID) error {
	e, err := s.endpoint(container)
	if err != nil || e == nil || len(e.Was) == 0 {
		return err
	}
	e.Was = nil
	return s.files.Put("endpoints", e.Container, e)
}

// Unconfirmed lists the containers whose last Alter was not confirmed: it is at work,
// or who did it was killed.
func (s *boot) Unconfirmed() ([]ids.ID, error) {
	all, err := s.endpointFiles()
	if err != nil {
		return nil, err
	}
	var list []ids.ID
	for _, e := range all {
		if len(e.Was) > 0 && e.State == stateUp {
			list = append(list, ids.ID(e.Container))
		}
	}
	return list, nil
}

// join makes the devices that are missing, and moves the default route.
func (a *altering) join() error {
	var links []link
	for i, e := range a.now.Endpoints {
		hairpin := e.hairpin(a.now.Ports)
		there, err := e.plugged(a.c, a.namespace)
		if err != nil {
			return err
		}
		if there && a.unsure() && attachedTo(a.old.Was[0].Endpoints, e.NetworkID) == nil {
			// Who made it was perhaps killed before it had addresses.
			if err := e.unplug(a.c, a.namespace); err != nil {
				return err
			}
			there = false
		}
		if !there {
			a.now.Endpoints[i].Leased = false
			if err := a.s.unlease(a.now.Container, e.NetworkID); err != nil {
				return err
			}
			links = append(links, link{e, a.lives[i], hairpin})
			if a.old.on(e.NetworkID) == nil {
				a.u.Push("remove the device on network "+e.Network, func() error { return e.unplug(a.c, a.namespace) })
			}
			continue
		}
		if err := e.rejoin(a.c, a.lives[i], hairpin); err != nil {
			return err
		}
		if !a.moved && !a.republished || !e.Default && !e.Default6 {
			continue
		}
		if hairpin && e.bridged() {
			if err := bridge.Hairpin(a.c, e.Device); err != nil {
				return err
			}
		}
		if !a.moved {
			continue
		}
		if err := bridge.Lead(e.inside(), a.namespace); err != nil {
			return fmt.Errorf("connect container %s: %w", a.now.Container, err)
		}
	}
	if len(links) == 0 {
		return nil
	}
	if err := plug(a.c, links, a.namespace); err != nil {
		if fault.Is(err, fault.NotFound) && a.now.walled() {
			return fault.New(fault.NotFound, "connect container %s: somebody removed the network", a.now.Container)
		}
		return fmt.Errorf("connect container %s: %w", a.now.Container, err)
	}
	return nil
}
