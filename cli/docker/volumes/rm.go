package volumes

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"

	units "github.com/docker/go-units"
	"github.com/spf13/pflag"

	"berth/base/fault"
	"berth/cli/docker/command"
	"berth/cli/docker/images"
	"berth/cli/term"
	"berth/engine"
)

// Remove is volume rm.
type Remove struct{ force, all bool }

func (v *Remove) Flags(f *pflag.FlagSet) {
	f.BoolVarP(&v.force, "force", "f", false, "Force the removal of one or more volumes")
	f.BoolVarP(&v.all, "all", "a", false, "Remove all volumes")
	command.Extra(f, "all")
}

func (v *Remove) Run(ctx context.Context, c *command.Call, words []string) error {
	if !v.all && len(words) == 0 {
		return errors.New("choose at least one volume, or all with --all")
	}
	e, err := open(c)
	if err != nil {
		return err
	}
	if v.all {
		list, err := e.VolumeList(ctx, nil)
		if err != nil {
			return command.FromEngine(err)
		}
		for _, one := range list {
			words = append(words, one.Name)
		}
	}
	var failed []error
	for _, name := range words {
		err := e.VolumeRemove(ctx, name, v.force)
		if err != nil && !(v.force && fault.Is(err, fault.NotFound)) {
			failed = append(failed, missing(c, name, err))
			continue
		}
		fmt.Fprintln(c.Out, term.Clean(name))
	}
	return errors.Join(failed...)
}

// Prune is volume prune.
type Prune struct {
	all, force bool
	filters    command.Filters
}

func (v *Prune) Flags(f *pflag.FlagSet) {
	f.BoolVarP(&v.all, "all", "a", false, "Remove all unused volumes, not just anonymous ones")
	command.Extra(f, "all")
	command.FilterFlag(f, &v.filters, "", "Provide filter values (e.g. 'label=<label>')")
	f.BoolVarP(&v.force, "force", "f", false, "Do not prompt for confirmation")
}

// warning is what is asked before.
func (v *Prune) warning(podman bool) string {
	switch all, _ := engine.PrunesNamed(v.filters); {
	case podman:
		return "WARNING! This will remove all volumes not used by at least one container.\n"
	case all || v.all:
		return "WARNING! This will remove all local volumes not used by at least one container.\n"
	}
	return "WARNING! This will remove anonymous local volumes not used by at least one container.\n"
}

func (v *Prune) Run(ctx context.Context, c *command.Call, _ []string) error {
	if v.all && v.filters["all"] != nil {
		return errors.New("conflicting options: cannot specify both --all and --filter all=1")
	}
	if yes, err := images.Agreed(c, v.force, v.warning(c.Podman())); err != nil || !yes {
		return err
	}
	reclaimed, err := PruneUnused(ctx, c, v.filters, v.all)
	if err == nil && !c.Podman() {
		fmt.Fprintf(c.Out, "Total reclaimed space: %s\n", units.HumanSize(float64(reclaimed)))
	}
	return err
}

// PruneUnused removes the volumes that nothing uses, and lists them: the anonymous
// ones, as docker does since version 23; with all the named ones, too, as podman
// always does.
func PruneUnused(ctx context.Context, c *command.Call, filters command.Filters, all bool) (reclaimed int64, err error) {
	e, err := open(c)
	if err != nil {
		return 0, err
	}
	if all || c.Podman() {
		filters = maps.Clone(filters)
		if filters == nil {
			filters = command.Filters{}
		}
		filters["all"] = []string{"true"}
	}
	names, reclaimed, err := e.VolumePrune(ctx, filters)
	if err != nil {
		return 0, command.FromEngine(err)
	}
	images.PrintDeleted(c, "Volumes", names)
	return reclaimed, nil
}

// Rename is volume rename, which docker does not have.
type Rename struct{}

func (v *Rename) Flags(*pflag.FlagSet) {}

func (v *Rename) Run(ctx context.Context, c *command.Call, words []string) error {
	e, err := open(c)
	if err != nil {
		return err
	}
	return missingOr(c, words[0], e.VolumeRename(ctx, words[0], words[1]))
}

func missingOr(c *command.Call, name string, err error) error {
	if err == nil {
		return nil
	}
	return missing(c, name, err)
}

// Exists is podman's volume exists: it says nothing but its exit code.
type Exists struct{}

func (v *Exists) Flags(*pflag.FlagSet) {}

func (v *Exists) Run(ctx context.Context, c *command.Call, words []string) error {
	e, err := open(c)
	if err != nil {
		return err
	}
	_, err = e.VolumeInspect(ctx, words[0])
	return command.Existing(err)
}

// Export is podman's volume export: a tar archive of what is inside.
type Export struct{ output string }

func (v *Export) Flags(f *pflag.FlagSet) {
	f.StringVarP(&v.output, "output", "o", "", "Write to a file, instead of STDOUT")
}

func (v *Export) Run(ctx context.Context, c *command.Call, words []string) error {
	if v.output == "" && term.Is(c.Out) {
		return errors.New("cowardly refusing to save to a terminal. Use the -o flag or redirect")
	}
	e, err := open(c)
	if err != nil {
		return err
	}
	if v.output == "" {
		return missingOr(c, words[0], e.VolumeExport(ctx, words[0], c.Out))
	}
	return images.WriteBeside(v.output, func(f *os.File) error { return missingOr(c, words[0], e.VolumeExport(ctx, words[0], f)) })
}

// Import is podman's volume import: it unpacks an archive into a volume.
type Import struct{}

func (v *Import) Flags(*pflag.FlagSet) {}

func (v *Import) Run(ctx context.Context, c *command.Call, words []string) error {
	in := c.In
	if words[1] != "-" {
		f, err := os.Open(words[1])
		if err != nil {
			return err
		}
		defer f.Close()
		in = f
	}
	e, err := open(c)
	if err != nil {
		return err
	}
	return missingOr(c, words[0], e.VolumeImport(ctx, words[0], in))
}
