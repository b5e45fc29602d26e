package system

import (
	"context"
	"fmt"

	"github.com/spf13/pflag"

	"berth/cli/docker/command"
	"berth/engine"
)

// Migrate is podman's system migrate as far as there is something to migrate here: the
// owners of files, when an ordinary user has subordinate ids by now.
type Migrate struct{}

func (v *Migrate) Flags(*pflag.FlagSet) {}

func (v *Migrate) Run(ctx context.Context, c *command.Call, _ []string) error {
	e, err := c.Open()
	if err != nil {
		return err
	}
	if err := e.HasContainers(); err != nil {
		return command.FromEngine(err)
	}
	files, err := engine.Migrate(ctx, e)
	if err != nil {
		return command.FromEngine(err)
	}
	if files > 0 {
		fmt.Fprintf(c.Out, "%d files have their owners now.\n", files)
	}
	return nil
}
