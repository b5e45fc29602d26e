package oci

import (
	"context"

	"berth/cli/oci/cmdline"
)

var pauseVerb = verb{
	name: "pause", summary: "stop all processes of a container for a while", args: "CONTAINER", min: 1, max: 1,
	new: func() command { return new(pauseCommand) },
}

type pauseCommand struct{}

func (c *pauseCommand) flags(*cmdline.Set) {}

func (c *pauseCommand) run(ctx context.Context, in *call) (int, error) {
	return 0, in.rt.Pause(ctx, in.words[0])
}
