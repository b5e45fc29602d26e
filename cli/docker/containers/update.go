package containers

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/pflag"

	"berth/cli/docker/command"
	"berth/cli/docker/option"
	"berth/cli/term"
)

// Update is update.
type Update struct {
	limits  option.Limits
	meta    option.Meta
	shape   option.Shape
	ports   option.Ports
	restart string
	flags   *pflag.FlagSet
}

func (v *Update) Flags(f *pflag.FlagSet) {
	v.flags = f
	v.limits.Flags(f)
	v.limits.UpdateOnly(f)
	v.meta.Flags(f)
	v.shape.Flags(f)
	v.ports.Flags(f)
	f.StringVar(&v.restart, "restart", "", "Restart policy to apply when a container exits")
}

// request has no effects.
func (v *Update) request(a option.Around) (Changed, error) {
	changed := 0
	v.flags.Visit(func(*pflag.Flag) { changed++ })
	if changed == 0 {
		return Changed{}, errors.New("you must provide one or more flags when using this command")
	}
	u := Changed{Resources: v.limits.Resources()}
	u.Shape.Mounts, u.Shape.NoMounts, u.Shape.Devices, u.Shape.NoDevices = v.shape.Value()
	u.Ports.Publish, u.Ports.NoPublish = v.ports.Value()
	var err error
	if u.Meta.Labels, u.Meta.NoLabels, u.Meta.Env, err = v.meta.Value(a); err != nil {
		return u, err
	}
	if v.flags.Changed("restart") {
		r, err := option.Restart(v.restart)
		if err != nil {
			return u, err
		}
		u.Restart = &r
	}
	return u, nil
}

func (v *Update) Run(ctx context.Context, c *command.Call, words []string) error {
	u, err := v.request(option.Here())
	if err != nil {
		return err
	}
	e, err := open(c)
	if err != nil {
		return err
	}
	var failed []error
	for _, name := range words {
		warnings, err := e.Update(ctx, name, u)
		if err != nil {
			failed = append(failed, command.FromEngine(err))
			continue
		}
		fmt.Fprintln(c.Out, term.Clean(name))
		for _, w := range warnings {
			fmt.Fprintln(c.Out, term.CleanText(w))
		}
	}
	return errors.Join(failed...)
}
