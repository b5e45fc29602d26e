package config

import (
	"fmt"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"berth/base/fault"
)

// decides is what a word of -v's third part decides, "" if it is none; a part
// has at most one word of each.
func decides(word string) string {
	switch word {
	case "rw", "ro":
		return "access"
	case "z", "Z":
		return "label"
	case "nocopy", "copy":
		return "copy"
	case "consistent", "cached", "delegated":
		return "consistency"
	case "private", "rprivate", "shared", "rshared", "slave", "rslave":
		return "propagation"
	case "bind", "rbind":
		return "depth"
	case "U":
		return "owner"
	case "exec", "noexec":
		return "exec"
	case "dev", "nodev":
		return "dev"
	case "suid", "nosuid":
		return "suid"
	}
	if word == "idmap" || strings.HasPrefix(word, "idmap=") {
		return "idmap"
	}
	return ""
}

// modeOf parts the third part of -v into its words by what they decide.
func modeOf(mode string) (map[string]string, bool) {
	found := map[string]string{}
	if mode == "" {
		return found, true
	}
	for word := range strings.SplitSeq(mode, ",") {
		kind := decides(word)
		if kind == "" || found[kind] != "" {
			return nil, false
		}
		found[kind] = word
	}
	return found, true
}

// ParseBind reads docker's short form of a mount, SOURCE:TARGET[:MODE] or
// TARGET alone, as -v and the API's Binds have it. A source that is an absolute
// path is bound, any other names a volume. The errors are fault.Invalid.
func ParseBind(spec string) (Mount, error) {
	bad := fault.New(fault.Invalid, "invalid volume specification: '%s'", spec)
	parts := strings.Split(spec, ":")
	if len(parts) > 3 || parts[0] == "" {
		return Mount{}, bad
	}
	m := Mount{Kind: MountVolume, Syntax: "-v"}
	mode := ""
	switch len(parts) {
	case 1:
		m.Target = parts[0]
	case 2:
		if _, isMode := modeOf(parts[1]); isMode {
			return Mount{}, bad
		}
		m.Source, m.Target = parts[0], parts[1]
	case 3:
		m.Source, m.Target, mode = parts[0], parts[1], parts[2]
	}
	words, ok := modeOf(mode)
	if !ok {
		return Mount{}, fault.New(fault.Invalid, "invalid mode: %s", mode)
	}
	if path.IsAbs(m.Source) {
		m.Kind, m.Source, m.CreateSource = MountBind, path.Clean(m.Source), true
	}
	m.words(words)
	if err := m.Check(); err != nil {
		return Mount{}, fault.New(fault.Invalid, "invalid volume specification: '%s': %w", spec, err)
	}
	m.Target = path.Clean(m.Target)
	return m, nil
}

// words sets what the mode's words say.
func (m *Mount) words(words map[string]string) {
	m.ReadOnly = words["access"] == "ro"
	m.NoCopy = words["copy"] == "nocopy"
	m.Propagation = words["propagation"]
	m.NonRecursive = words["depth"] == "bind"
	for _, kind := range []string{"label", "owner", "idmap", "exec", "dev", "suid"} {
		if w := words[kind]; w != "" {
			m.Options = append(m.Options, w)
		}
	}
}

var propagations = []string{"", "private", "rprivate", "shared", "rshared", "slave", "rslave"}

// Check says what is wrong with a mount by itself, in the words that docker's
// users know; the errors are fault.Invalid. It looks at no path.
func (m *Mount) Check() error {
	text := m.fault()
	if text == "" {
		return nil
	}
	return fault.New(fault.Invalid, "invalid mount config for type %q: %s", m.Kind, text)
}

func (m *Mount) fault() string {
	if !slices.Contains([]string{MountBind, MountVolume, MountTmpfs, MountImage}, m.Kind) {
		return "mount type unknown"
	}
	switch {
	case m.Target == "":
		return "field Target must not be empty"
	case !path.IsAbs(m.Target):
		return fmt.Sprintf("invalid mount path: '%s' mount path must be absolute", m.Target)
	case path.Clean(m.Target) == "/":
		return "invalid specification: destination can't be '/'"
	}
	switch m.Kind {
	case MountBind:
		return m.bindFault()
	case MountVolume:
		return m.volumeFault()
	case MountTmpfs:
		if m.Source != "" {
			return "field Source must not be specified"
		}
		if m.Subpath != "" {
			return "field Subpath must not be specified"
		}
	case MountImage:
		if m.Source == "" {
			return "field Source must not be empty"
		}
		if m.Subpath != "" && !filepath.IsLocal(m.Subpath) {
			return "subpath must be a relative path within the image"
		}
	}
	return ""
}

func (m *Mount) bindFault() string {
	switch {
	case m.Source == "":
		return "field Source must not be empty"
	case m.NoCopy || m.hasVolumeOptions():
		return "field VolumeOptions must not be specified"
	case m.Subpath != "":
		return "field Subpath must not be specified"
	case !slices.Contains(propagations, m.Propagation):
		return "invalid propagation mode: " + m.Propagation
	case !path.IsAbs(m.Source):
		return fmt.Sprintf("invalid mount path: '%s' mount path must be absolute", m.Source)
	}
	return ""
}

func (m *Mount) volumeFault() string {
	switch {
	case m.Propagation != "" || m.NonRecursive || m.ReadOnlyRecursive != "":
		return "field BindOptions must not be specified"
	case m.Source == "" && m.ReadOnly:
		return "must not set ReadOnly mode when using anonymous volumes"
	case m.Source == "" && m.Subpath != "":
		return "must not set Subpath when using anonymous volumes"
	case m.Subpath != "" && !filepath.IsLocal(m.Subpath):
		return "subpath must be a relative path within the volume"
	}
	return ""
}

func (m *Mount) hasVolumeOptions() bool {
	return m.VolumeDriver != "" || len(m.VolumeOpts) > 0 || len(m.VolumeLabels) > 0
}
