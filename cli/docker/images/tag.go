package images

import (
	"context"

	"github.com/spf13/pflag"

	"berth/cli/docker/command"
	"berth/engine"
)

// Tag is tag.
type Tag struct{}

func (v *Tag) Flags(*pflag.FlagSet) {}

func (v *Tag) Run(ctx context.Context, c *command.Call, words []string) error {
	e, err := c.Open()
	if err != nil {
		return err
	}
	for _, target := range words[1:] {
		if _, err := e.Images.Name(target); err != nil && !c.Podman() {
			return command.Line("Error parsing reference: %q is not a valid repository/tag: %w", target, err)
		}
	}
	return unknownImage(c, engine.ImageTag(ctx, e, words[0], words[1:]), daemonUnknown)
}
