package oci

import (
	"context"

	"berth/cli/oci/cmdline"
)

var startVerb = verb{
	name: "start", summary: "start the process of a created container", args: "CONTAINER", min: 1, max: 1,
	new: func() command { return new(startCommand) },
}

type startCommand struct{}

func (c *startCommand) flags(*cmdline.Set) {}

func (c *startCommand) run(ctx context.Context, in *call) (int, error) {
	return 0, in.rt.Start(ctx, in.words[0])
}
