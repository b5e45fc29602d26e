package bundle

import (
	"slices"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// Secrets are what one start gives of them.
type Secrets struct {
	// Folder is where most of the files are: a tmpfs, so that not even their names
	// get into the container's own files.
	Folder string
	Files  []SecretFile
	Env    []string // KEY=value, which win over all others
}

// SecretFile is a file of the host that is bound into the container, owned as it
// is to be: by the host's ids, or with an IDMap by those inside.
type SecretFile struct{ Source, Target, IDMap string }

// secrets are the mounts of the files, behind the user's own.
func (m *maker) secrets(own []specs.Mount) []specs.Mount {
	var out []specs.Mount
	below := func(f SecretFile) bool { return strings.HasPrefix(f.Target, m.in.Secrets.Folder+"/") }
	taken := slices.ContainsFunc(own, func(o specs.Mount) bool { return o.Destination == m.in.Secrets.Folder })
	if !taken && slices.ContainsFunc(m.in.Secrets.Files, below) {
		out = append(out, specs.Mount{Destination: m.in.Secrets.Folder, Type: "tmpfs", Source: "tmpfs",
			Options: []string{"nosuid", "noexec", "nodev", "mode=755", "size=1m"}})
	}
	for _, f := range m.in.Secrets.Files {
		options := []string{"bind", "ro", "nosuid", "noexec", "nodev", "rprivate"}
		if f.IDMap != IDMapNone {
			options = append(options, IDMapTop)
		}
		out = append(out, specs.Mount{Destination: f.Target, Type: "bind", Source: f.Source, Options: options})
	}
	return out
}
