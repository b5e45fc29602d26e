package oci

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"text/tabwriter"
	"time"

	"berth/base/fault"
	"berth/cli/oci/cmdline"
)

var listVerb = verb{
	name: "list", summary: "list the containers", min: 0, max: 0,
	about: "Lists the containers whose state is below --root.",
	new:   func() command { return new(listCommand) },
}

type listCommand struct {
	format string
	quiet  bool
}

const (
	formatTable = "table"
	formatJSON  = "json"
)

func (c *listCommand) flags(s *cmdline.Set) {
	c.format = formatTable
	s.String(&c.format, "format,f", "FORMAT", "table or json")
	s.Bool(&c.quiet, "quiet,q", "print ids alone")
}

func checkFormat(format string) error {
	if format != formatTable && format != formatJSON {
		return fault.New(fault.Invalid, "invalid format option %q: there is %s and %s", format, formatTable, formatJSON)
	}
	return nil
}

func (c *listCommand) run(_ context.Context, in *call) (int, error) {
	if err := checkFormat(c.format); err != nil && !c.quiet {
		return 0, err
	}
	list, err := in.rt.List()
	if err != nil {
		return 0, err
	}
	states := make([]stateJSON, len(list))
	for i := range list {
		states[i] = newStateJSON(&list[i])
	}
	switch {
	case c.quiet:
		for _, s := range states {
			if _, err := fmt.Fprintln(in.stdout, plain(s.ID)); err != nil {
				return 0, err
			}
		}
		return 0, nil
	case c.format == formatJSON:
		if len(states) == 0 {
			states = nil // runc prints null
		}
		return 0, json.NewEncoder(in.stdout).Encode(states)
	}
	return 0, listTable(in.stdout, states)
}

func listTable(out io.Writer, states []stateJSON) error {
	w := tabwriter.NewWriter(out, 12, 1, 3, ' ', 0)
	fmt.Fprint(w, "ID\tPID\tSTATUS\tBUNDLE\tCREATED\tOWNER\n")
	for _, s := range states {
		fmt.Fprintf(w, "%s\t%d\t%s\t%s\t%s\t%s\n", plain(s.ID), s.PID, s.Status, plain(s.Bundle),
			s.Created.Format(time.RFC3339Nano), plain(s.Owner))
	}
	return w.Flush()
}
