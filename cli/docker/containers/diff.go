package containers

import (
	"context"
	"fmt"

	"github.com/spf13/pflag"

	"berth/cli/docker/command"
	"berth/cli/docker/format"
	"berth/cli/term"
)

// Diff is diff.
type Diff struct {
	latest bool
	format string
}

func (v *Diff) Flags(f *pflag.FlagSet) {
	f.BoolVarP(&v.latest, "latest", "l", false, "Use the newest container")
	command.FormatFlag(f, &v.format, "", "Print the changes as json")
	command.Extra(f, "latest", "format")
}

func (v *Diff) Run(ctx context.Context, c *command.Call, words []string) error {
	if v.format != "" && v.format != "json" {
		return fmt.Errorf("only supported value for '--format' is 'json'")
	}
	if len(words) == 1 && words[0] == "" {
		return command.Line("Container name cannot be empty")
	}
	e, err := open(c)
	if err != nil {
		return err
	}
	name, err := one(ctx, e, words, v.latest)
	if err != nil {
		return err
	}
	changes, err := e.Diff(ctx, name)
	if err != nil {
		return command.FromEngine(err)
	}
	if v.format == "json" {
		return diffJSON(c, changes)
	}
	for _, one := range changes {
		fmt.Fprintf(c.Out, "%c %s\n", one.Kind, term.Clean(one.Path))
	}
	return nil
}

func diffJSON(c *command.Call, changes []Change) error {
	doc := struct {
		Changed []string `json:"changed,omitempty"`
		Added   []string `json:"added,omitempty"`
		Deleted []string `json:"deleted,omitempty"`
	}{}
	for _, one := range changes {
		switch one.Kind {
		case 'A':
			doc.Added = append(doc.Added, one.Path)
		case 'D':
			doc.Deleted = append(doc.Deleted, one.Path)
		default:
			doc.Changed = append(doc.Changed, one.Path)
		}
	}
	return format.Document(c.Out, doc, "     ")
}
