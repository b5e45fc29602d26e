// Package record is what a network is asked to be: its record on disk, the options and
// modes that people give it, in Docker's words, and what they mean. It makes nothing, and
// asks the kernel nothing. Row 3, for room network.
package record

import (
	"cmp"
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

	"berth/base/atomicfile"
	"berth/base/fault"
)

// Records are the networks that somebody made, and those built in, in a folder.
type Records struct {
	Root     string
	Settings Settings
}

// Unlinked begins the name of a record that has no other yet.
const Unlinked = ".new-"

// Save writes a new record: complete, durable, then linked to its name.
func (s *Records) Save(n *Network) error {
	data, err := json.Marshal(n)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(s.Root, 0o700); err != nil {
		return err
	}
	staged := filepath.Join(s.Root, Unlinked+n.ID)
	if err := atomicfile.Write(staged, data, 0o600, atomicfile.Sync); err != nil {
		return err
	}
	defer os.Remove(staged)
	err = os.Link(staged, s.File(n.Name))
	if errors.Is(err, fs.ErrExist) {
		return Exists(n.Name)
	}
	if err != nil {
		return fmt.Errorf("write the record of network %s: %w", n.Name, err)
	}
	return atomicfile.SyncDir(s.Root)
}

// Rewrite writes a changed record.
func (s *Records) Rewrite(n *Network) error {
	data, err := json.Marshal(n)
	if err != nil {
		return err
	}
	if err := atomicfile.Write(s.File(n.Name), data, 0o600, atomicfile.Sync); err != nil {
		return fmt.Errorf("write the record of network %s: %w", n.Name, err)
	}
	return nil
}

// Remove removes a record.
func (s *Records) Remove(n *Network) error {
	if err := os.Remove(s.File(n.Name)); err != nil {
		return fmt.Errorf("remove network %s: %w", n.Name, err)
	}
	return atomicfile.SyncDir(s.Root)
}

// Load reads the record of a network by its name.
func (s *Records) Load(name string) (*Network, error) { return s.read(s.File(name)) }

// File is the record of a network by name. Any name can be a file's, its odd
// characters escaped, and a dot in front, which hides.
func (s *Records) File(name string) string {
	base := url.PathEscape(name)
	if rest, ok := strings.CutPrefix(base, "."); ok {
		base = "%2E" + rest
	}
	return filepath.Join(s.Root, base+".json")
}

// Exists is the error for a name that is taken.
func Exists(name string) error {
	return fault.New(fault.Exists, "network with name %s already exists", name)
}

// Still refuses a network whose record was removed meanwhile. The caller holds
// its lock.
func (s *Records) Still(n *Network) error {
	if s.IsBuiltIn(n.ID) {
		return nil
	}
	if now, err := s.Load(n.Name); err == nil && now.ID == n.ID {
		return nil
	}
	return fault.New(fault.NotFound, "network %s not found", n.Name)
}

// IsBuiltIn reports whether an id is of one of BuiltIn.
func (s *Records) IsBuiltIn(id string) bool {
	return slices.ContainsFunc(s.BuiltIn(), func(b *Network) bool { return b.ID == id })
}

// Recorded reports whether somebody made a network of that id.
func (s *Records) Recorded(id string) bool {
	made, err := s.Made()
	return err != nil || slices.ContainsFunc(made, func(n *Network) bool { return n.ID == id })
}

// recordVersion is of the form of Network.
const recordVersion = 1

// BuiltIn are the networks that are always there. Their ids are the same for as
// long as the store is.
func (s *Records) BuiltIn() []*Network {
	list := []*Network{
		{Name: Default, Driver: "bridge", IPv6: s.Settings.IPv6, Options: map[string]string{
			"com.docker.network.bridge.default_bridge": "true",
			optionICC:     fmt.Sprint(!s.Settings.NoICC),
			optionMasq:    fmt.Sprint(!s.Settings.NoMasq),
			optionBinding: cmp.Or(addressText(s.Settings.PublishAddress), "0.0.0.0"),
			optionName:    cmp.Or(s.Settings.Bridge, "docker0"),
			OptionMTU:     fmt.Sprint(cmp.Or(s.Settings.MTU, s.Settings.UsualMTU, defaultMTU)),
		}},
		{Name: Host, Driver: "host"},
		{Name: None, Driver: "null"},
	}
	for _, n := range list {
		sum := sha256.Sum256([]byte("network " + n.Name + " of " + s.Root))
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

// Made lists the networks that were made, by name.
func (s *Records) Made() ([]*Network, error) {
	list, err := os.ReadDir(s.Root)
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
		n, err := s.read(filepath.Join(s.Root, entry.Name()))
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

func (s *Records) read(path string) (*Network, error) {
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

// Find is Find without what the network is in this boot.
func (s *Records) Find(name string) (*Network, error) {
	all := s.BuiltIn()
	for _, n := range all {
		if n.Name == name || n.ID == name || name == podmanDefault && n.Name == Default {
			return n, nil
		}
	}
	if n, err := s.Load(name); err == nil || !errors.Is(err, fs.ErrNotExist) {
		return n, err
	}
	records, err := s.Made()
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
