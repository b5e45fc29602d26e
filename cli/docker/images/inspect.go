package images

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/spf13/pflag"

	"berth/cli/docker/command"
	"berth/cli/docker/format"
	"berth/engine"
)

// Inspect is image inspect, and inspect as long as images are all there is.
type Inspect struct {
	// Any is the top-level inspect, which looks for objects of every kind.
	Any bool
	// Others looks for the objects that are no images, by --type's kind; found is
	// false if there is none of that name.
	Others func(ctx context.Context, c *command.Call, q Query) (doc any, found bool, err error)
	format string
	kind   string
	size   bool
}

func (v *Inspect) Flags(f *pflag.FlagSet) {
	command.FormatFlag(f, &v.format, "f", "Format the output using the given Go template")
	if v.Any {
		f.BoolVarP(&v.size, "size", "s", false, "Display total file sizes if the type is container")
		f.StringVarP(&v.kind, "type", "", "", "Return JSON for specified type")
	}
}

// Query is one word of inspect.
type Query struct {
	Kind string // "" any
	Name string
	Size bool
}

// kinds are the words of --type.
var kinds = []string{"", "all", "checkpoint", "config", "container", "image", "network", "node", "plugin", "pod", "secret", "service", "swarm", "task", "volume"}

// check has no effects.
func (v *Inspect) check() error {
	if !slices.Contains(kinds, v.kind) {
		return fmt.Errorf("%q is not a valid value for --type", v.kind)
	}
	return nil
}

func (v *Inspect) Run(ctx context.Context, c *command.Call, words []string) error {
	if err := v.check(); err != nil {
		return err
	}
	e, err := c.Open()
	if err != nil {
		return err
	}
	var found []any
	var failed []error
	for _, w := range words {
		doc, err := v.document(ctx, c, e, w)
		if err != nil {
			failed = append(failed, err)
			continue
		}
		found = append(found, doc)
	}
	if err := v.print(c, found, len(failed) > 0); err != nil {
		return err
	}
	return errors.Join(failed...)
}

func (v *Inspect) document(ctx context.Context, c *command.Call, e *engine.Engine, word string) (any, error) {
	var no *engine.NoImage
	if v.Others != nil && v.kind != "image" {
		kind := v.kind
		if kind == "all" {
			kind = ""
		}
		doc, found, err := v.Others(ctx, c, Query{Kind: kind, Name: word, Size: v.size})
		if found || err != nil {
			return doc, err
		}
	}
	if v.kind != "" && v.kind != "all" && v.kind != "image" {
		return nil, v.unknown(c, word)
	}
	d, err := engine.ImageInspect(ctx, e, word)
	switch {
	case errors.As(err, &no):
		return v.last(ctx, c, word)
	case err != nil:
		return nil, command.FromEngine(err)
	case c.Podman():
		return podmanDocument(e, d)
	}
	return dockerDocument(e, d)
}

// last looks for what is neither a container nor an image.
func (v *Inspect) last(ctx context.Context, c *command.Call, word string) (any, error) {
	if v.Others == nil || v.kind == "image" {
		return nil, v.unknown(c, word)
	}
	for _, kind := range []string{"network", "volume"} {
		doc, found, err := v.Others(ctx, c, Query{Kind: kind, Name: word})
		if found || err != nil {
			return doc, err
		}
	}
	return nil, v.unknown(c, word)
}

// unknown is the dialect's line for a word that names nothing.
func (v *Inspect) unknown(c *command.Call, word string) error {
	switch {
	case c.Podman() && v.Any && (v.kind == "" || v.kind == "all"):
		return fmt.Errorf("inspecting object: no such object: %q", word)
	case c.Podman():
		return fmt.Errorf("inspecting object: %s: image not known", word)
	case v.kind == "" && v.Any:
		return command.Line("Error: No such object: %s", word)
	case v.kind == "" || v.kind == "image":
		return plainUnknown(word)
	}
	return command.Line("Error: No such %s: %s", v.kind, word)
}

// print prints what was found; docker ends an output by template with an empty
// line if nothing of it could be made.
func (v *Inspect) print(c *command.Call, found []any, failed bool) error {
	if v.format == "" || c.Podman() && v.format == "json" {
		indent := "    "
		if c.Podman() {
			indent = "     "
		}
		if found == nil {
			found = []any{}
		}
		return format.Document(c.Out, found, indent)
	}
	if err := command.CheckTemplate(c, v.format); err != nil {
		return err
	}
	var b bytes.Buffer
	for _, doc := range found {
		if err := format.Value(&b, v.format, doc); err != nil {
			if !c.Podman() {
				fmt.Fprintln(c.Out)
			}
			return err
		}
	}
	if len(found) == 0 && failed && !c.Podman() {
		b.WriteByte('\n')
	}
	_, err := format.Shown(c.Out).Write(b.Bytes())
	return err
}
