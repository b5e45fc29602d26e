package image

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"berth/base/fault"
	"berth/image/builtin"
	"berth/image/library"
	"berth/image/ref"
	"berth/image/registry/credential"
	"berth/image/registry/hosts"
)

// dialect is what differs between docker's and podman's words: names, where
// registries are configured, where credentials are kept.
type dialect struct {
	podman bool
	o      Options
	// hosts reads files that most verbs do not need.
	hosts func() (*hosts.Table, error)
}

func newDialect(o Options) dialect {
	d := dialect{podman: o.Podman, o: o}
	d.hosts = sync.OnceValues(func() (*hosts.Table, error) { return hosts.Load(d.hostOptions()) })
	return d
}

func (d dialect) hostOptions() hosts.Options {
	root := d.o.UID == 0
	o := hosts.Docker(os.Getenv, root)
	if d.podman {
		o = hosts.Podman(os.Getenv, root, func(path string) bool { _, err := os.Stat(path); return err == nil })
	}
	o.HostDirs = append(o.HostDirs, filepath.Join(d.o.ConfigDir, "certs.d"))
	o.Mirrors = append(o.Mirrors, d.o.Mirrors...)
	o.Insecure = append(o.Insecure, d.o.Insecure...)
	return o
}

// credentials are those of a file; "" is the dialect's own.
func (d dialect) credentials(file string) *credential.Keeper {
	files := credential.DockerFiles(os.Getenv)
	if d.podman {
		files = credential.PodmanFiles(os.Getenv, d.o.UID)
	}
	if file == "" {
		file = d.o.AuthFile
	}
	if file != "" {
		files = []string{file}
	}
	return credential.New(credential.Options{Files: files})
}

// Name turns what a user typed into a canonical name (registry/path:tag or
// registry/path@digest), in the store's dialect. Docker's error texts. In
// podman's words a short name becomes the first of its candidates.
func (d dialect) Name(typed string) (string, error) {
	r, err := d.parse(typed)
	if err != nil {
		return "", err
	}
	return r.OrLatest().Pinned().String(), nil
}

func (d dialect) parse(typed string) (ref.Ref, error) {
	all, err := d.candidates(typed)
	if err != nil {
		return ref.Ref{}, err
	}
	return all[0], nil
}

// candidates are the names that what was typed may mean for a pull, best first.
func (d dialect) candidates(typed string) ([]ref.Ref, error) {
	if !d.podman {
		r, err := ref.Docker(typed)
		if err != nil {
			return nil, err
		}
		return []ref.Ref{r}, nil
	}
	r, err := ref.Podman(typed)
	if err != nil || !r.IsShort() {
		return []ref.Ref{r}, err
	}
	table, err := d.hosts()
	if err != nil {
		return nil, err
	}
	found, _ := table.Candidates(r.Path)
	var out []ref.Ref
	for _, name := range found {
		c, err := ref.Docker(name)
		if err != nil {
			return nil, fault.New(fault.Invalid, "short name %q stands for %q: %w", r.Path, name, err)
		}
		c.Tag, c.Digest = r.Tag, r.Digest
		out = append(out, c)
	}
	if len(out) == 0 {
		return nil, fault.New(fault.NotFound, "short-name %q did not resolve to an alias and no unqualified-search registries are defined in %q", typed, "/etc/containers/registries.conf")
	}
	return out, nil
}

// local are the names under which an image of this store may be meant.
func (d dialect) local(typed string) ([]ref.Ref, error) {
	if d.podman {
		r, err := ref.Podman(typed)
		if err != nil {
			return nil, err
		}
		if !r.IsShort() {
			return []ref.Ref{r.OrLatest()}, nil
		}
		out := []ref.Ref{r.On(ref.LocalDomain).OrLatest()}
		if more, err := d.candidates(typed); err == nil {
			for _, m := range more {
				out = append(out, m.OrLatest())
			}
		}
		return append(out, r.On(ref.DefaultDomain).OrLatest()), nil
	}
	r, err := ref.Docker(typed)
	if err != nil {
		return nil, err
	}
	out := []ref.Ref{r.OrLatest()}
	// An image made here under podman's words has localhost/ before its name.
	if r.Domain == ref.DefaultDomain {
		short := r
		short.Domain, short.Path = ref.LocalDomain, strings.TrimPrefix(r.Path, "library/")
		out = append(out, short.OrLatest())
	}
	return out, nil
}

// Familiar is a canonical name as the dialect prints it.
func (d dialect) Familiar(canonical string) string {
	r, err := ref.Stored(canonical)
	if err != nil || d.podman {
		return canonical
	}
	return r.Familiar()
}

// findIn looks in a catalog, in docker's order: name, then id.
func (d dialect) findIn(all []library.Entry, nameOrID string) (*library.Entry, string, error) {
	if nameOrID == "" {
		return nil, "", fault.New(fault.Invalid, "invalid reference format")
	}
	prefix, mayBeID := ref.IDPrefix(nameOrID)
	if _, whole := ref.ID(nameOrID); !whole {
		refs, err := d.local(nameOrID)
		if err != nil && !mayBeID {
			return nil, "", err
		}
		for _, r := range refs {
			name := r.Pinned().String()
			for i := range all {
				switch {
				case slices.Contains(all[i].Keys, name):
					return &all[i], name, nil
				case slices.Contains(all[i].Digests, name):
					// Named by its digest alone, which a tag stands for here.
					return &all[i], "", nil
				}
			}
		}
	}
	var found *library.Entry
	for i := range all {
		if !mayBeID || !strings.HasPrefix(all[i].ID.Encoded(), prefix) {
			continue
		}
		if found != nil {
			return nil, "", fault.New(fault.Invalid, "multiple IDs found with provided prefix: %s", nameOrID)
		}
		found = &all[i]
	}
	if found == nil {
		return nil, "", d.noSuch(nameOrID)
	}
	return found, "", nil
}

func (d dialect) noSuch(nameOrID string) error {
	if d.podman {
		return fault.New(fault.NotFound, "%s: image not known", nameOrID)
	}
	// Docker shows the tag that it looked for.
	if r, err := ref.Docker(nameOrID); err == nil {
		if _, id := ref.IDPrefix(nameOrID); !id {
			return fault.New(fault.NotFound, "No such image: %s", r.OrLatest().Familiar())
		}
	}
	return fault.New(fault.NotFound, "No such image: %s", nameOrID)
}

// meansBase says that a user means the built-in image.
func (d dialect) meansBase(typed string) bool {
	refs, err := d.local(typed)
	return err == nil && slices.ContainsFunc(refs, func(r ref.Ref) bool { return isBase(r.String()) })
}

// isBase says that a name means the built-in image.
func isBase(name string) bool {
	return name == builtin.Name || strings.TrimPrefix(name, "docker.io/") == strings.TrimPrefix(builtin.Name, ref.LocalDomain+"/")
}

// target reads a name that an image is to get.
func (d dialect) target(typed string) (ref.Ref, error) {
	parse := ref.Docker
	if d.podman {
		parse = ref.Podman
	}
	r, err := parse(typed)
	if err != nil {
		return r, err
	}
	if r.Digest != "" {
		return r, fault.New(fault.Invalid, "refusing to create a tag with a digest reference")
	}
	return r.On(ref.LocalDomain).OrLatest(), nil
}
