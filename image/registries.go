package image

import (
	"context"
	"strings"

	"berth/base/fault"
	"berth/image/ref"
)

// Registries speaks to registries about things that are no images here.
type Registries struct{ store *Store }

// Found is one line of search.
type Found struct {
	Index, Name, Description string
	Stars                    int
	Official, Automated      bool
}

// Search asks the registry's search endpoint; term may begin with a registry.
// Filters: stars, is-official, is-automated. limit 0 is 25.
func (r *Registries) Search(ctx context.Context, term string, limit int, filters map[string][]string, a Access) ([]Found, error) {
	registries := []string{ref.DefaultDomain}
	if first, rest, ok := strings.Cut(term, "/"); ok && (strings.ContainsAny(first, ".:") || first == ref.LocalDomain) {
		registries, term = []string{first}, rest
	} else if r.store.opts.Podman {
		table, err := r.store.hosts()
		if err != nil {
			return nil, err
		}
		if list := table.SearchRegistries(); len(list) > 0 {
			registries = list
		}
	}
	client, err := r.store.client(a, nil)
	if err != nil {
		return nil, err
	}
	defer client.Close()
	var out []Found
	for _, reg := range registries {
		found, err := client.Search(ctx, reg, term, limit, filters)
		if err != nil {
			return nil, err
		}
		for _, f := range found {
			name := f.Name
			if r.store.opts.Podman || reg != ref.DefaultDomain {
				name = reg + "/" + name
			}
			out = append(out, Found{Index: reg, Name: name, Description: f.Description, Stars: f.Stars, Official: f.Official, Automated: f.Automated})
		}
	}
	return out, nil
}

// Tags lists the tags that a repository (a canonical name) has at its registry.
func (r *Registries) Tags(ctx context.Context, name string, a Access) ([]string, error) {
	repository, err := ref.Stored(name)
	if err != nil {
		return nil, err
	}
	client, err := r.store.client(a, nil)
	if err != nil {
		return nil, err
	}
	defer client.Close()
	return client.Tags(ctx, repository)
}

// Login verifies the credential and keeps it, in the access's file or the
// dialect's own. It tells where.
func (r *Registries) Login(ctx context.Context, registry string, c Credential, a Access) (where string, err error) {
	client, err := r.store.client(a, nil)
	if err != nil {
		return "", err
	}
	defer client.Close()
	if registry == "" {
		registry = ref.DefaultDomain
	}
	kept, err := client.Login(ctx, registry, c.kept())
	if err != nil {
		return "", err
	}
	return r.store.credentials(a.AuthFile).Save(ctx, registry, kept)
}

// Logout forgets a credential, all of them if all is set.
func (r *Registries) Logout(ctx context.Context, registry, file string, all bool) error {
	keeper := r.store.credentials(file)
	if registry == "" {
		registry = ref.DefaultDomain
	}
	keys := []string{registry}
	if all {
		var err error
		if keys, err = keeper.Keys(); err != nil {
			return err
		}
	}
	for _, k := range keys {
		if err := keeper.Erase(ctx, k); err != nil {
			return err
		}
	}
	return nil
}

// LoggedIn gives what is kept for a registry: kind NotFound if that is nothing.
func (r *Registries) LoggedIn(ctx context.Context, registry, file string) (Credential, error) {
	c, err := r.store.credentials(file).Lookup(ctx, registry, "")
	if err != nil {
		return Credential{}, err
	}
	if c.Empty() {
		return Credential{}, fault.New(fault.NotFound, "not logged into %s", registry)
	}
	return Credential{Username: c.Username, Password: c.Password, IdentityToken: c.IdentityToken, RegistryToken: c.RegistryToken}, nil
}
