package system

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/spf13/pflag"

	"berth/cli/docker/command"
	"berth/cli/docker/containers"
	"berth/cli/docker/images"
	"berth/cli/docker/networks"
	"berth/cli/docker/volumes"
	"berth/engine"
)

// Prune is system prune.
type Prune struct {
	all, force, volumes bool
	filters             command.Filters
}

func (v *Prune) Flags(f *pflag.FlagSet) {
	f.BoolVarP(&v.all, "all", "a", false, "Remove all unused images not just dangling ones")
	command.FilterFlag(f, &v.filters, "", "Provide filter values (e.g. 'label=<key>=<value>')")
	f.BoolVarP(&v.force, "force", "f", false, "Do not prompt for confirmation")
	f.BoolVar(&v.volumes, "volumes", false, "Prune volumes")
}

// warning lists what will go.
func (v *Prune) warning(podman bool) string {
	head, item := "WARNING! This will remove:\n", "  - "
	if podman {
		head, item = "WARNING! This command removes:\n", "\t- "
	}
	lines := []string{"all stopped containers", "all networks not used by at least one container"}
	if v.volumes {
		what := "all anonymous volumes"
		if podman {
			what = "all volumes"
		}
		lines = append(lines, what+" not used by at least one container")
	}
	if v.all {
		lines = append(lines, "all images without at least one container associated to them", "all build cache")
	} else {
		lines = append(lines, "all dangling images", "all dangling build cache")
	}
	var b strings.Builder
	b.WriteString(head)
	for _, l := range lines {
		b.WriteString(item + l + "\n")
	}
	if len(v.filters) > 0 && !podman {
		b.WriteString("\n  Items to be pruned will be filtered with:\n")
		for _, name := range slices.Sorted(maps.Keys(v.filters)) {
			for _, value := range v.filters[name] {
				b.WriteString("  - " + name + "=" + value + "\n")
			}
		}
	}
	b.WriteString("\n")
	return b.String()
}

func (v *Prune) Run(ctx context.Context, c *command.Call, _ []string) error {
	if v.volumes && v.filters["until"] != nil {
		return fmt.Errorf(`ERROR: The "until" filter is not supported with "--volumes"`)
	}
	if !v.force {
		if yes, err := images.Sure(c, v.warning(c.Podman())); err != nil || !yes {
			return err
		}
	}
	e, err := c.Open()
	if err != nil {
		return err
	}
	reclaimed := int64(0)
	if e.HasContainers() == nil {
		if reclaimed, err = v.instances(ctx, c); err != nil {
			return err
		}
	}
	pruned, err := engine.ImagePrune(ctx, e, engine.PruneRequest{All: v.all, Filters: v.filters})
	if err != nil {
		return command.FromEngine(err)
	}
	images.PrintPruned(c, pruned)
	fmt.Fprintf(c.Out, "Total reclaimed space: %s\n", humanSize(reclaimed+pruned.Reclaimed))
	return nil
}

// instances prunes containers, the networks that none is on then, and volumes if
// asked.
func (v *Prune) instances(ctx context.Context, c *command.Call) (int64, error) {
	reclaimed, err := containers.PruneStopped(ctx, c, v.filters)
	if err != nil {
		return reclaimed, err
	}
	if err := networks.PruneUnused(ctx, c, v.filters); err != nil || !v.volumes {
		return reclaimed, err
	}
	n, err := volumes.PruneUnused(ctx, c, v.filters, false)
	return reclaimed + n, err
}
