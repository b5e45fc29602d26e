package network

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"berth/base/atomicfile"
	"berth/base/fault"
	"berth/base/flock"
	"berth/base/ids"
	"berth/network/bridge"
	"berth/network/ipam"
	"berth/network/parent"
	"berth/sys/netlink"
)

// CreateRequest is network create.
type CreateRequest struct {
	Network // ID, Created, Device may be empty; subnets without Prefix or Gateway are completed
}

// Create makes a network: its record; a bridge comes with its first
// container. Kinds: Exists the name, Conflict a subnet or a device in use,
// Unavailable no pool left, Unsupported, Invalid.
func (s *Store) Create(ctx context.Context, r CreateRequest) (*Network, error) {
	n := r.Network
	c, err := netlink.Open()
	if err != nil {
		return nil, err
	}
	defer c.Close()
	if n.DefaultParent && parent.Is(n.Driver) && !n.Internal {
		if n.Options, err = parent.Default(c, n.Options); err != nil {
			return nil, err
		}
	}
	if err := s.complete(&n); err != nil {
		return nil, err
	}
	if err := s.dropGone(); err != nil {
		return nil, err
	}
	if err := record(&s.builder, c, &n); err != nil {
		return nil, err
	}
	if !parent.Is(n.Driver) {
		return &n, nil
	}
	// A VLAN that cannot be made is told of now.
	if _, err := s.up(c, &n); err != nil {
		return nil, errors.Join(fmt.Errorf("network %s: %w", n.Name, err), os.Remove(s.file(n.Name)), s.tearDown(&n))
	}
	return &n, nil
}

// record completes a new network and writes it down.
func record(s *builder, c *netlink.Conn, n *Network) error {
	held, err := s.files.Lock("choose", flock.Lock)
	if err != nil {
		return err
	}
	defer held.Unlock()
	if _, err := s.read(s.file(n.Name)); err == nil {
		return exists(n.Name)
	}
	if err := n.kind().fit(s, c, n); err != nil {
		return err
	}
	return s.save(n)
}

func exists(name string) error {
	return fault.New(fault.Exists, "network with name %s already exists", name)
}

// complete fills in what was not asked for and refuses what cannot be.
func (s *records) complete(n *Network) error {
	switch {
	case slices.Contains([]string{Default, Host, None, "default", podmanDefault}, n.Name):
		return fault.New(fault.Invalid, "operation is not permitted on predefined %s network", n.Name)
	case strings.TrimSpace(n.Name) == "" || len(s.file(n.Name))-len(s.root) > 200 || strings.ContainsFunc(n.Name, notInNames):
		return fault.New(fault.Invalid, "invalid network name: %.80q", n.Name)
	case n.Name == "private" || strings.HasPrefix(n.Name, "container:") || strings.HasPrefix(n.Name, "ns:"):
		return fault.New(fault.Invalid, "invalid network name: %.80q means something else after --network", n.Name)
	}
	n.Driver = cmp.Or(n.Driver, "bridge")
	if err := checkDriver(n.Driver); err != nil {
		return err
	}
	if err := checkServers(n.DNS); err != nil {
		return err
	}
	n.Version, n.ID, n.Created = recordVersion, ids.Hex(32), time.Now().UTC()
	return n.kind().complete(n)
}

func notInNames(r rune) bool { return r < ' ' || r == 0x7f || r == '/' }

// checkDriver refuses kinds of networks that there are not, or not yet.
func checkDriver(name string) error {
	switch name {
	case "bridge", parent.Macvlan, parent.IPvlan:
		return nil
	case "host", "null":
		return fault.New(fault.Invalid, "only one instance of %q network is allowed", name)
	case "overlay":
		return fault.New(fault.Unsupported, "network driver overlay is of Swarm, which is not served")
	}
	return fault.New(fault.NotFound, "plugin %.40q not found", name)
}

// ownDevice refuses a device that another network has.
func ownDevice(s *builder, n *Network) error {
	others, err := networks(s)
	if err != nil {
		return err
	}
	standard := s.builtIn()[0]
	standard.Device = standard.Options[optionName]
	for _, o := range append(others, standard) {
		if o.Device == n.Device && o.Driver == n.Driver {
			return fault.New(fault.Conflict, "cannot create network %s (%s): conflicts with network %s (%s): networks have same bridge name",
				n.ID, n.Device, o.ID, o.Device)
		}
	}
	return nil
}

// networks are those that were made, and those that are up.
func networks(s *builder) ([]*Network, error) {
	all, err := s.made()
	if err != nil {
		return nil, err
	}
	lives, err := s.lives()
	for _, l := range lives {
		all = append(all, l.Network)
	}
	return all, err
}

// subnets completes the subnets of a new bridge network, clear of all others.
func (s *builder) subnets(c *netlink.Conn, n *Network) error {
	taken, err := s.takenSubnets(c, n.Device)
	if err != nil {
		return err
	}
	if err := n.checkFamilies(); err != nil {
		return err
	}
	if n.several() {
		return fault.New(fault.Invalid, "bridge driver doesn't support multiple subnets")
	}
	if err := foreignSubnets(s, c, n); err != nil {
		return err
	}
	return fill(s, n, taken, taken)
}

// fill completes the subnets: one that nobody named is clear of what is busy, and none
// overlaps what is taken.
func fill(s *builder, n *Network, busy, taken []netip.Prefix) error {
	if !n.has(false) && !n.NoIPv4 {
		p, err := ipam.Choose(s.pools(), append(s.defaults(busy), busy...), false)
		if err != nil {
			return err
		}
		n.Subnets = append([]Subnet{{Prefix: p}}, n.Subnets...)
	}
	if n.IPv6 && !n.has(true) {
		p, err := ipam.Choose(s.pools(), taken, true)
		if err != nil {
			p = ownPrefix(n.ID)
		}
		n.Subnets = append(n.Subnets, Subnet{Prefix: p})
	}
	for i := range n.Subnets {
		sub := &n.Subnets[i]
		sub.Prefix = sub.Prefix.Masked()
		if !ipam.Free(sub.Prefix, taken) {
			return fault.New(fault.Conflict, "Pool overlaps with other one on this address space")
		}
		taken = append(taken, sub.Prefix)
		if err := sub.complete(); err != nil {
			return err
		}
	}
	return nil
}

// has reports whether there is a subnet of a family.
func (n *Network) has(v6 bool) bool {
	return slices.ContainsFunc(n.Subnets, func(sub Subnet) bool { return sub.Prefix.Addr().Is6() == v6 })
}

// several reports whether there are more subnets of a family than one.
func (n *Network) several() bool {
	six := 0
	for _, sub := range n.Subnets {
		if sub.Prefix.Addr().Is6() {
			six++
		}
	}
	return six > 1 || len(n.Subnets)-six > 1
}

// checkFamilies leaves out subnets that name nothing, and refuses those that give no
// addresses.
func (n *Network) checkFamilies() error {
	n.Subnets = slices.DeleteFunc(n.Subnets, func(sub Subnet) bool { return !sub.Prefix.IsValid() })
	if n.NoIPv4 && !n.IPv6 {
		return fault.New(fault.Invalid, "IPv4 or IPv6 must be enabled")
	}
	for i := range n.Subnets {
		n.Subnets[i].Asked = true
		a := n.Subnets[i].Prefix.Addr()
		if a.Is6() && !n.IPv6 {
			return fault.New(fault.Invalid, "subnet %s is of IPv6, which takes --ipv6", n.Subnets[i].Prefix)
		}
		if a.Is4() && n.NoIPv4 {
			return fault.New(fault.Invalid, "subnet %s is of IPv4, which --ipv4=false leaves out", n.Subnets[i].Prefix)
		}
		if a.IsMulticast() || a.Is6() && a.IsLinkLocalUnicast() || a.Is4In6() || a.Zone() != "" {
			return fault.New(fault.Invalid, "subnet %s has no addresses for containers", n.Subnets[i].Prefix)
		}
	}
	return nil
}

// foreignSubnets are those of a bridge of the administrator that is named and no
// subnet with it.
func foreignSubnets(s *builder, c *netlink.Conn, n *Network) error {
	link, err := bridge.Find(c, n.Device)
	if err == nil && link == nil && n.unmanaged() {
		return noBridge(n)
	}
	if err != nil || link == nil || bridge.Owner(link) != "" {
		return err
	}
	l := live{Network: n}
	return foreign(c, &l, link)
}

// defaults is the subnet that the default bridge would have, if it has none yet:
// it is to be the pools' first one, as people know it.
func (s *builder) defaults(taken []netip.Prefix) []netip.Prefix {
	if a := s.settings.Address; a.IsValid() {
		return []netip.Prefix{a.Masked()}
	}
	var l live
	if found, err := s.files.Get("nets", s.builtIn()[0].ID, &l); err != nil || found || s.settings.Bridge != "" {
		return nil
	}
	p, err := ipam.Choose(s.pools(), taken, false)
	if err != nil {
		return nil
	}
	return []netip.Prefix{p}
}

// complete fills in the gateway and refuses addresses that are not of the subnet.
func (sub *Subnet) complete() error {
	if !sub.Gateway.IsValid() {
		sub.Gateway = sub.Prefix.Addr().Next()
	}
	if !sub.Prefix.Contains(sub.Gateway) {
		return fault.New(fault.Invalid, "no matching subnet for gateway %s", sub.Gateway)
	}
	if sub.Gateway.Is4() && sub.Prefix.Bits() < 31 && (sub.Gateway == sub.Prefix.Addr() || sub.Gateway == ipam.Last(sub.Prefix)) {
		return fault.New(fault.Invalid, "gateway %s cannot be the address of a host in %s", sub.Gateway, sub.Prefix)
	}
	if sub.Range.IsValid() && (!sub.Prefix.Overlaps(sub.Range) || sub.Range.Bits() < sub.Prefix.Bits()) {
		return fault.New(fault.Invalid, "no matching subnet for range %s", sub.Range)
	}
	for _, a := range sub.Aux {
		if !sub.Prefix.Contains(a) {
			return fault.New(fault.Invalid, "no matching subnet for aux-address %s", a)
		}
	}
	return nil
}

// ownPrefix is a unique local prefix (RFC 4193), the network's own.
func ownPrefix(id string) netip.Prefix {
	sum := sha256.Sum256([]byte("prefix " + id))
	b := [16]byte{0xfd}
	copy(b[1:8], sum[:])
	return netip.PrefixFrom(netip.AddrFrom16(b), 64)
}

// unlinked begins the name of a record that has no other yet.
const unlinked = ".new-"

// save writes a new record: complete, durable, then linked to its name.
func (s *records) save(n *Network) error {
	data, err := json.Marshal(n)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(s.root, 0o700); err != nil {
		return err
	}
	staged := filepath.Join(s.root, unlinked+n.ID)
	if err := atomicfile.Write(staged, data, 0o600, atomicfile.Sync); err != nil {
		return err
	}
	defer os.Remove(staged)
	err = os.Link(staged, s.file(n.Name))
	if errors.Is(err, fs.ErrExist) {
		return exists(n.Name)
	}
	if err != nil {
		return fmt.Errorf("write the record of network %s: %w", n.Name, err)
	}
	return atomicfile.SyncDir(s.root)
}

// file is the record of a network by name. Any name can be a file's, its odd
// characters escaped, and a dot in front, which hides.
func (s *records) file(name string) string {
	base := url.PathEscape(name)
	if rest, ok := strings.CutPrefix(base, "."); ok {
		base = "%2E" + rest
	}
	return filepath.Join(s.root, base+".json")
}
