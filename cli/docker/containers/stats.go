package containers

import (
	"bytes"
	"context"
	"fmt"

	units "github.com/docker/go-units"
	"github.com/spf13/pflag"

	"berth/cli/docker/command"
	"berth/cli/docker/format"
	"berth/cli/term"
)

// Stats is stats.
type Stats struct {
	all, noStream, noTrunc, noReset, latest bool
	format                                  string
}

func (v *Stats) Flags(f *pflag.FlagSet) {
	f.BoolVarP(&v.all, "all", "a", false, "Show all containers (default shows just running)")
	command.FormatFlag(f, &v.format, "", "Pretty-print images using a Go template")
	f.BoolVar(&v.noStream, "no-stream", false, "Disable streaming stats and only pull the first result")
	f.BoolVar(&v.noTrunc, "no-trunc", false, "Do not truncate output")
	f.BoolVar(&v.noReset, "no-reset", false, "Do not clear the screen between two readings")
	f.BoolVarP(&v.latest, "latest", "l", false, "Use the newest container")
	command.Extra(f, "no-reset", "latest")
}

func (v *Stats) Run(ctx context.Context, c *command.Call, words []string) error {
	e, err := open(c)
	if err != nil {
		return err
	}
	if v.latest {
		name, err := one(ctx, e, words, true)
		if err != nil {
			return err
		}
		words = []string{name}
	}
	o := StatsOptions{All: v.all, Once: v.noStream}
	var wrong error
	err = e.Stats(ctx, words, o, func(list []Reading) error {
		wrong = v.print(c, list)
		return wrong
	})
	if wrong != nil {
		return wrong
	}
	return command.FromEngine(err)
}

// clearScreen puts the cursor at the top and clears what is below.
const clearScreen = "\x1b[2J\x1b[H"

func (v *Stats) print(c *command.Call, list []Reading) error {
	var b bytes.Buffer
	rows := make([]StatsRow, 0, len(list))
	for _, r := range list {
		rows = append(rows, v.row(r))
	}
	if err := format.Rows(&b, v.form(c), statsHeading, rows); err != nil {
		return err
	}
	if !v.noStream && !v.noReset && v.format == "" && term.Is(c.Out) {
		if _, err := fmt.Fprint(c.Out, clearScreen); err != nil {
			return err
		}
	}
	_, err := c.Out.Write(b.Bytes())
	return err
}

// StatsRow is one line of stats: what a template sees.
type StatsRow struct {
	BlockIO, CPUPerc, Container, ID, MemPerc, MemUsage, Name, NetIO, PIDs string
}

var statsHeading = StatsRow{
	BlockIO: "BLOCK I/O", CPUPerc: "CPU %", Container: "CONTAINER", ID: "CONTAINER ID", MemPerc: "MEM %", MemUsage: "MEM USAGE / LIMIT",
	Name: "NAME", NetIO: "NET I/O", PIDs: "PIDS",
}

func (v *Stats) form(c *command.Call) format.Form {
	f := format.Form{
		Source: v.format, Style: term.DockerStyle,
		Table: "{{.ID}}\t{{.Name}}\t{{.CPUPerc}}\t{{.MemUsage}}\t{{.MemPerc}}\t{{.NetIO}}\t{{.BlockIO}}\t{{.PIDs}}",
	}
	if c.Podman() {
		f.Style = term.PodmanStyle
	}
	return f
}

const (
	noValue = "--"
	noPair  = "-- / --"
)

func (v *Stats) row(r Reading) StatsRow {
	id := r.ID
	if !v.noTrunc {
		id = shortID(id)
	}
	row := StatsRow{
		Container: id, ID: id, Name: term.Clean(r.Name), CPUPerc: noValue, MemPerc: noValue, MemUsage: noPair, NetIO: noPair,
		BlockIO: noPair, PIDs: noValue,
	}
	if r.Gone {
		return row
	}
	share := 0.0
	if r.MemoryLimit > 0 {
		share = float64(r.Memory) / float64(r.MemoryLimit) * 100
	}
	row.CPUPerc, row.MemPerc = fmt.Sprintf("%.2f%%", r.CPUPercent), fmt.Sprintf("%.2f%%", share)
	row.MemUsage = units.BytesSize(float64(r.Memory)) + " / " + units.BytesSize(float64(r.MemoryLimit))
	row.NetIO = pair(r.NetIn, r.NetOut)
	row.BlockIO = pair(r.Read, r.Written)
	row.PIDs = fmt.Sprint(r.Pids)
	return row
}

func pair(a, b uint64) string {
	return units.HumanSizeWithPrecision(float64(a), 3) + " / " + units.HumanSizeWithPrecision(float64(b), 3)
}
