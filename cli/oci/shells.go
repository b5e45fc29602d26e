package oci

import (
	"context"

	"berth/cli/oci/cmdline"
)

var completionVerb = verb{
	name: "completion", summary: "print the completions for a shell", args: "bash|zsh|fish", min: 1, max: 1, hidden: true,
	new: func() command { return new(completionCommand) },
}

type completionCommand struct{}

func (c *completionCommand) flags(*cmdline.Set) {}

func (c *completionCommand) run(_ context.Context, in *call) (int, error) {
	return 0, program().Completion(in.stdout, in.words[0])
}

var manVerb = verb{
	name: "man", summary: "print the manual page", min: 0, max: 0, hidden: true,
	new: func() command { return new(manCommand) },
}

type manCommand struct{}

func (c *manCommand) flags(*cmdline.Set) {}

func (c *manCommand) run(_ context.Context, in *call) (int, error) {
	program().Man(in.stdout)
	return 0, nil
}
