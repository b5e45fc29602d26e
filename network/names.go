package network

import (
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"berth/base/flock"
	"berth/base/ids"
	"berth/network/names"
	"berth/network/resolver"
	"berth/sys/netlink"
)

// NameServer is where containers on networks that people made ask for names.
const NameServer = names.Server

// Naming is what a container is called by, and whom it asks, besides what its
// endpoints say.
type Naming struct {
	Hostname string `json:"hostname,omitempty"`
	// Servers are asked for what the networks do not know; none: the host's.
	Servers []netip.Addr `json:"servers,omitempty"`
	// Dotted: for names of one word no server is asked.
	Dotted bool `json:"dotted,omitempty"`
}

// Named reports whether containers have names on the network: on all that people
// made, as with Docker, unless they said otherwise.
func (a *Attached) Named() bool { return a.Network != Default && !a.NoNames }

// Named reports whether any of the container's networks has names.
func (a *Attachment) Named() bool { return named(a.Endpoints) }

func named(list []Attached) bool {
	return slices.ContainsFunc(list, func(a Attached) bool { return a.Named() })
}

func (s *boot) resolvers() resolver.Files {
	return resolver.Files{Run: s.files.Run, Boot: s.files.Boot}
}

// write writes a container's endpoint file and its files of names; was is what it had
// before, may be nil. Killed in the middle, it leaves no name that nobody takes away.
func (s *boot) write(e, was *endpointFile) error {
	if was != nil {
		for _, a := range was.Endpoints {
			if a.Named() && e.on(a.NetworkID) == nil {
				if err := s.resolvers().Leave(a.NetworkID, e.Container); err != nil {
					return err
				}
			}
		}
	}
	if err := s.files.Put("endpoints", e.Container, e); err != nil {
		return fmt.Errorf("write the endpoints of %s: %w", e.Container, err)
	}
	if e.State != stateUp {
		return nil
	}
	for i := range e.Endpoints {
		if a := &e.Endpoints[i]; a.Named() {
			if err := s.resolvers().Enter(a.NetworkID, e.Container, s.entry(e, a)); err != nil {
				return fmt.Errorf("write the names of %s: %w", e.Container, err)
			}
		}
	}
	if !named(e.Endpoints) && e.Resolver == "" {
		return s.resolvers().Forget(e.Container)
	}
	if err := s.resolvers().See(e.Container, s.view(e)); err != nil {
		return fmt.Errorf("write the names of %s: %w", e.Container, err)
	}
	return nil
}

// retract removes the files of names of a container.
func (s *boot) retract(e *endpointFile) error {
	for _, a := range e.Endpoints {
		if a.Named() {
			if err := s.resolvers().Leave(a.NetworkID, e.Container); err != nil {
				return err
			}
		}
	}
	return s.resolvers().Forget(e.Container)
}

// entry is the container for others on a network, under the names that Docker gives
// it.
func (s *boot) entry(e *endpointFile, a *Attached) *names.Entry {
	n := &names.Entry{Boot: s.files.Boot}
	for _, p := range []netip.Prefix{a.IPv4, a.IPv6} {
		if p.IsValid() {
			n.Addresses = append(n.Addresses, p.Addr().String())
		}
	}
	all := append([]string{e.Name}, a.Aliases...)
	all = append(all, e.Container[:min(12, len(e.Container))], e.Naming.Hostname)
	for _, name := range all {
		if name != "" && !slices.Contains(n.Names, name) {
			n.Names = append(n.Names, name)
		}
	}
	return n
}

// view is what the container may know of others.
func (s *boot) view(e *endpointFile) *names.View {
	v := &names.View{Boot: s.files.Boot, Dotted: e.Naming.Dotted}
	servers := e.Naming.Servers
	if len(servers) == 0 {
		servers = e.attachment().Servers()
	}
	for _, a := range servers {
		v.Servers = append(v.Servers, a.String())
	}
	for _, a := range byDefault(e.Endpoints) {
		v.Outside = v.Outside || !a.Internal
		if !a.Named() {
			continue
		}
		n := names.ViewNetwork{ID: a.NetworkID, Name: a.Network}
		for _, p := range []netip.Prefix{a.IPv4, a.IPv6} {
			if p.IsValid() {
				n.Subnets = append(n.Subnets, p.Masked().String())
			}
		}
		for _, l := range a.Links {
			target, alias, ok := strings.Cut(l, ":")
			if !ok {
				alias = target
			}
			n.Links = append(n.Links, names.ViewLink{Alias: alias, Target: target})
		}
		v.Networks = append(v.Networks, n)
	}
	return v
}

// homeOf is the network whose resolver serves a container, "" for none.
func homeOf(list []Attached) string {
	for _, a := range byDefault(list) {
		if a.Named() {
			return a.NetworkID
		}
	}
	return ""
}

// byDefault lists the endpoint with the default route first.
func byDefault(list []Attached) []Attached {
	return append(slices.DeleteFunc(slices.Clone(list), func(a Attached) bool { return !a.Default }),
		slices.DeleteFunc(slices.Clone(list), func(a Attached) bool { return a.Default })...)
}

// Serve has a container's questions for names answered in its namespace, a file of
// nsfs, until process, a pidfd, has ended; it does nothing for one on no network with
// names. Where no resolver serves its network, begin starts one: it gives a socket to
// a process of the helper's word "names". Nothing is waited for: questions lie in the
// sockets meanwhile. The result hangs up when the resolver is lost: Serve is to be
// called again then, and may be at any time. It is nil if there is nothing to serve.
func Serve(s *Store, container ids.ID, namespace, process *os.File, begin func() (*os.File, error)) (beside *os.File, err error) {
	e, err := s.endpoint(container)
	if err != nil || e == nil || e.State != stateUp {
		return nil, err
	}
	home := homeOf(e.Endpoints)
	if home == "" {
		home = e.Resolver // it has left those networks
	}
	if home == "" {
		return nil, nil
	}
	var fds []int
	defer func() {
		for _, fd := range fds {
			unix.Close(fd)
		}
	}()
	err = netlink.Inside(namespace, func() (err error) {
		fds, err = resolver.Listen()
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("serve names to container %s: %w", container, err)
	}
	held, err := s.files.Lock(home, flock.Lock) // or that one might leave meanwhile
	if err != nil {
		return nil, err
	}
	beside, err = s.resolvers().HandOver(home, string(container), append(slices.Clip(fds), int(process.Fd())), begin)
	held.Unlock()
	if err != nil {
		return nil, fmt.Errorf("serve names to container %s: %w", container, err)
	}
	if e.Resolver == home {
		return beside, nil
	}
	e.Resolver = home
	if err := s.files.Put("endpoints", e.Container, e); err != nil {
		beside.Close()
		return nil, fmt.Errorf("write the endpoints of %s: %w", e.Container, err)
	}
	return beside, nil
}

// Served reports whether the container's questions are, or are to be, answered since
// its start.
func Served(s *Store, container ids.ID) bool {
	e, err := s.endpoint(container)
	return err == nil && e != nil && e.State == stateUp && e.Resolver != ""
}
