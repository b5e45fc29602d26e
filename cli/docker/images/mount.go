package images

import (
	"context"
	"fmt"

	"github.com/spf13/pflag"

	"berth/cli/docker/command"
	"berth/cli/docker/format"
	"berth/cli/term"
	"berth/engine"
	"berth/image"
)

// Mount is podman's image mount; without words it lists.
type Mount struct {
	all    bool
	format string
}

func (v *Mount) Flags(f *pflag.FlagSet) {
	f.BoolVarP(&v.all, "all", "a", false, "Mount all images")
	command.FormatFlag(f, &v.format, "", "Print the mounted images in specified format (json)")
}

func (v *Mount) Run(ctx context.Context, c *command.Call, words []string) error {
	if v.format != "" && v.format != "json" {
		return fmt.Errorf("unknown --format argument: %s", v.format)
	}
	e, err := c.Open()
	if err != nil {
		return err
	}
	if v.all {
		list, err := engine.ImageList(ctx, e, image.ListOptions{All: true})
		if err != nil {
			return command.FromEngine(err)
		}
		words = nil
		for _, img := range list {
			words = append(words, string(img.ID))
		}
	}
	var mounts []engine.MountedImage
	if len(words) > 0 {
		mounts, err = engine.ImageMount(ctx, e, words)
	} else {
		mounts, err = engine.ImageMounts(ctx, e)
	}
	if err != nil {
		return unknownImage(c, err, plainUnknown)
	}
	return v.print(c, e, mounts, len(words) == 1)
}

// mountRow is one element of podman's JSON.
type mountRow struct {
	ID           string `json:"id"`
	Names        []string
	Repositories []string
	MountPoint   string `json:"mountpoint"`
}

func (v *Mount) print(c *command.Call, e *engine.Engine, mounts []engine.MountedImage, one bool) error {
	if v.format == "json" {
		rows := []mountRow{}
		for _, m := range mounts {
			rows = append(rows, mountRow{
				ID: hexOf(m.Image.ID), Names: []string{string(m.Image.Target.Digest)},
				Repositories: familiarAll(e, m.Image.Names), MountPoint: m.Path,
			})
		}
		return format.Document(c.Out, rows, " ")
	}
	if one {
		fmt.Fprintln(c.Out, term.Clean(mounts[0].Path))
		return nil
	}
	tab := term.Table(c.Out, term.PodmanStyle)
	for _, m := range mounts {
		name := shortID(m.Image.ID)
		if len(m.Image.Names) > 0 {
			name = e.Images.Familiar(m.Image.Names[0])
		}
		fmt.Fprintf(tab, "%s\t%s\n", term.Clean(name), term.Clean(m.Path))
	}
	return tab.Flush()
}

// Unmount is podman's image unmount.
type Unmount struct{ all, force bool }

func (v *Unmount) Flags(f *pflag.FlagSet) {
	f.BoolVarP(&v.all, "all", "a", false, "Unmount all of the currently mounted images")
	f.BoolVarP(&v.force, "force", "f", false, "Force the complete unmount of the specified mounted images")
}

func (v *Unmount) Run(ctx context.Context, c *command.Call, words []string) error {
	if v.all == (len(words) > 0) {
		return fmt.Errorf("image name or ID must be specified, or --all alone")
	}
	e, err := c.Open()
	if err != nil {
		return err
	}
	list, err := engine.ImageUnmount(ctx, e, words, v.force)
	for _, img := range list {
		fmt.Fprintln(c.Out, hexOf(img.ID))
	}
	return unknownImage(c, err, plainUnknown)
}
