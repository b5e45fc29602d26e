package system

import (
	"context"
	"fmt"
	"io"

	"berth/cli/docker/command"
	"berth/cli/docker/format"
	"berth/cli/term"
	"berth/engine"
	"berth/rootless"
)

// showSecurity is info --security [CONTAINER].
func (v *Info) showSecurity(ctx context.Context, c *command.Call, words []string) error {
	if err := command.CheckTemplate(c, v.format); err != nil {
		return err
	}
	e, err := c.Open()
	if err != nil {
		return err
	}
	r := engine.SecurityRequest{UID: rootless.UID(), Store: c.Settings.Root}
	if p := c.Settings.Network.Publish; p.IsValid() {
		r.Publish = p.String()
	}
	if len(words) > 0 {
		r.Container = words[0]
	}
	report, err := engine.Security(ctx, e, r)
	if err != nil {
		return command.FromEngine(err)
	}
	switch {
	case v.format == "json" && c.Podman():
		return format.Document(c.Out, report, "  ")
	case v.format != "":
		return format.Value(c.Out, v.format, report)
	}
	if one := report.Container; one != nil {
		seen := "as the kernel shows it"
		if !one.Running {
			seen = "which does not run, as its next start asks for it"
		}
		fmt.Fprintf(c.Out, "Container %s, %s:\n\n", term.Clean(one.Name), seen)
		if err := securityTable(c.Out, one.Rows); err != nil {
			return err
		}
		fmt.Fprint(c.Out, "\nThis machine:\n\n")
	}
	return securityTable(c.Out, report.Host)
}

// securityTable is for people: what, whether, why.
func securityTable(w io.Writer, rows []engine.SecurityRow) error {
	tab := term.Table(w, term.DockerStyle)
	fmt.Fprint(tab, "WHAT\tSTATE\tWHY, OR WHAT MENDS IT\n")
	for i := range rows {
		fmt.Fprintf(tab, "%s\t%s\t%s\n", term.Clean(rows[i].What), rows[i].State, term.Clean(rows[i].Why))
	}
	return tab.Flush()
}
