package network

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"

	"golang.org/x/sys/unix"

	"berth/base/fault"
	"berth/base/flock"
	"berth/network/bridge"
	"berth/network/ipam"
	"berth/network/nft"
	"berth/sys/netlink"
)

// live is what a network is in this boot; a file of its own, for the default
// bridge has no other.
type live struct {
	Boot    string   `json:"boot"`
	Network *Network `json:"network"` // with subnets and device
	MAC     string   `json:"mac,omitempty"`
	MTU     int      `json:"mtu"`
	// Foreign bridges are the administrator's: used as they are, never changed.
	Foreign bool `json:"foreign,omitempty"`
	// Taken are addresses of such a bridge, which no container gets.
	Taken []netip.Addr `json:"taken,omitempty"`
	// Ready is set when device and firewall were made once.
	Ready bool `json:"ready,omitempty"`
}

func (l *live) BootID() string { return l.Boot }

// up makes the bridge of a network unless it is there, and its part of the
// firewall. It says what the network is now.
func (s *builder) up(c *netlink.Conn, n *Network) (*live, error) {
	var l live
	if found, err := s.files.Get("nets", n.ID, &l); err != nil {
		return nil, err
	} else if found && l.Ready {
		there, err := kindOf(n).there(c, &l)
		if err != nil || there {
			return &l, err
		}
	}
	held, err := s.files.Lock(n.ID, flock.Lock)
	if err != nil {
		return nil, err
	}
	defer held.Unlock()
	return s.build(c, n)
}

// build is up with the network's lock held.
func (s *builder) build(c *netlink.Conn, n *Network) (*live, error) {
	if err := s.records.Still(n); err != nil {
		return nil, err
	}
	l, err := s.decided(c, n)
	if err != nil {
		return nil, err
	}
	if err := kindOf(n).make(s, c, l); err != nil {
		return nil, err
	}
	l.Ready = true
	return l, s.files.Put("nets", n.ID, l)
}

// rejoin puts the ports of a network's containers where they belong: those of a bridge
// that somebody removed are left without one.
func (s *builder) rejoin(c *netlink.Conn, l *live) error {
	return eachOn(&s.boot, l.Network.ID, func(e *endpointFile, a *Attached) error {
		err := a.rejoin(c, l, a.hairpin(e.Ports))
		if errors.Is(err, unix.ENODEV) { // it went meanwhile
			return nil
		}
		return err
	})
}

// eachOn calls do for what containers have on a network now, until an error.
func eachOn(s *boot, network string, do func(*endpointFile, *Attached) error) error {
	all, err := s.endpointFiles()
	if err != nil {
		return err
	}
	for _, e := range all {
		if a := e.on(network); a != nil && e.State == stateUp {
			if err := do(e, a); err != nil {
				return err
			}
		}
	}
	return nil
}

// decided is what was decided for a network in this boot, now if it was not yet.
// The caller holds its lock.
func (s *builder) decided(c *netlink.Conn, n *Network) (*live, error) {
	var l live
	if found, err := s.files.Get("nets", n.ID, &l); err != nil || found {
		return &l, err
	}
	choose, err := s.files.Lock("choose", flock.Lock) // one chooses a subnet and a name at a time
	if err != nil {
		return nil, err
	}
	defer choose.Unlock()
	fresh := &live{Boot: s.files.Boot, MTU: s.records.MTU(n), Network: new(*n)}
	if err := kindOf(n).settle(s, c, fresh); err != nil {
		return nil, err
	}
	// Before the device: who finds one knows then that it is ours.
	return fresh, s.files.Put("nets", n.ID, fresh)
}

// settle decides device, subnets and the rest of a network that was not up in
// this boot.
func (bridges) settle(s *builder, c *netlink.Conn, l *live) error {
	n := l.Network
	if n.Name == Default {
		if err := s.defaultDevice(c, l); err != nil {
			return err
		}
		if l.Foreign {
			return asSet(&s.records.Settings, n)
		}
	} else if link, err := bridge.Find(c, n.Device); err != nil {
		return err
	} else if link != nil && bridge.Owner(link) != n.ID {
		return foreign(c, l, link)
	} else if link == nil && n.Unmanaged() {
		return noBridge(n)
	} else if link == nil {
		if err := s.clear(c, n); err != nil {
			return err
		}
	}
	if len(n.Subnets) == 0 {
		if err := s.defaultSubnets(c, n); err != nil {
			return err
		}
	}
	l.MAC = bridge.MAC(n.ID)
	return nil
}

// defaultDevice chooses the default bridge's device: the one the administrator
// names, also if it is his own; else docker0, unless dockerd has that, or has had it: one
// that starts later would take it for its own, and give our containers' addresses again.
func (s *builder) defaultDevice(c *netlink.Conn, l *live) error {
	var names []string
	if !dockerdWas(s.records.Settings.DockerRoot) {
		names = append(names, "docker0")
	}
	for i := range 100 {
		names = append(names, fmt.Sprintf("berth%d", i))
	}
	if s.records.Settings.Bridge != "" {
		names = []string{s.records.Settings.Bridge}
	}
	for _, name := range names {
		l.Network.Device = name
		link, err := bridge.Find(c, name)
		if err != nil {
			return err
		}
		if link == nil || bridge.Owner(link) == l.Network.ID {
			return nil
		}
		if s.records.Settings.Bridge != "" {
			return foreign(c, l, link)
		}
	}
	return fault.New(fault.Conflict, "make the default bridge: %s to %s are others' devices", names[0], names[len(names)-1])
}

// dockerdWas reports whether a dockerd with that folder has had networks here.
func dockerdWas(root string) bool {
	if root == "" {
		return false
	}
	_, err := os.Lstat(filepath.Join(root, "network/files/local-kv.db"))
	return err == nil
}

func noBridge(n *Network) error {
	return fault.New(fault.NotFound, "network %s: there is no bridge %s; with mode=unmanaged the administrator makes it", n.Name, n.Device)
}

// foreign takes a bridge of the administrator as it is.
func foreign(c *netlink.Conn, l *live, link *netlink.Link) error {
	if link.Kind != "bridge" {
		return fault.New(fault.Conflict, "use device %s: it is no bridge", link.Name)
	}
	l.Foreign = true
	if l.Network.DHCP { // what the host has there is not the containers'
		return nil
	}
	all, err := c.AllAddresses()
	if err != nil {
		return err
	}
	for _, a := range all {
		if a.Index != link.Index || a.Prefix.Addr().IsLinkLocalUnicast() {
			continue
		}
		l.Taken = append(l.Taken, a.Prefix.Addr())
		l.Network.Adopt(Subnet{Prefix: a.Prefix.Masked(), Gateway: a.Prefix.Addr()})
	}
	if len(l.Network.Subnets) == 0 {
		return fault.New(fault.Invalid, "use bridge %s: it has no address; name a subnet", link.Name)
	}
	return nil
}

// defaultSubnets gives the default bridge its subnets: as set, else from the pools.
func (s *builder) defaultSubnets(c *netlink.Conn, n *Network) error {
	taken, err := s.takenSubnets(c, n.Device)
	if err != nil {
		return err
	}
	if taken, err = s.at.Busy(taken); err != nil {
		return err
	}
	set := s.records.Settings
	sub := Subnet{Prefix: set.Address.Masked(), Gateway: set.Address.Addr()}
	if !set.Address.IsValid() {
		if sub.Prefix, err = ipam.Choose(s.pools(), taken, false); err != nil {
			return err
		}
	}
	n.Subnets = []Subnet{sub}
	if n.IPv6 {
		n.Subnets = append(n.Subnets, s.defaultSubnet6(n, taken))
	}
	return asSet(&s.records.Settings, n)
}

func (s *builder) defaultSubnet6(n *Network, taken []netip.Prefix) Subnet {
	set := s.records.Settings
	if set.Address6.IsValid() {
		return Subnet{Prefix: set.Address6.Masked(), Gateway: set.Address6.Addr()}
	}
	if set.FixedCIDR6.IsValid() { // dockerd's older way to name the subnet
		return Subnet{Prefix: set.FixedCIDR6.Masked()}
	}
	return Subnet{Prefix: choose6(s, n, taken)}
}

// asSet completes the default bridge's subnets by what is set of each.
func asSet(set *Settings, n *Network) error {
	for i := range n.Subnets {
		sub := &n.Subnets[i]
		part, router := set.FixedCIDR, set.Gateway
		if sub.Prefix.Addr().Is6() {
			part, router = set.FixedCIDR6, set.Gateway6
		}
		if part != sub.Prefix {
			sub.Range = part
		}
		sub.SetRouter(router)
		if err := sub.Complete(); err != nil {
			return fmt.Errorf("the default bridge as daemon.json sets it: %w", err)
		}
	}
	return nil
}

func (s *builder) pools() []ipam.Pool {
	if len(s.records.Settings.Pools) == 0 {
		return ipam.DefaultPools()
	}
	var list []ipam.Pool
	for _, p := range s.records.Settings.Pools {
		list = append(list, ipam.Pool(p))
	}
	return list
}

// takenSubnets are those of the host's routes and addresses, except by way of
// one device, and of all our networks.
func (s *builder) takenSubnets(c *netlink.Conn, except string) ([]netip.Prefix, error) {
	skip := 0
	if l, err := bridge.Find(c, except); err != nil {
		return nil, err
	} else if l != nil {
		skip = l.Index
	}
	taken, err := ipam.HostSubnets(c, skip)
	if err != nil {
		return nil, err
	}
	all, err := networks(s)
	if err != nil {
		return nil, err
	}
	for _, n := range all {
		if n.Device != except || n.Driver != "bridge" {
			for _, sub := range n.Subnets {
				taken = append(taken, sub.Prefix)
			}
		}
	}
	return slices.Compact(taken), nil
}

// lives lists the networks that are up.
func (s *boot) lives() ([]*live, error) {
	names, err := s.files.Names("nets")
	if err != nil {
		return nil, err
	}
	var list []*live
	for _, name := range names {
		var l live
		if found, err := s.files.Get("nets", name, &l); err != nil {
			return nil, err
		} else if found {
			list = append(list, &l)
		}
	}
	return list, nil
}

func (l *live) bridge() bridge.Bridge {
	mac, _ := net.ParseMAC(l.MAC)
	b := bridge.Bridge{Name: l.Network.Device, Network: l.Network.ID, MAC: mac, MTU: l.MTU}
	for _, sub := range l.Network.Subnets {
		if l.Network.Given(sub) {
			b.Addresses = append(b.Addresses, netip.PrefixFrom(sub.Gateway, sub.Prefix.Bits()))
		}
	}
	return b
}

// leadsOut reports whether its containers reach the world by way of this host.
func (l *live) leadsOut() bool { return l.bridged() && !l.Network.Internal && !l.Network.Unmanaged() }

// firewall is the network as the firewall sees it; an unmanaged one is none of its
// business.
func (l *live) firewall() nft.Network {
	n := l.Network
	if n.Unmanaged() {
		return nft.Network{}
	}
	f := nft.Network{Device: n.Device, Internal: n.Internal, Apart: n.Apart(), Mingles: n.Mingles(), Trusted: n.Trusted()}
	for _, sub := range n.Subnets {
		v6 := sub.Prefix.Addr().Is6()
		f.Subnets = append(f.Subnets, nft.Subnet{
			Prefix: sub.Prefix, NAT: n.Masks(v6),
			Routed: l.leadsOut() && n.Routed(v6), Open: l.leadsOut() && n.Open(v6),
		})
	}
	return f
}
