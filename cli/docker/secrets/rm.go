package secrets

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/pflag"

	"berth/base/fault"
	"berth/cli/docker/command"
)

// Remove is podman's secret rm: it prints the ids.
type Remove struct{ all, ignore bool }

func (v *Remove) Flags(f *pflag.FlagSet) {
	f.BoolVarP(&v.all, "all", "a", false, "Remove all secrets")
	f.BoolVarP(&v.ignore, "ignore", "i", false, "Ignore errors when a specified secret is missing")
}

func (v *Remove) Run(ctx context.Context, c *command.Call, words []string) error {
	switch {
	case v.all && len(words) > 0:
		return errors.New("`podman secret rm --all` takes no arguments")
	case !v.all && len(words) == 0:
		return errors.New("choose at least one secret, or all with --all")
	}
	e, err := open(c)
	if err != nil {
		return err
	}
	if v.all {
		list, err := e.SecretList(ctx, nil)
		if err != nil {
			return command.FromEngine(err)
		}
		for i := range list {
			words = append(words, list[i].Name)
		}
	}
	var failed []error
	for _, name := range words {
		id, err := e.SecretRemove(ctx, name)
		switch {
		case err == nil:
			fmt.Fprintln(c.Out, id)
		case v.ignore && fault.Is(err, fault.NotFound):
		default:
			failed = append(failed, command.FromEngine(err))
		}
	}
	return errors.Join(failed...)
}

// Exists is podman's secret exists: it says nothing but its exit code.
type Exists struct{}

func (v *Exists) Flags(*pflag.FlagSet) {}

func (v *Exists) Run(ctx context.Context, c *command.Call, words []string) error {
	e, err := open(c)
	if err != nil {
		return err
	}
	_, err = e.SecretInspect(ctx, words[0])
	return command.Existing(err)
}
