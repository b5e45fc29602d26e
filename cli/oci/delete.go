package oci

import (
	"context"

	"berth/cli/oci/cmdline"
)

var deleteVerb = verb{
	name: "delete", summary: "remove a stopped container", args: "CONTAINER", min: 1, max: 1,
	about: `Removes what is left of a container: its state, its cgroups. With --force it is
killed first, and it is no error if there is no such container.`,
	new: func() command { return new(deleteCommand) },
}

type deleteCommand struct{ force bool }

func (c *deleteCommand) flags(s *cmdline.Set) {
	s.Bool(&c.force, "force,f", "kill the container first (SIGKILL) if it runs")
}

func (c *deleteCommand) run(ctx context.Context, in *call) (int, error) {
	return 0, in.rt.Delete(ctx, in.words[0], c.force)
}
