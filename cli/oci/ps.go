package oci

import (
	"context"
	"encoding/json"
	"slices"

	"berth/cli/oci/cmdline"
	"berth/sys/proctable"
)

var psVerb = verb{
	name: "ps", summary: "list the processes of a container", args: "CONTAINER [PS-OPTIONS]",
	min: 1, max: manyWords, leading: true,
	about: `The table is that of "ps -ef" unless options of ps say otherwise; those for the
choice of columns are known: -f, aux and -o LIST.`,
	new: func() command { return new(psCommand) },
}

type psCommand struct{ format string }

func (c *psCommand) flags(s *cmdline.Set) {
	c.format = formatTable
	s.String(&c.format, "format,f", "FORMAT", "table, or json: the process ids alone")
}

func (c *psCommand) run(_ context.Context, in *call) (int, error) {
	if err := checkFormat(c.format); err != nil {
		return 0, err
	}
	table, err := proctable.Parse(in.words[1:])
	if err != nil {
		return 0, err
	}
	pids, err := in.rt.PIDs(in.words[0])
	if err != nil {
		return 0, err
	}
	if c.format == formatTable {
		return 0, table.Write(in.stdout, pids)
	}
	pids = append([]int{}, pids...) // [], never null
	slices.Sort(pids)
	return 0, json.NewEncoder(in.stdout).Encode(pids)
}
