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
	"berth/container"
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
	kinds := []podmanUsage{imagesUsage(u), containersUsage(u), volumesUsage(u)}
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

func imagesUsage(u *engine.Usage) podmanUsage {
	k := podmanUsage{Type: "Images", Total: len(u.Images.Images), Size: u.Images.Size, Reclaimable: u.Images.Reclaimable}
	for _, i := range u.Images.Images {
		if i.Containers > 0 {
			k.Active++
		}
	}
	return k
}

func containersUsage(u *engine.Usage) podmanUsage {
	k := podmanUsage{Type: "Containers", Total: len(u.Containers)}
	for i := range u.Containers {
		s := &u.Containers[i]
		k.Size += s.Own
		if st := s.State(); st.Live() || st == container.StateRestarting {
			k.Active++
		} else {
			k.Reclaimable += s.Own
		}
	}
	return k
}

func volumesUsage(u *engine.Usage) podmanUsage {
	k := podmanUsage{Type: "Local Volumes", Total: len(u.Volumes)}
	for i := range u.Volumes {
		v := &u.Volumes[i]
		size := max(v.Size, 0) // unknown
		k.Size += size
		if len(v.Users) > 0 {
			k.Active++
		} else {
			k.Reclaimable += size
		}
	}
	return k
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
