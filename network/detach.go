package network

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"golang.org/x/sys/unix"

	"berth/base/fault"
	"berth/base/ids"
	"berth/base/undo"
	"berth/network/bridge"
	"berth/network/conntrack"
	"berth/network/portmap"
	"berth/network/wall"
	"berth/sys/netlink"
)

// Connect makes the container's devices in its namespace, a file of nsfs: a
// veth pair a network, addresses, routes; and sets lo up. After an error the
// caller calls Detach.
func (s *Store) Connect(ctx context.Context, a *Attachment, namespace *os.File) error {
	return s.at.Inside(func() error { return connect(ctx, s, a, namespace) })
}

func connect(ctx context.Context, s *Store, a *Attachment, namespace *os.File) error {
	c, err := netlink.Open()
	if err != nil {
		return err
	}
	defer c.Close()
	var links []link
	for _, e := range a.Endpoints {
		var l live
		if found, err := s.files.Get("nets", e.NetworkID, &l); err != nil {
			return err
		} else if !found {
			return fault.New(fault.NotFound, "connect container %s to network %s: somebody removed the network", a.Container, e.Network)
		}
		links = append(links, link{e, &l, e.hairpin(a.Ports)})
	}
	if err := plug(c, links, namespace); err != nil {
		return fmt.Errorf("connect container %s: %w", a.Container, err)
	}
	return ctx.Err()
}

// Attach is Prepare and Connect; on an error of either nothing stays.
func (s *Store) Attach(ctx context.Context, r Request, namespace *os.File) (_ *Attachment, err error) {
	var u undo.Stack
	defer u.Unwind(&err)
	a, err := s.Prepare(ctx, r)
	if err != nil {
		return nil, err
	}
	u.Push("detach container "+string(r.Container), func() error {
		portmap.CloseAll(a.Hold)
		return s.Release(context.WithoutCancel(ctx), r.Container)
	})
	if err := s.Connect(ctx, a, namespace); err != nil {
		return nil, err
	}
	return a, nil
}

// Detach takes away what Prepare and Connect made, also half of it, but keeps
// the container's addresses for its next start. Repeated it does nothing. The
// devices go with their namespace, which the kernel ends some time after the
// last process; until then nothing goes through them.
func (s *Store) Detach(ctx context.Context, container ids.ID) error {
	return s.at.After(func() error { return s.leave(container, false) })
}

// Release is Detach, and gives the addresses back: for a container that is
// removed.
func (s *Store) Release(ctx context.Context, container ids.ID) error {
	return s.at.After(func() error { return s.leave(container, true) })
}

func (s *Store) leave(container ids.ID, release bool) error {
	e, err := s.endpoint(container)
	if err != nil {
		return err
	}
	if e == nil { // nothing, or of another boot
		if !release {
			return nil
		}
		if err := s.resolvers().Forget(string(container)); err != nil {
			return err
		}
		for _, kind := range []string{"ports", "endpoints"} {
			if err := s.files.Drop(kind, string(container)); err != nil {
				return err
			}
		}
		return s.book().Forget(string(container))
	}
	if e.State != stateDown {
		c, err := netlink.Open()
		if err != nil {
			return err
		}
		defer c.Close()
		keep := e
		if release {
			keep = nil
		}
		if err := s.takeAway(c, e, keep); err != nil {
			return err
		}
		return s.sweep()
	}
	if !release {
		return nil
	}
	if err := s.giveBack(e, nil); err != nil {
		return err
	}
	return s.files.Drop("endpoints", e.Container)
}

// takeAway removes devices and elements of a container; what remains of it is
// the file of its addresses, keep, or nothing if that is nil.
func (s *Store) takeAway(c *netlink.Conn, e, keep *endpointFile) error {
	e.State = stateLeaving
	err := s.files.Put("endpoints", e.Container, e)
	if err != nil && (keep != nil || !errors.Is(err, unix.ENOSPC)) { // all that goes gives room
		return fmt.Errorf("write the endpoints of %s: %w", e.Container, err)
	}
	if err := s.retract(e); err != nil {
		return err
	}
	ports, before := e.Ports, e.before()
	for _, b := range before {
		ports = append(slices.Clip(ports), b.Ports...)
	}
	if len(ports) == 0 && len(e.Endpoints) > 0 && e.walled() {
		// What a port that is no more may claim can wait: a removal keeps the
		// kernel's firewall busy for some 10 ms.
		err = s.files.Put(wall.Gone, e.Endpoints[0].EndpointID, e)
	}
	if len(ports) > 0 || len(e.Endpoints) == 0 && len(before) > 0 || errors.Is(err, unix.ENOSPC) {
		err = s.wall().Change(nil, e.leavings())
	}
	if err != nil {
		return err
	}
	for _, one := range append(before, e) {
		for _, a := range one.Endpoints {
			if !a.bridged() {
				continue
			}
			if err := bridge.Silence(c, a.Device); err != nil {
				return err
			}
			if err := a.unlimit(c); err != nil {
				return err
			}
		}
	}
	if err := conntrack.Flush(published(ports)); err != nil {
		return err
	}
	if err := s.files.Drop("ports", e.Container); err != nil {
		return err
	}
	if err := os.RemoveAll(filepath.Join(s.files.Run, leases, e.Container)); err != nil {
		return err
	}
	if keep == nil {
		if err := s.giveBack(e, nil); err != nil {
			return err
		}
		return s.files.Drop("endpoints", e.Container)
	}
	for _, b := range before {
		if err := s.giveBack(b, keep); err != nil {
			return err
		}
	}
	rest := *keep
	rest.State, rest.Ports, rest.Resolver, rest.Was = stateDown, nil, "", nil
	return s.files.Put("endpoints", e.Container, &rest)
}

// Endpoints tells what a container has now: kind NotFound if nothing. Hold is
// empty.
func (s *Store) Endpoints(container ids.ID) (*Attachment, error) {
	e, err := s.endpoint(container)
	if err != nil {
		return nil, err
	}
	if e == nil || e.State != stateUp {
		return nil, fault.New(fault.NotFound, "container %s is on no network", container)
	}
	return e.attachment(), nil
}

// Hold is what a container has, with the sockets of its published ports bound again, for
// a new monitor.
func (s *Store) Hold(container ids.ID) (*Attachment, error) {
	a, err := s.Endpoints(container)
	if err != nil {
		return nil, err
	}
	ports := slices.DeleteFunc(slices.Clone(a.Ports), func(p Port) bool { return p.Host == 0 }) // which take none of the host's
	_, a.Hold, err = portmap.Decide(ports, nil, nil, s.mostHeld())
	return a, err
}

// Rename notes the container's new name.
func (s *Store) Rename(container ids.ID, name string) error {
	return s.edit(container, func(e *endpointFile) { e.Name = name })
}

// SetNaming notes what the container is called by, and whom it asks, from now on.
func (s *Store) SetNaming(container ids.ID, n Naming) error {
	return s.edit(container, func(e *endpointFile) { e.Naming = n })
}

// edit changes what is written of a container's names, if it has endpoints.
func (s *Store) edit(container ids.ID, change func(*endpointFile)) error {
	e, err := s.endpoint(container)
	if err != nil || e == nil {
		return err
	}
	change(e)
	return s.write(e, nil)
}

// Loopback sets lo up in a namespace: all that network none has.
func Loopback(namespace *os.File) error { return bridge.Loopback(namespace) }
