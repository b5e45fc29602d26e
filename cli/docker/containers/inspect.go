package containers

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	"github.com/spf13/pflag"

	"berth/base/fault"
	"berth/cli/docker/command"
	"berth/cli/docker/format"
)

// Inspect is container inspect.
type Inspect struct {
	format       string
	size, latest bool
}

func (v *Inspect) Flags(f *pflag.FlagSet) {
	command.FormatFlag(f, &v.format, "f", "Format the output using the given Go template")
	f.BoolVarP(&v.size, "size", "s", false, "Display total file sizes")
	f.BoolVarP(&v.latest, "latest", "l", false, "Use the newest container")
	command.Extra(f, "latest")
}

// Document is what inspect shows of a container; found is false if there is
// none of that name.
func Document(ctx context.Context, c *command.Call, name string, size bool) (doc any, found bool, err error) {
	e, err := open(c)
	if fault.Is(err, fault.Unsupported) { // where none are served there is none
		return nil, false, nil
	}
	if err != nil {
		return nil, false, err
	}
	d, err := e.Inspect(ctx, name, size)
	switch {
	case fault.Is(err, fault.NotFound):
		return nil, false, nil
	case err != nil:
		return nil, false, command.FromEngine(err)
	}
	return d, true, nil
}

func (v *Inspect) Run(ctx context.Context, c *command.Call, words []string) error {
	if v.latest {
		e, err := open(c)
		if err != nil {
			return err
		}
		name, err := one(ctx, e, words, true)
		if err != nil {
			return err
		}
		words = []string{name}
	}
	return PrintDocuments(c, v.format, words, func(name string) (any, error) {
		doc, found, err := Document(ctx, c, name, v.size)
		if err == nil && !found {
			err = missing("container", name)
			if c.Podman() {
				err = fmt.Errorf("inspecting object: no such container %q", name)
			}
		}
		return doc, err
	})
}

// PrintDocuments prints what look finds for each word, as inspect of every kind
// does: what is not found is told of at the end.
func PrintDocuments(c *command.Call, source string, words []string, look func(string) (any, error)) error {
	found := []any{}
	var failed []error
	for _, w := range words {
		doc, err := look(w)
		if err != nil {
			failed = append(failed, err)
			continue
		}
		found = append(found, doc)
	}
	if source == "" || c.Podman() && source == "json" {
		indent := "    "
		if c.Podman() {
			indent = "     "
		}
		if err := format.Document(c.Out, found, indent); err != nil {
			return err
		}
		return errors.Join(failed...)
	}
	if err := command.CheckTemplate(c, source); err != nil {
		return err
	}
	var b bytes.Buffer
	for _, doc := range found {
		if err := format.Value(&b, source, doc); err != nil {
			if !c.Podman() {
				fmt.Fprintln(c.Out)
			}
			return err
		}
	}
	if len(found) == 0 && !c.Podman() {
		b.WriteByte('\n')
	}
	if _, err := format.Shown(c.Out).Write(b.Bytes()); err != nil {
		return err
	}
	return errors.Join(failed...)
}
