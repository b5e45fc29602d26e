package network

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"berth/base/atomicfile"
	"berth/base/clock"
	"berth/base/fault"
	"berth/base/flock"
	"berth/sys/netlink"
)

// recordVersion is of the form of Network.
const recordVersion = 1

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

// recordLimit is more than any record has, in bytes.
const recordLimit = 1 << 20

// made lists the networks that were made, by name.
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

// settled adds to a network what it is in this boot. One that is built in is as
// old as that.
func (s *Store) settled(n *Network) *Network {
	var l live
	if found, err := s.files.Get("nets", n.ID, &l); err == nil && found {
		n.Device, n.Subnets = l.Network.Device, l.Network.Subnets
		if n.Name == Default {
			n.Options[optionName] = n.Device // docker0 may have been another's
		}
	}
	if n.Created.IsZero() {
		if at, err := clock.BootTime(); err == nil {
			n.Created = at
		}
	}
	return n
}

// Settle decides the subnet of the default bridge, if it has none yet, and gives
// it: its device comes with its first container. It changes no other network.
func (s *Store) Settle(n *Network) (*Network, error) {
	if n.Name != Default || len(n.Subnets) > 0 {
		return n, nil
	}
	c, err := netlink.Open()
	if err != nil {
		return nil, err
	}
	defer c.Close()
	held, err := s.files.Lock(n.ID, flock.Lock)
	if err != nil {
		return nil, err
	}
	defer held.Unlock()
	if _, err := s.decided(c, n); err != nil {
		return nil, err
	}
	return s.settled(n), nil
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

// Attachments lists what all containers have now.
func (s *Store) Attachments() ([]*Attachment, error) {
	all, err := s.endpointFiles()
	if err != nil {
		return nil, err
	}
	var list []*Attachment
	for _, e := range all {
		if e.State == stateUp {
			list = append(list, e.attachment())
		}
	}
	return list, nil
}

// Containers lists what is on a network now, by container.
func (s *Store) Containers(n *Network) ([]*Attachment, error) {
	all, err := s.Attachments()
	return slices.DeleteFunc(all, func(a *Attachment) bool { return a.On(n.ID) == nil }), err
}
