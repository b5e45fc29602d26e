package containers

import (
	"context"
	"fmt"

	units "github.com/docker/go-units"
	"github.com/spf13/pflag"

	"berth/cli/docker/command"
	"berth/cli/docker/images"
)

// Prune is container prune.
type Prune struct {
	force   bool
	filters command.Filters
}

func (v *Prune) Flags(f *pflag.FlagSet) {
	command.FilterFlag(f, &v.filters, "", "Provide filter values (e.g. 'until=<timestamp>')")
	f.BoolVarP(&v.force, "force", "f", false, "Do not prompt for confirmation")
}

const pruneWarning = "WARNING! This will remove all stopped containers.\n"

func (v *Prune) Run(ctx context.Context, c *command.Call, _ []string) error {
	if yes, err := images.Agreed(c, v.force, pruneWarning); err != nil || !yes {
		return err
	}
	reclaimed, err := PruneStopped(ctx, c, v.filters)
	if err == nil && !c.Podman() {
		fmt.Fprintf(c.Out, "Total reclaimed space: %s\n", units.HumanSize(float64(reclaimed)))
	}
	return err
}

// PruneStopped removes the containers that do not run, and lists them.
func PruneStopped(ctx context.Context, c *command.Call, filters command.Filters) (reclaimed int64, err error) {
	e, err := open(c)
	if err != nil {
		return 0, err
	}
	ids, reclaimed, err := e.Prune(ctx, filters)
	if err != nil {
		return 0, command.FromEngine(err)
	}
	images.PrintDeleted(c, "Containers", ids)
	return reclaimed, nil
}
