package images

import (
	"context"
	"errors"
	"fmt"
	"io"

	units "github.com/docker/go-units"
	"github.com/spf13/pflag"

	"berth/cli/docker/command"
	"berth/cli/term"
	"berth/engine"
	"berth/image"
)

// Prune is image prune.
type Prune struct {
	all, force, external bool
	filters              command.Filters
}

func (v *Prune) Flags(f *pflag.FlagSet) {
	f.BoolVarP(&v.all, "all", "a", false, "Remove all unused images, not just dangling ones")
	command.FilterFlag(f, &v.filters, "", "Provide filter values (e.g. 'until=<timestamp>')")
	f.BoolVarP(&v.force, "force", "f", false, "Do not prompt for confirmation")
	f.BoolVar(&v.external, "external", false, "Remove images even when they are used by other programs")
	command.Extra(f, "external")
}

// warning is what is asked before.
func (v *Prune) warning(c *command.Call) string {
	switch {
	case c.Podman() && v.all:
		return "WARNING! This command removes all images without at least one container associated with them.\n"
	case c.Podman():
		return "WARNING! This command removes all dangling images.\n"
	case v.all:
		return "WARNING! This will remove all images without at least one container associated to them.\n"
	}
	return "WARNING! This will remove all dangling images.\n"
}

func (v *Prune) Run(ctx context.Context, c *command.Call, _ []string) error {
	if yes, err := Agreed(c, v.force, v.warning(c)); err != nil || !yes {
		return err
	}
	e, err := c.Open()
	if err != nil {
		return err
	}
	pruned, err := engine.ImagePrune(ctx, e, engine.PruneRequest{All: v.all, Filters: v.filters})
	if err != nil {
		return command.FromEngine(err)
	}
	PrintPruned(c, pruned)
	if !c.Podman() {
		fmt.Fprintf(c.Out, "Total reclaimed space: %s\n", units.HumanSize(float64(pruned.Reclaimed)))
	}
	return nil
}

// Agreed tells whether a prune may go on: force, or the person's yes. After a no
// docker says that nothing was gained.
func Agreed(c *command.Call, force bool, warning string) (bool, error) {
	if force {
		return true, nil
	}
	yes, err := Sure(c, warning)
	if err == nil && !yes && !c.Podman() {
		fmt.Fprintln(c.Out, "Total reclaimed space: 0B")
	}
	return yes, err
}

// Sure asks whether to go on after a warning. An input that ends is a no in
// docker's words and an error in podman's.
func Sure(c *command.Call, warning string) (bool, error) {
	yes, err := term.Confirm(c.In, c.Out, warning+"Are you sure you want to continue? [y/N] ")
	if errors.Is(err, io.EOF) && !c.Podman() {
		err = nil
	}
	return yes, err
}

// PrintDeleted lists what a prune has removed of one kind: containers, volumes or
// networks. In podman's words it is the names alone.
func PrintDeleted(c *command.Call, kind string, names []string) {
	heads := len(names) > 0 && !c.Podman()
	if heads {
		fmt.Fprintln(c.Out, "Deleted "+kind+":")
	}
	for _, name := range names {
		fmt.Fprintln(c.Out, term.Clean(name))
	}
	if heads {
		fmt.Fprintln(c.Out)
	}
}

// PrintPruned lists what is gone.
func PrintPruned(c *command.Call, pruned image.Pruned) {
	if c.Podman() {
		for _, g := range pruned.Removed {
			if g.Deleted != "" {
				fmt.Fprintln(c.Out, hexOf(g.Deleted))
			}
		}
		return
	}
	if len(pruned.Removed) == 0 {
		return
	}
	fmt.Fprintln(c.Out, "Deleted Images:")
	for _, g := range pruned.Removed {
		if g.Untagged != "" {
			fmt.Fprintln(c.Out, "untagged:", term.Clean(g.Untagged))
		} else {
			fmt.Fprintln(c.Out, "deleted:", g.Deleted)
		}
	}
	fmt.Fprintln(c.Out)
}
