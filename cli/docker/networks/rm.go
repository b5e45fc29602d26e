package networks

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/pflag"

	"berth/base/fault"
	"berth/cli/docker/command"
	"berth/cli/docker/images"
	"berth/cli/term"
)

// Remove is network rm.
type Remove struct{ force bool }

func (v *Remove) Flags(f *pflag.FlagSet) {
	f.BoolVarP(&v.force, "force", "f", false, "Do not error if the network does not exist; in podman's words, remove its containers, too")
	command.Extra(f, "force")
}

func (v *Remove) Run(ctx context.Context, c *command.Call, words []string) error {
	e, err := open(c)
	if err != nil {
		return err
	}
	var failed []error
	for _, name := range words {
		err := e.NetworkRemove(ctx, name, c.Podman(), c.Podman() && v.force)
		if err != nil && !(v.force && !c.Podman() && fault.Is(err, fault.NotFound)) {
			failed = append(failed, missing(c, name, err))
			continue
		}
		if err == nil {
			fmt.Fprintln(c.Out, term.Clean(name))
		}
	}
	if len(failed) > 0 && c.Podman() {
		return &command.Exit{Code: 1, Err: errors.Join(failed...)}
	}
	return errors.Join(failed...)
}

// Prune is network prune.
type Prune struct {
	force   bool
	filters command.Filters
}

func (v *Prune) Flags(f *pflag.FlagSet) {
	f.BoolVarP(&v.force, "force", "f", false, "Do not prompt for confirmation")
	command.FilterFlag(f, &v.filters, "", "Provide filter values (e.g. 'until=<timestamp>')")
}

const pruneWarning = "WARNING! This will remove all custom networks not used by at least one container.\n"

func (v *Prune) Run(ctx context.Context, c *command.Call, _ []string) error {
	if !v.force {
		if yes, err := images.Sure(c, pruneWarning); err != nil || !yes {
			return err
		}
	}
	return PruneUnused(ctx, c, v.filters)
}

// PruneUnused removes the networks that no container is to be on, and lists them.
func PruneUnused(ctx context.Context, c *command.Call, filters command.Filters) error {
	e, err := open(c)
	if err != nil {
		return err
	}
	names, err := e.NetworkPrune(ctx, filters)
	images.PrintDeleted(c, "Networks", names)
	return command.FromEngine(err)
}

// Exists is podman's network exists: it says nothing but its exit code.
type Exists struct{}

func (v *Exists) Flags(*pflag.FlagSet) {}

func (v *Exists) Run(ctx context.Context, c *command.Call, words []string) error {
	e, err := open(c)
	if err != nil {
		return err
	}
	_, err = e.NetworkInspect(ctx, words[0])
	return command.Existing(err)
}
