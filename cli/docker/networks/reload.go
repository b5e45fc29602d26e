package networks

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/pflag"

	"berth/cli/docker/command"
	"berth/cli/term"
	"berth/engine"
)

// Reload is network reload: it prints the ids of the containers.
type Reload struct{ all, latest bool }

func (v *Reload) Flags(f *pflag.FlagSet) {
	f.BoolVarP(&v.all, "all", "a", false, "Of all containers that run")
	f.BoolVarP(&v.latest, "latest", "l", false, "Of the newest container")
	command.Extra(f, "all", "latest")
}

func (v *Reload) Run(ctx context.Context, c *command.Call, words []string) error {
	switch {
	case v.all && v.latest:
		return errors.New("--all and --latest cannot be used together")
	case (v.all || v.latest) && len(words) > 0:
		return errors.New("--all and --latest take no container names")
	case !v.all && !v.latest && len(words) == 0:
		return errors.New("you must name a container, or say --all")
	}
	e, err := open(c)
	if err != nil {
		return err
	}
	var failed []error
	r := engine.NetworkReloadRequest{Containers: words, All: v.all, Latest: v.latest}
	err = e.NetworkReload(ctx, r, func(id string, err error) {
		if err != nil {
			failed = append(failed, command.FromEngine(err))
			return
		}
		fmt.Fprintln(c.Out, id)
	})
	return errors.Join(append(failed, command.FromEngine(err))...)
}

// Watch is network watch: a line of each thing that it mended or could not.
type Watch struct{}

func (v *Watch) Flags(*pflag.FlagSet) {}

func (v *Watch) Run(ctx context.Context, c *command.Call, _ []string) error {
	e, err := open(c)
	if err != nil {
		return err
	}
	return command.FromEngine(e.NetworkWatch(ctx, func(mended []string, err error) {
		for _, what := range mended {
			fmt.Fprintln(c.Out, "mended", term.Clean(what))
		}
		if err != nil {
			fmt.Fprintln(c.Err, term.Clean(err.Error()))
		}
	}))
}
