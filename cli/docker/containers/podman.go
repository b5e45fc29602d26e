package containers

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/spf13/pflag"

	"berth/cli/docker/command"
	"berth/cli/term"
)

// Exists is podman's container exists: it says nothing but its exit code.
type Exists struct{}

func (v *Exists) Flags(f *pflag.FlagSet) {
	f.Bool("external", false, "Taken for podman's sake")
}

func (v *Exists) Run(ctx context.Context, c *command.Call, words []string) error {
	e, err := open(c)
	if err != nil {
		return err
	}
	found, err := e.Exists(ctx, words[0])
	if err == nil && !found {
		return &command.Exit{Code: 1}
	}
	return command.FromEngine(err)
}

// Init is podman's init: everything but the program's start.
type Init struct{ chosen }

func (v *Init) Flags(f *pflag.FlagSet) {
	v.states = []string{"created"}
	v.chosen.flags(f, false)
}

func (v *Init) Run(ctx context.Context, c *command.Call, words []string) error {
	return v.each(ctx, c, words, func(e Engine, name string) error { return command.FromEngine(e.Init(ctx, name)) })
}

// Mount is podman's mount: without words it lists.
type Mount struct{ chosen }

func (v *Mount) Flags(f *pflag.FlagSet) { v.chosen.flags(f, false) }

func (v *Mount) Run(ctx context.Context, c *command.Call, words []string) error {
	e, err := open(c)
	if err != nil {
		return err
	}
	if len(words) == 0 && !v.all && !v.latest {
		mounts, err := e.Mounts(ctx)
		if err != nil {
			return command.FromEngine(err)
		}
		var ids []string
		for id := range mounts {
			ids = append(ids, id)
		}
		slices.Sort(ids)
		for _, id := range ids {
			fmt.Fprintln(c.Out, shortID(id), term.Clean(mounts[id]))
		}
		return nil
	}
	names, err := v.names(ctx, e, words)
	if err != nil {
		return err
	}
	var failed []error
	for _, name := range names {
		path, err := e.Mount(ctx, name)
		if err != nil {
			failed = append(failed, command.FromEngine(err))
			continue
		}
		fmt.Fprintln(c.Out, term.Clean(path))
	}
	return errors.Join(failed...)
}

// Unmount is podman's unmount.
type Unmount struct {
	chosen
	force bool
}

func (v *Unmount) Flags(f *pflag.FlagSet) {
	f.BoolVarP(&v.force, "force", "f", false, "Unmount it though it is in use")
	v.chosen.flags(f, false)
}

func (v *Unmount) Run(ctx context.Context, c *command.Call, words []string) error {
	return v.each(ctx, c, words, func(e Engine, name string) error { return command.FromEngine(e.Unmount(ctx, name, v.force)) })
}

// HealthRun is podman's healthcheck run: its exit code is the health.
type HealthRun struct{}

func (v *HealthRun) Flags(*pflag.FlagSet) {}

func (v *HealthRun) Run(ctx context.Context, c *command.Call, words []string) error {
	e, err := open(c)
	if err != nil {
		return err
	}
	healthy, err := e.HealthRun(ctx, words[0])
	switch {
	case err != nil:
		return command.FromEngine(err)
	case !healthy:
		fmt.Fprintln(c.Out, "unhealthy")
		return &command.Exit{Code: 1}
	}
	fmt.Fprintln(c.Out, "healthy")
	return nil
}
