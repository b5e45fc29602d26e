package containers

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/pflag"

	"berth/cli/docker/command"
	"berth/cli/docker/format"
	"berth/cli/term"
)

// List is ps and container ls.
type List struct {
	all, latest, noTrunc, quiet, size, noHeading bool
	last                                         int
	filters                                      command.Filters
	format, sort                                 string
}

func (v *List) Flags(f *pflag.FlagSet) {
	f.BoolVarP(&v.all, "all", "a", false, "Show all containers (default shows just running)")
	command.FilterFlag(f, &v.filters, "f", "Filter output based on conditions provided")
	command.FormatFlag(f, &v.format, "", "Pretty-print containers using a Go template")
	f.IntVarP(&v.last, "last", "n", -1, "Show n last created containers (includes all states)")
	f.BoolVarP(&v.latest, "latest", "l", false, "Show the latest created container (includes all states)")
	f.BoolVar(&v.noTrunc, "no-trunc", false, "Don't truncate output")
	f.BoolVarP(&v.quiet, "quiet", "q", false, "Only display container IDs")
	f.BoolVarP(&v.size, "size", "s", false, "Display total file sizes")
	f.BoolVar(&v.noHeading, "noheading", false, "Do not print column headings")
	f.StringVar(&v.sort, "sort", "created", "Sort by command, created, id, image, names, runningfor, size, status")
	for _, taken := range []string{"external", "pod", "sync", "namespace"} {
		f.Bool(taken, false, "Taken for podman's sake")
	}
	command.Extra(f, "noheading", "sort", "external", "pod", "sync", "namespace")
}

var sortWords = []string{"command", "created", "id", "image", "names", "runningfor", "size", "status"}

// request has no effects; source is the format that holds.
func (v *List) request(source string) (ListOptions, error) {
	if !slices.Contains(sortWords, v.sort) {
		return ListOptions{}, fmt.Errorf("%q is not a valid field for sorting. Choose from: %s", v.sort, strings.Join(sortWords, ", "))
	}
	o := ListOptions{All: v.all, Last: max(0, v.last), Filters: v.filters}
	if v.latest {
		o.Last = 1
	}
	o.Size = v.size || strings.Contains(source, ".Size") || strings.Contains(source, "json") || v.sort == "size"
	return o, nil
}

func (v *List) Run(ctx context.Context, c *command.Call, _ []string) error {
	e, err := open(c)
	if err != nil {
		return err
	}
	source := v.format
	if source == "" && !v.quiet && !c.Podman() {
		source = c.Settings.Client.PsFormat
	}
	o, err := v.request(source)
	if err != nil {
		return err
	}
	list, err := e.List(ctx, o)
	if err != nil {
		return command.FromEngine(err)
	}
	v.order(list)
	return v.print(c, source, list)
}

// order sorts by what was asked for; the newest stand first else.
func (v *List) order(list []Summary) {
	key := map[string]func(a, b Summary) int{
		"command": func(a, b Summary) int {
			return strings.Compare(strings.Join(a.Command, " "), strings.Join(b.Command, " "))
		},
		"id":         func(a, b Summary) int { return strings.Compare(a.ID, b.ID) },
		"image":      func(a, b Summary) int { return strings.Compare(a.Image, b.Image) },
		"names":      func(a, b Summary) int { return strings.Compare(a.Name, b.Name) },
		"runningfor": func(a, b Summary) int { return a.State.StartedAt.Compare(b.State.StartedAt) },
		"size":       func(a, b Summary) int { return int(a.Size - b.Size) },
		"status":     func(a, b Summary) int { return strings.Compare(a.State.Status, b.State.Status) },
	}[v.sort]
	slices.SortStableFunc(list, func(a, b Summary) int {
		if key != nil {
			return key(a, b)
		}
		return b.Created.Compare(a.Created)
	})
}

func (v *List) print(c *command.Call, source string, list []Summary) error {
	if c.Podman() && source == "json" {
		return podmanList(c, list)
	}
	if v.quiet && source == "" {
		for _, one := range list {
			fmt.Fprintln(c.Out, v.id(one.ID))
		}
		return nil
	}
	rows := make([]Row, 0, len(list))
	for i := range list {
		rows = append(rows, v.row(c, &list[i]))
	}
	return templateError(format.Rows(c.Out, v.form(c, source), listHeading(c), rows))
}

// templateError words a bad template as docker's ps does.
func templateError(err error) error {
	const said = "template parsing error: "
	if err == nil || !strings.HasPrefix(err.Error(), said) {
		return err
	}
	text := strings.TrimPrefix(err.Error(), said)
	if strings.Contains(text, ": executing ") {
		return errors.New("failed to execute template: " + text)
	}
	return errors.New("failed to parse template: " + text)
}

func (v *List) id(id string) string {
	if v.noTrunc {
		return id
	}
	return shortID(id)
}

func (v *List) form(c *command.Call, source string) format.Form {
	f := format.Form{
		Source: source, Style: term.DockerStyle, NoHeading: v.noHeading,
		Table: "{{.ID}}\t{{.Image}}\t{{.Command}}\t{{.RunningFor}}\t{{.Status}}\t{{.Ports}}\t{{.Names}}",
		Raw: "container_id: {{.ID}}\nimage: {{.Image}}\ncommand: {{.Command}}\ncreated_at: {{.CreatedAt}}\nstate: {{- if .State}} {{.State}}{{- end}}\n" +
			"status: {{- if .Status}} {{.Status}}{{- end}}\nnames: {{.Names}}\nlabels: {{- if .Labels}} {{.Labels}}{{- end}}\nports: {{- if .Ports}} {{.Ports}}{{- end}}\n",
	}
	if v.quiet {
		f.Raw = "container_id: {{.ID}}"
	}
	if v.size {
		f.Table += "\t{{.Size}}"
		f.Raw += "size: {{.Size}}\n"
	}
	if c.Podman() {
		f.Style = term.PodmanStyle
	}
	return f
}
