package images

import (
	"context"

	"github.com/spf13/pflag"

	"berth/cli/docker/command"
	"berth/engine"
)

// Exists is podman's image exists: it says nothing but its exit code.
type Exists struct{}

func (v *Exists) Flags(*pflag.FlagSet) {}

func (v *Exists) Run(ctx context.Context, c *command.Call, words []string) error {
	e, err := c.Open()
	if err != nil {
		return err
	}
	found, err := engine.ImageExists(ctx, e, words[0])
	if err != nil {
		return command.FromEngine(err)
	}
	if !found {
		return &command.Exit{Code: exitNoSuchImage}
	}
	return nil
}
