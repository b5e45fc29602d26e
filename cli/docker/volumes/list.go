package volumes

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	units "github.com/docker/go-units"
	"github.com/spf13/pflag"

	"berth/base/fault"
	"berth/cli/docker/command"
	"berth/cli/docker/containers"
	"berth/cli/docker/format"
	"berth/cli/term"
	"berth/engine"
)

// List is volume ls.
type List struct {
	filters   command.Filters
	format    string
	quiet     bool
	noHeading bool
}

func (v *List) Flags(f *pflag.FlagSet) {
	command.FilterFlag(f, &v.filters, "f", "Provide filter values (e.g. 'dangling=true')")
	command.FormatFlag(f, &v.format, "", "Pretty-print volumes using a Go template")
	f.BoolVarP(&v.quiet, "quiet", "q", false, "Only display volume names")
	f.BoolVarP(&v.noHeading, "noheading", "n", false, "Do not print column headings")
	command.Extra(f, "noheading")
}

// Row is one line: what a template sees, in the order of docker's JSON.
type Row struct {
	Driver, Labels, Links, Mountpoint, Name, Scope, Size string

	labels  map[string]string
	heading bool
}

// Label is {{.Label "key"}}.
func (r Row) Label(key string) string { return format.Label(r.labels, r.heading, key) }

var heading = Row{
	Driver: "DRIVER", Labels: "LABELS", Links: "LINKS", Mountpoint: "MOUNTPOINT", Name: "VOLUME NAME", Scope: "SCOPE", Size: "SIZE", heading: true,
}

func (v *List) Run(ctx context.Context, c *command.Call, _ []string) error {
	e, err := open(c)
	if err != nil {
		return err
	}
	list, err := e.VolumeList(ctx, v.filters)
	if err != nil {
		return command.FromEngine(err)
	}
	slices.SortFunc(list, func(a, b Volume) int { return strings.Compare(a.Name, b.Name) })
	return v.print(c, list)
}

func (v *List) print(c *command.Call, list []Volume) error {
	if v.quiet && v.format == "" {
		for _, one := range list {
			fmt.Fprintln(c.Out, term.Clean(one.Name))
		}
		return nil
	}
	if c.Podman() && v.format == "json" {
		docs := make([]any, 0, len(list))
		for i := range list {
			docs = append(docs, document(c, &list[i]))
		}
		return format.Document(c.Out, docs, "     ")
	}
	rows := make([]Row, 0, len(list))
	for i := range list {
		rows = append(rows, row(&list[i]))
	}
	f := format.Form{Source: v.format, Style: term.DockerStyle, NoHeading: v.noHeading, Table: "{{.Driver}}\t{{.Name}}", Raw: "name: {{.Name}}\ndriver: {{.Driver}}\n"}
	if c.Podman() {
		f.Style = term.PodmanStyle
	}
	return format.Rows(c.Out, f, heading, rows)
}

func row(v *Volume) Row {
	r := Row{
		Driver: term.Clean(v.Driver), Links: "N/A", Mountpoint: term.Clean(v.Mountpoint), Name: term.Clean(v.Name), Scope: "local", Size: "N/A",
		labels: v.Labels,
	}
	r.Labels = strings.Join(term.Pairs(v.Labels), ",")
	if v.Size > 0 {
		r.Size, r.Links = units.HumanSize(float64(v.Size)), strconv.Itoa(v.Users)
	}
	return r
}

// UsageRows are volumes as system df -v shows them.
func UsageRows(all []engine.VolumeUsage) []Row {
	rows := make([]Row, 0, len(all))
	for i := range all {
		v := volumeOf(&all[i].VolumeInfo)
		r := row(&v)
		r.Links = strconv.Itoa(v.Users)
		if all[i].Size >= 0 {
			r.Size = units.HumanSize(float64(all[i].Size))
		}
		rows = append(rows, r)
	}
	return rows
}

// Inspect is volume inspect.
type Inspect struct {
	format string
	all    bool
}

func (v *Inspect) Flags(f *pflag.FlagSet) {
	command.FormatFlag(f, &v.format, "f", "Format the output using the given Go template")
	f.BoolVarP(&v.all, "all", "a", false, "Inspect all volumes")
	command.Extra(f, "all")
}

// dockerDocument is a volume as docker's JSON has it, podmanDocument as podman's.
type dockerDocument struct {
	CreatedAt  string
	Driver     string
	Labels     map[string]string
	Mountpoint string
	Name       string
	Options    map[string]string
	Scope      string
}

type podmanDocument struct {
	Name       string
	Driver     string
	Mountpoint string
	CreatedAt  string
	Labels     map[string]string
	Scope      string
	Options    map[string]string
	MountCount int
}

func document(c *command.Call, v *Volume) any {
	if !c.Podman() {
		return dockerDocument{v.Created.Local().Format(time.RFC3339), v.Driver, v.Labels, v.Mountpoint, v.Name, v.Options, "local"}
	}
	d := podmanDocument{
		Name: v.Name, Driver: v.Driver, Mountpoint: v.Mountpoint, CreatedAt: v.Created.Local().Format(time.RFC3339Nano), Labels: v.Labels,
		Scope: "local", Options: v.Options, MountCount: v.Users,
	}
	if d.Labels == nil {
		d.Labels = map[string]string{}
	}
	if d.Options == nil {
		d.Options = map[string]string{}
	}
	return d
}

func (v *Inspect) Run(ctx context.Context, c *command.Call, words []string) error {
	e, err := open(c)
	if err != nil {
		return err
	}
	if v.all {
		list, err := e.VolumeList(ctx, nil)
		if err != nil {
			return command.FromEngine(err)
		}
		words = nil
		for _, one := range list {
			words = append(words, one.Name)
		}
	}
	return containers.PrintDocuments(c, v.format, words, func(name string) (any, error) {
		found, err := e.VolumeInspect(ctx, name)
		if err != nil {
			return nil, missing(c, name, err)
		}
		return document(c, &found), nil
	})
}

// Document is what inspect shows of a volume; found is false if there is none
// of that name.
func Document(ctx context.Context, c *command.Call, name string) (doc any, found bool, err error) {
	e, err := open(c)
	if err != nil {
		return nil, false, err
	}
	v, err := e.VolumeInspect(ctx, name)
	switch {
	case fault.Is(err, fault.NotFound):
		return nil, false, nil
	case err != nil:
		return nil, false, command.FromEngine(err)
	}
	return document(c, &v), true, nil
}
