package secrets

import (
	"context"
	"fmt"
	"strings"
	"time"

	units "github.com/docker/go-units"
	"github.com/spf13/pflag"

	"berth/base/fault"
	"berth/cli/docker/command"
	"berth/cli/docker/containers"
	"berth/cli/docker/format"
	"berth/cli/term"
	"berth/secret"
)

// List is podman's secret ls.
type List struct {
	filters          command.Filters
	format           string
	quiet, noHeading bool
}

func (v *List) Flags(f *pflag.FlagSet) {
	command.FilterFlag(f, &v.filters, "f", "Filter secret output (e.g. 'name=web')")
	command.FormatFlag(f, &v.format, "", "Format secrets using a Go template")
	f.BoolVarP(&v.noHeading, "noheading", "n", false, "Do not print headers")
	f.BoolVarP(&v.quiet, "quiet", "q", false, "Print secret IDs only")
}

// Row is one line: what a template sees.
type Row struct{ ID, Name, Driver, CreatedAt, UpdatedAt string }

var heading = Row{"ID", "NAME", "DRIVER", "CREATED", "UPDATED"}

func (v *List) Run(ctx context.Context, c *command.Call, _ []string) error {
	e, err := open(c)
	if err != nil {
		return err
	}
	list, err := e.SecretList(ctx, v.filters)
	if err != nil {
		return command.FromEngine(err)
	}
	return v.print(c, list)
}

func (v *List) print(c *command.Call, list []Secret) error {
	if v.quiet {
		for i := range list {
			fmt.Fprintln(c.Out, list[i].ID)
		}
		return nil
	}
	rows := make([]Row, 0, len(list))
	for i := range list {
		s := &list[i]
		age := func(t time.Time) string { return units.HumanDuration(c.Now().Sub(t)) + " ago" }
		rows = append(rows, Row{s.ID, term.Clean(s.Name), secret.Driver, age(s.Created), age(s.Updated)})
	}
	f := format.Form{Source: v.format, Style: term.PodmanStyle, NoHeading: v.noHeading,
		Table: "{{.ID}}\t{{.Name}}\t{{.Driver}}\t{{.CreatedAt}}\t{{.UpdatedAt}}"}
	return format.Rows(c.Out, f, heading, rows)
}

// Inspect is podman's secret inspect.
type Inspect struct {
	format       string
	pretty, show bool
}

func (v *Inspect) Flags(f *pflag.FlagSet) {
	command.FormatFlag(f, &v.format, "f", "Format inspect output using Go template")
	f.BoolVar(&v.pretty, "pretty", false, "Print inspect output in human-readable format")
	f.BoolVar(&v.show, "showsecret", false, "Display the secret")
}

// document is a secret as podman's JSON has it.
type document struct {
	ID         string
	CreatedAt  time.Time
	UpdatedAt  time.Time
	Spec       spec
	SecretData string `json:",omitempty"`
}

type spec struct {
	Name   string
	Driver driver
	Labels map[string]string
}

type driver struct {
	Name    string
	Options map[string]string
}

func (v *Inspect) document(s *Secret) document {
	d := document{s.ID, s.Created, s.Updated, spec{s.Name, driver{secret.Driver, s.Options}, s.Labels}, ""}
	for _, m := range []*map[string]string{&d.Spec.Labels, &d.Spec.Driver.Options} {
		if *m == nil {
			*m = map[string]string{}
		}
	}
	if v.show {
		d.SecretData = string(s.Data)
	}
	return d
}

func (v *Inspect) Run(ctx context.Context, c *command.Call, words []string) error {
	e, err := open(c)
	if err != nil {
		return err
	}
	look := func(name string) (any, error) {
		s, err := e.SecretInspect(ctx, name)
		if err != nil {
			return nil, noSuch(name, err)
		}
		return v.document(&s), nil
	}
	if !v.pretty {
		return containers.PrintDocuments(c, v.format, words, look)
	}
	for _, name := range words {
		found, err := look(name)
		if err != nil {
			return err
		}
		v.print(c, found.(document))
	}
	return nil
}

// print is --pretty.
func (v *Inspect) print(c *command.Call, d document) {
	for _, line := range [][2]string{
		{"ID:", d.ID}, {"Name:", d.Spec.Name}, {"Labels:", strings.Join(term.Pairs(d.Spec.Labels), ", ")}, {"Driver:", d.Spec.Driver.Name},
		{"Created:", d.CreatedAt.Local().Format(time.RFC1123Z)}, {"Updated:", d.UpdatedAt.Local().Format(time.RFC1123Z)},
	} {
		fmt.Fprintf(c.Out, "%-20s%s\n", line[0], term.Clean(line[1]))
	}
	if v.show {
		fmt.Fprintf(c.Out, "%-20s%s\n", "Secret:", term.CleanText(d.SecretData))
	}
}

// noSuch is inspect's line about a secret that is not there.
func noSuch(name string, err error) error {
	if fault.Is(err, fault.NotFound) {
		return command.Line("inspecting secret %s: no such secret", name)
	}
	return command.FromEngine(err)
}
