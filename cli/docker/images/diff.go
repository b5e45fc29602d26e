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

// Diff is podman's image diff.
type Diff struct{ format string }

func (v *Diff) Flags(f *pflag.FlagSet) {
	command.FormatFlag(f, &v.format, "", "Change the output format (json)")
}

// diffJSON is podman's document.
type diffJSON struct {
	Changed []string `json:"changed,omitempty"`
	Added   []string `json:"added,omitempty"`
	Deleted []string `json:"deleted,omitempty"`
}

func (v *Diff) Run(ctx context.Context, c *command.Call, words []string) error {
	if v.format != "" && v.format != "json" {
		return fmt.Errorf("only supported value for '--format' is 'json'")
	}
	e, err := c.Open()
	if err != nil {
		return err
	}
	base := ""
	if len(words) == 2 {
		base = words[1]
	}
	changes, err := engine.ImageDiff(ctx, e, words[0], base)
	if err != nil {
		return unknownImage(c, err, plainUnknown)
	}
	if v.format == "json" {
		return format.Document(c.Out, sorted(changes), "     ")
	}
	for _, ch := range changes {
		fmt.Fprintf(c.Out, "%c %s\n", ch.Kind, term.Clean(ch.Path))
	}
	return nil
}

func sorted(changes []image.Change) diffJSON {
	var d diffJSON
	for _, ch := range changes {
		switch ch.Kind {
		case 'A':
			d.Added = append(d.Added, ch.Path)
		case 'C':
			d.Changed = append(d.Changed, ch.Path)
		default:
			d.Deleted = append(d.Deleted, ch.Path)
		}
	}
	return d
}
