package networks

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/pflag"

	"berth/cli/docker/command"
	"berth/cli/docker/format"
	"berth/cli/term"
)

// List is network ls.
type List struct {
	filters                   command.Filters
	format                    string
	noTrunc, quiet, noHeading bool
}

func (v *List) Flags(f *pflag.FlagSet) {
	f.BoolVarP(&v.quiet, "quiet", "q", false, "Only display network IDs")
	f.BoolVar(&v.noTrunc, "no-trunc", false, "Do not truncate the output")
	command.FormatFlag(f, &v.format, "", "Pretty-print networks using a Go template")
	command.FilterFlag(f, &v.filters, "f", "Provide filter values (e.g. 'driver=bridge')")
	f.BoolVarP(&v.noHeading, "noheading", "n", false, "Do not print column headings")
	command.Extra(f, "noheading")
}

// Row is one line: what a template sees, in the order of docker's JSON.
type Row struct {
	CreatedAt, Driver, ID, IPv6, Internal, Labels, Name, Scope string

	labels  map[string]string
	heading bool
}

// Label is {{.Label "key"}}.
func (r Row) Label(key string) string { return format.Label(r.labels, r.heading, key) }

var heading = Row{
	CreatedAt: "CREATED AT", Driver: "DRIVER", ID: "NETWORK ID", IPv6: "IPV6", Internal: "INTERNAL", Labels: "LABELS", Name: "NAME", Scope: "SCOPE", heading: true,
}

func (v *List) Run(ctx context.Context, c *command.Call, _ []string) error {
	e, err := open(c)
	if err != nil {
		return err
	}
	list, err := e.NetworkList(ctx, v.filters)
	if err != nil {
		return command.FromEngine(err)
	}
	if c.Podman() {
		list = podmans(list)
	}
	return v.print(c, list)
}

// podmans are the networks that podman has, by its names: those without a device are
// none there, and the default one goes by its name.
func podmans(list []Network) []Network {
	list = slices.DeleteFunc(list, func(n Network) bool { return n.Driver == "host" || n.Driver == "null" })
	for i := range list {
		if list[i].Name == "bridge" {
			list[i].Name = "podman"
		}
	}
	return list
}

func (v *List) print(c *command.Call, list []Network) error {
	if c.Podman() && v.format == "json" {
		docs := make([]any, 0, len(list))
		for i := range list {
			docs = append(docs, document(c, &list[i]))
		}
		return format.Document(c.Out, docs, "     ")
	}
	rows := make([]Row, 0, len(list))
	for i := range list {
		rows = append(rows, v.row(&list[i]))
	}
	if v.quiet && v.format == "" {
		for _, r := range rows {
			if c.Podman() {
				r.ID = r.Name
			}
			fmt.Fprintln(c.Out, r.ID)
		}
		return nil
	}
	f := format.Form{
		Source: v.format, Style: term.DockerStyle, NoHeading: v.noHeading, Table: "{{.ID}}\t{{.Name}}\t{{.Driver}}\t{{.Scope}}",
		Raw: "network_id: {{.ID}}\nname: {{.Name}}\ndriver: {{.Driver}}\nscope: {{.Scope}}\n",
	}
	if v.quiet {
		f.Raw = "network_id: {{.ID}}"
	}
	if c.Podman() {
		f.Style, f.Table = term.PodmanStyle, "{{.ID}}\t{{.Name}}\t{{.Driver}}"
	}
	return format.Rows(c.Out, f, heading, rows)
}

func (v *List) row(n *Network) Row {
	r := Row{
		CreatedAt: n.Created.String(), Driver: n.Driver, ID: n.ID, IPv6: strconv.FormatBool(n.IPv6), Internal: strconv.FormatBool(n.Internal),
		Labels: strings.Join(term.Pairs(n.Labels), ","), Name: term.Clean(n.Name), Scope: "local", labels: n.Labels,
	}
	if !v.noTrunc {
		r.ID = r.ID[:min(12, len(r.ID))]
	}
	return r
}
