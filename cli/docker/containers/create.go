package containers

import (
	"context"
	"fmt"

	"github.com/spf13/pflag"

	"berth/cli/docker/command"
	"berth/cli/docker/option"
)

// exitRefused is the exit code of a run that did not come to running anything.
const exitRefused = 125

// Create is create: it prints the id.
type Create struct{ options option.Options }

func (v *Create) Flags(f *pflag.FlagSet) { v.options.Flags(f) }

func (v *Create) Run(ctx context.Context, c *command.Call, words []string) error {
	asked, err := v.options.Read(c.Dialect, option.Here(), words)
	if err != nil {
		return wrongLine(c, "create", err)
	}
	e, err := open(c)
	if err != nil {
		return err
	}
	id, err := create(ctx, c, e, &asked)
	if err != nil {
		return err
	}
	fmt.Fprintln(c.Out, id)
	return nil
}
