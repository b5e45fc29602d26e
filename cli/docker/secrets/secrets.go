// Package secrets is podman's verbs on secrets, one file a verb or two. Docker's
// own are swarm's, of another kind. What it needs of the engine is below. Row 6.
package secrets

import (
	"context"
	"time"

	"berth/cli/docker/command"
	"berth/engine"
	"berth/secret"
)

// Secret is one secret as lists and inspect show it.
type Secret struct {
	ID, Name         string
	Created, Updated time.Time
	Labels, Options  map[string]string
	Data             []byte
}

// Engine is what the verbs need of the engine. A secret is named by its name,
// its id or a unique prefix of that.
type Engine interface {
	SecretCreate(ctx context.Context, s Secret, replace bool) (id string, err error)
	SecretList(ctx context.Context, filters map[string][]string) ([]Secret, error)
	SecretInspect(ctx context.Context, name string) (Secret, error)
	SecretRemove(ctx context.Context, name string) (id string, err error)
}

// open gives the engine's verbs on secrets.
func open(c *command.Call) (Engine, error) {
	e, err := c.OpenContainers()
	if err != nil {
		return nil, err
	}
	return live{e}, nil
}

// live is Engine on the engine of this machine.
type live struct{ e *engine.Engine }

func (l live) SecretCreate(ctx context.Context, s Secret, replace bool) (string, error) {
	return engine.SecretCreate(ctx, l.e, secret.Secret{Name: s.Name, Labels: s.Labels, Options: s.Options, Data: s.Data}, replace)
}

func (l live) SecretList(ctx context.Context, filters map[string][]string) ([]Secret, error) {
	all, err := engine.Secrets(ctx, l.e, filters)
	if err != nil {
		return nil, err
	}
	out := make([]Secret, 0, len(all))
	for i := range all {
		out = append(out, secretOf(&all[i]))
	}
	return out, nil
}

func (l live) SecretInspect(_ context.Context, name string) (Secret, error) {
	s, err := l.e.Secrets.Get(name)
	if err != nil {
		return Secret{}, err
	}
	return secretOf(s), nil
}

func (l live) SecretRemove(ctx context.Context, name string) (string, error) {
	return engine.SecretRemove(ctx, l.e, name)
}

func secretOf(s *secret.Secret) Secret {
	return Secret{ID: s.ID, Name: s.Name, Created: s.Created, Updated: s.Updated, Labels: s.Labels, Options: s.Options, Data: s.Data}
}
