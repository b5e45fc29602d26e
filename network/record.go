package network

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
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
	"berth/sys/netlink"
)

// recordVersion is of the form of Network.
const recordVersion = 1

// CreateRequest is network create.
type CreateRequest struct {
	Network // ID, Created, Device may be empty; subnets without Prefix or Gateway are completed
}

// builtIn are the networks that are always there. Their ids are the same for as
// long as the store is.
func (s *records) builtIn() []*Network {
	list := []*Network{
		{Name: Default, Driver: "bridge", Options: map[string]string{
			"com.docker.network.bridge.default_bridge": "true",
			optionICC:     fmt.Sprint(!s.settings.NoICC),
			optionMasq:    fmt.Sprint(!s.settings.NoMasq),
			optionBinding: cmp.Or(addressText(s.settings.PublishAddress), "0.0.0.0"),
			optionName:    cmp.Or(s.settings.Bridge, "docker0"),
			optionMTU:     fmt.Sprint(cmp.Or(s.settings.MTU, defaultMTU)),
		}},
		{Name: Host, Driver: "host"},
		{Name: None, Driver: "null"},
	}
	for _, n := range list {
		sum := sha256.Sum256([]byte("network " + n.Name + " of " + s.root))
		n.Version, n.ID = recordVersion, hex.EncodeToString(sum[:])
	}
	return list
}

func addressText(a netip.Addr) string {
	if !a.IsValid() {
		return ""
	}
	return a.String()
}

// file is the record of a network by name. Any name can be a file's, its odd
// characters escaped.
func (s *records) file(name string) string {
	return filepath.Join(s.root, url.PathEscape(name)+".json")
}

// Create makes a network: its record; the device comes with its first
// container. Kinds: Exists the name, Conflict a subnet in use, Unavailable no
// pool left, Invalid.
func (s *Store) Create(ctx context.Context, r CreateRequest) (*Network, error) {
	n := r.Network
	if err := s.complete(&n); err != nil {
		return nil, err
	}
	c, err := netlink.Open()
	if err != nil {
		return nil, err
	}
	defer c.Close()
	held, err := s.lock("choose", flock.Lock)
	if err != nil {
		return nil, err
	}
	defer held.Unlock()
	if err := s.subnets(c, &n); err != nil {
		return nil, err
	}
	return &n, s.save(&n)
}

// complete fills in what was not asked for and refuses what cannot be.
func (s *records) complete(n *Network) error {
	if strings.TrimSpace(n.Name) == "" || len(url.PathEscape(n.Name)) > 200 || strings.ContainsAny(n.Name, "\x00\r\n/") {
		return fault.New(fault.Invalid, "invalid network name: %.80q", n.Name)
	}
	if slices.ContainsFunc(s.builtIn(), func(b *Network) bool { return b.Name == n.Name }) {
		return fault.New(fault.Exists, "network with name %s already exists", n.Name)
	}
	n.Driver = cmp.Or(n.Driver, "bridge")
	if n.Driver != "bridge" {
		return fault.New(fault.Unsupported, "network driver %.40q is not known", n.Driver)
	}
	if err := checkOptions(n.Options); err != nil {
		return err
	}
	n.Version, n.ID, n.Created = recordVersion, ids.Hex(32), time.Now().UTC()
	n.Device = cmp.Or(n.Options[optionName], "br-"+n.ID[:12])
	return nil
}

// subnets completes the subnets of a new network, clear of all others.
func (s *builder) subnets(c *netlink.Conn, n *Network) error {
	taken, err := s.takenSubnets(c, n.Device)
	if err != nil {
		return err
	}
	has := func(v6 bool) bool {
		return slices.ContainsFunc(n.Subnets, func(sub Subnet) bool { return sub.Prefix.IsValid() && sub.Prefix.Addr().Is6() == v6 })
	}
	n.Subnets = slices.DeleteFunc(n.Subnets, func(sub Subnet) bool { return !sub.Prefix.IsValid() })
	if !has(false) {
		p, err := ipam.Choose(s.pools(), taken, false)
		if err != nil {
			return err
		}
		n.Subnets = append([]Subnet{{Prefix: p}}, n.Subnets...)
	}
	if n.IPv6 && !has(true) {
		n.Subnets = append(n.Subnets, Subnet{Prefix: ownPrefix(n.ID)})
	}
	for i := range n.Subnets {
		sub := &n.Subnets[i]
		sub.Prefix = sub.Prefix.Masked()
		if !ipam.Free(sub.Prefix, taken) {
			return fault.New(fault.Conflict, "Pool overlaps with other one on this address space")
		}
		taken = append(taken, sub.Prefix)
		if !sub.Gateway.IsValid() {
			sub.Gateway = sub.Prefix.Addr().Next()
		}
		if !sub.Prefix.Contains(sub.Gateway) {
			return fault.New(fault.Invalid, "no matching subnet for gateway %s", sub.Gateway)
		}
		if sub.Range.IsValid() && (!sub.Prefix.Overlaps(sub.Range) || sub.Range.Bits() < sub.Prefix.Bits()) {
			return fault.New(fault.Invalid, "no matching subnet for range %s", sub.Range)
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
		return fault.New(fault.Exists, "network with name %s already exists", n.Name)
	}
	if err != nil {
		return err
	}
	return atomicfile.SyncDir(s.root)
}

// recordLimit is more than any record has, in bytes.
const recordLimit = 1 << 20

// records lists the networks that were made, by name.
func (s *records) made() ([]*Network, error) {
	list, err := os.ReadDir(s.root)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("list networks: %w", err)
	}
	var out []*Network
	for _, entry := range list {
		if !strings.HasSuffix(entry.Name(), ".json") || strings.HasPrefix(entry.Name(), ".") {
			continue
		}
		n, err := s.read(filepath.Join(s.root, entry.Name()))
		if errors.Is(err, fs.ErrNotExist) {
			continue // removed meanwhile
		}
		if err != nil {
			return nil, err
		}
		out = append(out, n)
	}
	return out, nil
}

func (s *records) read(path string) (*Network, error) {
	data, err := atomicfile.ReadCapped(path, recordLimit)
	if err != nil {
		return nil, err
	}
	var n Network
	if err := json.Unmarshal(data, &n); err != nil {
		return nil, fault.New(fault.Invalid, "read the network's record %s: %w", path, err)
	}
	if n.Version != recordVersion {
		return nil, fault.New(fault.Unsupported, "read the network's record %s: form %d, this berth knows %d", path, n.Version, recordVersion)
	}
	return &n, nil
}

// Find finds a network by name, id or unique beginning of an id.
func (s *Store) Find(name string) (*Network, error) {
	n, err := s.find(name)
	if err != nil {
		return nil, err
	}
	return s.settled(n), nil
}

// find is Find without what the network is in this boot.
func (s *records) find(name string) (*Network, error) {
	all := s.builtIn()
	for _, n := range all {
		if n.Name == name || n.ID == name || name == podmanDefault && n.Name == Default {
			return n, nil
		}
	}
	if n, err := s.read(s.file(name)); err == nil || !errors.Is(err, fs.ErrNotExist) {
		return n, err
	}
	records, err := s.made()
	if err != nil {
		return nil, err
	}
	var found []*Network
	for _, n := range append(all, records...) {
		if n.ID == name {
			return n, nil
		}
		if name != "" && strings.HasPrefix(n.ID, name) {
			found = append(found, n)
		}
	}
	switch len(found) {
	case 0:
		return nil, fault.New(fault.NotFound, "network %s not found", name)
	case 1:
		return found[0], nil
	}
	return nil, fault.New(fault.Invalid, "network %s is ambiguous (%d matches found on ID prefix)", name, len(found))
}

// podmanDefault is podman's name of the default network.
const podmanDefault = "podman"

// settled adds to a network what it is in this boot.
func (s *Store) settled(n *Network) *Network {
	var l live
	if found, err := s.get("nets", n.ID, &l); err == nil && found {
		n.Device, n.Subnets = l.Network.Device, l.Network.Subnets
	}
	return n
}

// List lists all networks, the three built in too, by name.
func (s *Store) List() ([]*Network, error) {
	records, err := s.made()
	if err != nil {
		return nil, err
	}
	list := append(s.builtIn(), records...)
	for _, n := range list {
		s.settled(n)
	}
	slices.SortFunc(list, func(a, b *Network) int { return strings.Compare(a.Name, b.Name) })
	return list, nil
}

// Containers lists what is on a network now, by container.
func (s *Store) Containers(n *Network) ([]*Attachment, error) {
	all, err := s.endpointFiles()
	if err != nil {
		return nil, err
	}
	var list []*Attachment
	for _, e := range all {
		if e.State == stateUp && slices.ContainsFunc(e.Endpoints, func(a Attached) bool { return a.NetworkID == n.ID }) {
			list = append(list, e.attachment())
		}
	}
	return list, nil
}

// Remove removes a network and its device: kind Conflict while a container is
// on it or it is built in.
func (s *Store) Remove(ctx context.Context, n *Network) error {
	if slices.ContainsFunc(s.builtIn(), func(b *Network) bool { return b.ID == n.ID }) {
		return fault.New(fault.Conflict, "%s is a pre-defined network and cannot be removed", n.Name)
	}
	held, err := s.lock(n.ID, flock.Lock)
	if err != nil {
		return err
	}
	defer held.Unlock()
	on, err := s.Containers(n)
	if err != nil {
		return err
	}
	if len(on) > 0 {
		return fault.New(fault.Conflict, "error while removing network: network %s id %s has active endpoints", n.Name, n.ID)
	}
	// The record first: without it nobody comes to the network any more.
	if err := os.Remove(s.file(n.Name)); err != nil {
		return fmt.Errorf("remove network %s: %w", n.Name, err)
	}
	if err := atomicfile.SyncDir(s.root); err != nil {
		return err
	}
	if err := s.tearDown(n); err != nil {
		return err
	}
	return held.Remove()
}

// tearDown takes away what a network has in this boot.
func (s *builder) tearDown(n *Network) error {
	var l live
	found, err := s.get("nets", n.ID, &l)
	if err != nil {
		return err
	}
	if found {
		c, err := netlink.Open()
		if err != nil {
			return err
		}
		defer c.Close()
		// Without its file a firewall that is mended does not get it back.
		if err := s.drop("nets", n.ID); err != nil {
			return err
		}
		if err := s.change(nil, l.firewall().Elements()); err != nil {
			return err
		}
		if !l.Foreign {
			if err := bridge.Remove(c, l.Network.Device); err != nil {
				return err
			}
		}
	}
	return s.book().Clear(n.ID)
}
