package images

import (
	"context"
	"fmt"
	"slices"
	"strings"

	units "github.com/docker/go-units"
	"github.com/opencontainers/go-digest"
	"github.com/spf13/pflag"

	"berth/cli/docker/command"
	"berth/cli/term"
	"berth/engine"
	"berth/image"
)

// Tree is podman's image tree.
type Tree struct{ whatRequires bool }

func (v *Tree) Flags(f *pflag.FlagSet) {
	f.BoolVar(&v.whatRequires, "whatrequires", false, "Show all child images and layers of the specified image")
}

func (v *Tree) Run(ctx context.Context, c *command.Call, words []string) error {
	e, err := c.Open()
	if err != nil {
		return err
	}
	d, err := engine.ImageInspect(ctx, e, words[0])
	if err != nil {
		return unknownImage(c, err, plainUnknown)
	}
	all, err := engine.ImageList(ctx, e, image.ListOptions{All: true})
	if err != nil {
		return command.FromEngine(err)
	}
	fmt.Fprintf(c.Out, "Image ID: %s\nTags:     %s\nSize:     %s\n", shortID(d.ID), tags(e, d.Names), units.HumanSizeWithPrecision(float64(d.Size), 4))
	if v.whatRequires {
		fmt.Fprintf(c.Out, "Image ID: %s\n", shortID(d.ID))
		drawTree(c, childLines(e, d, all))
	} else {
		fmt.Fprintln(c.Out, "Image Layers")
		drawTree(c, layerLines(e, d, all))
	}
	fmt.Fprintln(c.Out)
	return nil
}

func tags(e *engine.Engine, names []string) string {
	return term.Clean("[" + strings.Join(familiarAll(e, names), " ") + "]")
}

func drawTree(c *command.Call, lines []string) {
	for i, l := range lines {
		branch := "├──"
		if i == len(lines)-1 {
			branch = "└──"
		}
		fmt.Fprintf(c.Out, "%s %s\n", branch, l)
	}
}

// layerLines are the image's layers, lowest first, each with the images that end there.
func layerLines(e *engine.Engine, d image.Details, all []image.Image) []string {
	sizes := map[digest.Digest]int64{}
	for _, l := range d.History {
		sizes[l.DiffID] = l.Size
	}
	var out []string
	for i, id := range d.Layers {
		line := fmt.Sprintf("ID: %s Size: %7s", shortID(id), units.HumanSizeWithPrecision(float64(sizes[id]), 4))
		if top := endingAt(all, d.Layers[:i+1]); len(top) > 0 {
			line += " Top Layer of: " + tags(e, top)
		}
		out = append(out, line)
	}
	return out
}

func endingAt(all []image.Image, layers []digest.Digest) []string {
	var names []string
	for _, img := range all {
		if slices.Equal(img.Layers, layers) {
			names = append(names, img.Names...)
		}
	}
	return names
}

// childLines are the images that stand on this one.
func childLines(e *engine.Engine, d image.Details, all []image.Image) []string {
	var out []string
	for _, img := range all {
		n := len(d.Layers)
		if img.ID == d.ID || len(img.Layers) <= n || !slices.Equal(img.Layers[:n], d.Layers) {
			continue
		}
		top := img.Layers[len(img.Layers)-1]
		out = append(out, fmt.Sprintf("ID: %s Size: %7s Top Layer of: %s", shortID(top),
			units.HumanSizeWithPrecision(float64(img.Size), 4), tags(e, img.Names)))
	}
	return out
}
