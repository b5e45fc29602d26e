package oci

import (
	"context"

	"berth/cli/oci/cmdline"
	"berth/runtime"
)

var runVerb = verb{
	name: "run", summary: "create and start a container", args: "CONTAINER", min: 1, max: 1,
	about: `Makes the container that the bundle's config.json describes and starts it at
once. Without --detach it waits for the process, passes signals on to it, removes
the container, and ends with the exit status of the process.`,
	new: func() command { return new(runCommand) },
}

type runCommand struct {
	bundleFlags
	detach      bool
	keep        bool
	noSubreaper bool
}

func (c *runCommand) flags(s *cmdline.Set) {
	c.bundleFlags.flags(s)
	s.Bool(&c.detach, "detach,d", "do not wait for the process")
	s.Bool(&c.keep, "keep", "keep the container after its process ended")
	s.Bool(&c.noSubreaper, "no-subreaper", "do not adopt processes that the container's leave behind")
}

func (c *runCommand) run(ctx context.Context, in *call) (int, error) {
	r, err := c.request(in.words[0])
	if err != nil {
		return 0, err
	}
	return in.rt.Run(ctx, runtime.RunRequest{
		CreateRequest: r, Detach: c.detach, Keep: c.keep, NoSubreaper: c.noSubreaper,
	})
}
