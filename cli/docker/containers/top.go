package containers

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/pflag"

	"berth/cli/docker/command"
	"berth/cli/term"
)

// Top is top: what ps of the host says of a container's processes.
type Top struct{ latest bool }

func (v *Top) Flags(f *pflag.FlagSet) {
	f.SetInterspersed(false)
	f.BoolVarP(&v.latest, "latest", "l", false, "Use the newest container")
	command.Extra(f, "latest")
}

func (v *Top) Run(ctx context.Context, c *command.Call, words []string) error {
	e, err := open(c)
	if err != nil {
		return err
	}
	name, args := "", words
	if v.latest {
		name, err = one(ctx, e, nil, true)
	} else if len(words) > 0 {
		name, args = words[0], words[1:]
	} else {
		err = fmt.Errorf("you must provide the name or id of a running container")
	}
	if err != nil {
		return err
	}
	titles, rows, err := e.Top(ctx, name, args)
	if err != nil {
		return command.FromEngine(err)
	}
	return printTop(c, titles, rows)
}

// topStyle is the table of top: wide columns.
var topStyle = term.Style{Min: 20, Tab: 1, Pad: 3}

func printTop(c *command.Call, titles []string, rows [][]string) error {
	style := topStyle
	if c.Podman() {
		style = term.PodmanStyle
	}
	w := term.Table(c.Out, style)
	for _, row := range append([][]string{titles}, rows...) {
		cells := make([]string, len(row))
		for i, cell := range row {
			cells[i] = term.Clean(cell)
		}
		fmt.Fprintln(w, strings.Join(cells, "\t"))
	}
	return w.Flush()
}
