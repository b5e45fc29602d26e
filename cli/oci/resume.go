package oci

import (
	"context"

	"berth/cli/oci/cmdline"
)

var resumeVerb = verb{
	name: "resume", summary: "let the processes of a paused container go on", args: "CONTAINER", min: 1, max: 1,
	new: func() command { return new(resumeCommand) },
}

type resumeCommand struct{}

func (c *resumeCommand) flags(*cmdline.Set) {}

func (c *resumeCommand) run(ctx context.Context, in *call) (int, error) {
	return 0, in.rt.Resume(ctx, in.words[0])
}
