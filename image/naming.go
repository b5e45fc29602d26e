package image

import (
	"context"
	"path"
	"slices"
	"strings"

	"berth/base/fault"
	"berth/image/builtin"
	"berth/image/ref"
)

// dangling is what the names of images without a name begin with; the digest
// of the target follows. It is no reference, so nobody can type it.
const dangling = "dangling@"

// Name turns what a user typed into a canonical name (registry/path:tag or
// registry/path@digest), in the store's dialect. Docker's error texts. In
// podman's words a short name becomes the first of its candidates.
func (s *Store) Name(typed string) (string, error) {
	r, err := s.parse(typed)
	if err != nil {
		return "", err
	}
	return r.OrLatest().Pinned().String(), nil
}

func (s *Store) parse(typed string) (ref.Ref, error) {
	all, err := s.candidates(typed)
	if err != nil {
		return ref.Ref{}, err
	}
	return all[0], nil
}

// candidates are the names that what was typed may mean for a pull, best first.
func (s *Store) candidates(typed string) ([]ref.Ref, error) {
	if !s.opts.Podman {
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
	table, err := s.hosts()
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
func (s *Store) local(typed string) ([]ref.Ref, error) {
	if s.opts.Podman {
		r, err := ref.Podman(typed)
		if err != nil {
			return nil, err
		}
		if !r.IsShort() {
			return []ref.Ref{r.OrLatest()}, nil
		}
		out := []ref.Ref{r.On(ref.LocalDomain).OrLatest()}
		if more, err := s.candidates(typed); err == nil {
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
func (s *Store) Familiar(canonical string) string {
	r, err := ref.Stored(canonical)
	if err != nil || s.opts.Podman {
		return canonical
	}
	return r.Familiar()
}

// Find finds an image by name, id or unique id prefix. Error: kind NotFound
// with docker's or podman's words.
func (s *Store) Find(ctx context.Context, nameOrID string) (Image, error) {
	img, _, err := s.find(ctx, nameOrID)
	return img, err
}

// find also gives the name that matched, "" if an id did. The built-in image is
// made when it is first looked for.
func (s *Store) find(ctx context.Context, nameOrID string) (Image, string, error) {
	all, err := s.catalog(ctx)
	if err != nil {
		return Image{}, "", err
	}
	img, name, err := s.findIn(all, nameOrID)
	if err == nil {
		return img.Image, name, nil
	}
	if fault.Is(err, fault.NotFound) && isBaseTyped(s, nameOrID) {
		if err := s.provideBase(ctx); err != nil {
			return Image{}, "", err
		}
		if all, err = s.catalog(ctx); err != nil {
			return Image{}, "", err
		}
		if img, name, err = s.findIn(all, builtin.Name); err == nil {
			return img.Image, name, nil
		}
	}
	return Image{}, "", err
}

// findIn looks in a catalog, in docker's order: name, then id.
func (s *Store) findIn(all []named, nameOrID string) (*named, string, error) {
	if nameOrID == "" {
		return nil, "", fault.New(fault.Invalid, "invalid reference format")
	}
	prefix, mayBeID := ref.IDPrefix(nameOrID)
	if _, whole := ref.ID(nameOrID); !whole {
		refs, err := s.local(nameOrID)
		if err != nil && !mayBeID {
			return nil, "", err
		}
		for _, r := range refs {
			name := r.Pinned().String()
			for i := range all {
				switch {
				case slices.Contains(all[i].keys, name):
					return &all[i], name, nil
				case slices.Contains(all[i].Digests, name):
					// Named by its digest alone, which a tag stands for here.
					return &all[i], "", nil
				}
			}
		}
	}
	var found *named
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
		return nil, "", s.noSuch(nameOrID)
	}
	return found, "", nil
}

func (s *Store) noSuch(nameOrID string) error {
	if s.opts.Podman {
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

// isBaseTyped says that a user means the built-in image.
func isBaseTyped(s *Store, typed string) bool {
	refs, err := s.local(typed)
	return err == nil && slices.ContainsFunc(refs, func(r ref.Ref) bool { return isBase(r.String()) })
}

// isBase says that a name means the built-in image.
func isBase(name string) bool {
	return name == builtin.Name || strings.TrimPrefix(name, "docker.io/") == strings.TrimPrefix(builtin.Name, ref.LocalDomain+"/")
}

// matches is the filter reference=PATTERN: docker's, on familiar names.
func matches(pattern, canonical string) bool {
	r, err := ref.Stored(canonical)
	if err != nil {
		return false
	}
	for _, name := range []string{r.Familiar(), r.FamiliarName(), r.String(), r.Name()} {
		if ok, _ := path.Match(pattern, name); ok {
			return true
		}
	}
	return false
}
