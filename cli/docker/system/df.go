package system

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	"github.com/spf13/pflag"

	"berth/cli/docker/command"
	"berth/cli/docker/format"
	"berth/cli/term"
	"berth/engine"
)

// DiskUsage is system df.
type DiskUsage struct {
	verbose bool
	format  string
}

func (v *DiskUsage) Flags(f *pflag.FlagSet) {
	command.FormatFlag(f, &v.format, "", "Pretty-print images using a Go template")
	f.BoolVarP(&v.verbose, "verbose", "v", false, "Show detailed information on space usage")
}

// check has no effects.
func (v *DiskUsage) check(c *command.Call) error {
	if v.verbose && v.format != "" && c.Podman() {
		return errors.New("cannot combine --format and --verbose flags")
	}
	return nil
}

// UsageRow is one line; the fields stand in the order of docker's JSON.
type UsageRow struct {
	Active      string
	Reclaimable string
	Size        string
	TotalCount  string
	Type        string
	podmanRow
}

type podmanRow struct {
	Total string `json:"-"`
}

// podmanUsage is podman's row in JSON.
type podmanUsage struct {
	Type              string
	Total, Active     int
	Size, Reclaimable int64
}

func (v *DiskUsage) Run(ctx context.Context, c *command.Call, _ []string) error {
	if err := v.check(c); err != nil {
		return err
	}
	e, err := c.Open()
	if err != nil {
		return err
	}
	u, err := engine.DiskUsage(ctx, e)
	if err != nil {
		return command.FromEngine(err)
	}
	if v.verbose {
		return v.long(c, e, u)
	}
	active := 0
	for _, i := range u.Images {
		if i.Containers > 0 {
			active++
		}
	}
	first := podmanUsage{"Images", len(u.Images), active, u.Size, u.Reclaimable}
	kinds := []podmanUsage{first, {Type: "Containers"}, {Type: "Local Volumes"}}
	if !c.Podman() {
		kinds = append(kinds, podmanUsage{Type: "Build Cache"})
	}
	form := format.Form{Source: v.format, Style: term.DockerStyle, Table: "{{.Type}}\t{{.TotalCount}}\t{{.Active}}\t{{.Size}}\t{{.Reclaimable}}"}
	if c.Podman() {
		form.Style = term.PodmanStyle
		if v.format == "json" || v.format == "{{json .}}" {
			return format.Rows(c.Out, form, podmanUsage{}, kinds)
		}
	}
	rows := make([]UsageRow, 0, len(kinds))
	for _, k := range kinds {
		rows = append(rows, usageRow(c, k))
	}
	head := UsageRow{Active: "ACTIVE", Reclaimable: "RECLAIMABLE", Size: "SIZE", TotalCount: "TOTAL", Type: "TYPE", podmanRow: podmanRow{"TOTAL"}}
	return format.Rows(c.Out, form, head, rows)
}

func usageRow(c *command.Call, k podmanUsage) UsageRow {
	r := UsageRow{
		Type: k.Type, TotalCount: strconv.Itoa(k.Total), Active: strconv.Itoa(k.Active), Size: humanSize(k.Size),
		Reclaimable: humanSize(k.Reclaimable),
	}
	switch {
	case k.Size > 0:
		r.Reclaimable += fmt.Sprintf(" (%d%%)", k.Reclaimable*100/k.Size)
	case c.Podman():
		r.Reclaimable += " (0%)"
	}
	r.Total = r.TotalCount
	return r
}
