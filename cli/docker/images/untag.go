package images

import (
	"context"

	"github.com/spf13/pflag"

	"berth/cli/docker/command"
	"berth/engine"
)

// Untag is podman's untag: names go, the image stays.
type Untag struct{}

func (v *Untag) Flags(*pflag.FlagSet) {}

func (v *Untag) Run(ctx context.Context, c *command.Call, words []string) error {
	e, err := c.Open()
	if err != nil {
		return err
	}
	_, err = engine.ImageUntag(ctx, e, words[0], words[1:])
	return unknownImage(c, err, plainUnknown)
}
