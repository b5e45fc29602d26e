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
	e, err := open(c)
	if err != nil {
		return err
	}
	ids, reclaimed, err := e.Prune(ctx, v.filters)
	if err != nil {
		return command.FromEngine(err)
	}
	printGone(c, ids, reclaimed)
	return nil
}

// printGone lists what prune removed.
func printGone(c *command.Call, ids []string, reclaimed int64) {
	if len(ids) > 0 && !c.Podman() {
		fmt.Fprintln(c.Out, "Deleted Containers:")
	}
	for _, id := range ids {
		fmt.Fprintln(c.Out, id)
	}
	if c.Podman() {
		return
	}
	if len(ids) > 0 {
		fmt.Fprintln(c.Out)
	}
	fmt.Fprintf(c.Out, "Total reclaimed space: %s\n", units.HumanSize(float64(reclaimed)))
}
