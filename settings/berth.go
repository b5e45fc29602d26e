package settings

import (
	"fmt"
	"maps"
	"path/filepath"
	"slices"

	"github.com/pelletier/go-toml/v2"

	"berth/base/fault"
)

// berthKeys are the keys of berth.toml.
var berthKeys = []string{"data-root", "run-root", "registry-mirrors", "insecure-registries", "firewall", "uplink"}

type berthFile struct {
	DataRoot string   `toml:"data-root"`
	RunRoot  string   `toml:"run-root"`
	Mirrors  []string `toml:"registry-mirrors"`
	Insecure []string `toml:"insecure-registries"`
	Firewall struct {
		Integrate *bool `toml:"integrate"`
	} `toml:"firewall"`
	Uplink struct {
		Host *bool `toml:"host"`
	} `toml:"uplink"`
}

// Uplink is the way out of an ordinary user's networks (uplink of berth.toml).
type Uplink struct {
	Host bool // containers reach the host's own addresses
}

// toml reads one berth.toml over what was found before; a list replaces a list.
func (s *Settings) toml(file string) error {
	data, err := read(file)
	if err != nil || len(data) == 0 {
		return err
	}
	var b berthFile
	var all map[string]any
	for _, into := range []any{&b, &all} {
		if err := toml.Unmarshal(data, into); err != nil {
			return fault.Wrap(fault.Invalid, fmt.Errorf("read the settings in %s: %w", file, err))
		}
	}
	for _, key := range slices.Sorted(maps.Keys(all)) {
		if !slices.Contains(berthKeys, key) {
			s.Unknown = append(s.Unknown, file+": "+key)
		}
	}
	for _, folder := range []struct {
		key, value string
		into       *string
	}{{"data-root", b.DataRoot, &s.Root}, {"run-root", b.RunRoot, &s.Run}} {
		if folder.value == "" {
			continue
		}
		if !filepath.IsAbs(folder.value) {
			return fault.New(fault.Invalid, "read the settings in %s: %s %q is no absolute path", file, folder.key, folder.value)
		}
		*folder.into = folder.value
	}
	if b.Mirrors != nil {
		s.Mirrors = b.Mirrors
	}
	if b.Insecure != nil {
		s.Insecure = b.Insecure
	}
	if b.Firewall.Integrate != nil {
		s.Network.Integrate = *b.Firewall.Integrate
	}
	if b.Uplink.Host != nil {
		s.Uplink.Host = *b.Uplink.Host
	}
	return nil
}
