package oci

import (
	"context"

	"berth/cli/oci/cmdline"
	"berth/runtime"
)

var featuresVerb = verb{
	name: "features", summary: "print what this runtime can do", min: 0, max: 0,
	about: "Prints JSON in the form of features.md of the runtime specification.",
	new:   func() command { return new(featuresCommand) },
}

type featuresCommand struct{}

func (c *featuresCommand) flags(*cmdline.Set) {}

func (c *featuresCommand) run(_ context.Context, in *call) (int, error) {
	f := runtime.Features()
	f.Annotations = map[string]string{"berth-oci.version": Version}
	if Commit != "" {
		f.Annotations["berth-oci.commit"] = Commit
	}
	return 0, writeIndented(in.stdout, f, "    ")
}
