// Package registry is the verbs that speak to registries about things that are
// no images here: search, login, logout, in docker's and podman's words. Row 6.
package registry

import (
	"context"
	"errors"
	"strings"

	"github.com/spf13/pflag"

	"berth/cli/docker/command"
	"berth/cli/docker/format"
	"berth/cli/term"
	"berth/engine"
	"berth/image"
)

// Search is search.
type Search struct {
	filters             command.Filters
	format              string
	limit               int
	noTrunc, compatible bool
	tags                bool
	access              command.Access
}

func (v *Search) Flags(f *pflag.FlagSet) {
	command.FilterFlag(f, &v.filters, "f", "Filter output based on conditions provided")
	command.FormatFlag(f, &v.format, "", "Pretty-print search using a Go template")
	f.IntVar(&v.limit, "limit", 25, "Max number of search results")
	f.BoolVar(&v.noTrunc, "no-trunc", false, "Don't truncate output")
	f.BoolVar(&v.compatible, "compatible", false, "List stars, official and automated columns")
	f.BoolVar(&v.tags, "list-tags", false, "List the tags of a repository")
	v.access.Flags(f)
	command.Extra(f, "compatible", "list-tags")
}

// Row is one line; the fields stand in the order of docker's JSON.
type Row struct {
	Description string
	IsAutomated string
	IsOfficial  string
	Name        string
	StarCount   string
	podmanRow
}

// podmanRow is what podman's templates have beside.
type podmanRow struct {
	Index     string `json:"-"`
	Stars     string `json:"-"`
	Official  string `json:"-"`
	Automated string `json:"-"`
	Tag       string `json:"-"`
}

// descriptionWidth is where a description is cut.
const descriptionWidth = 45

func (v *Search) Run(ctx context.Context, c *command.Call, words []string) error {
	if v.tags && len(v.filters) > 0 {
		return errors.New("filters are not applicable to list tags result")
	}
	access, err := v.access.Value()
	if err != nil {
		return err
	}
	e, err := c.Open()
	if err != nil {
		return err
	}
	if v.tags {
		return v.listTags(ctx, c, e, words[0], access)
	}
	found, err := engine.Search(ctx, e, words[0], v.limit, v.filters, access)
	if err != nil {
		return command.FromEngine(err)
	}
	if c.Podman() && v.format == "json" {
		return podmanJSON(c, found)
	}
	rows := make([]Row, 0, len(found))
	for _, f := range found {
		rows = append(rows, v.row(c, f))
	}
	head := Row{Description: "DESCRIPTION", IsAutomated: "AUTOMATED", IsOfficial: "OFFICIAL", Name: "NAME", StarCount: "STARS"}
	head.podmanRow = podmanRow{Index: "INDEX", Stars: "STARS", Official: "OFFICIAL", Automated: "AUTOMATED"}
	form := format.Form{Source: v.format, Style: term.DockerStyle, Table: "{{.Name}}\t{{.Description}}\t{{.StarCount}}\t{{.IsOfficial}}\t{{.IsAutomated}}"}
	if c.Podman() {
		form.Style = term.PodmanStyle
		if !v.compatible {
			form.Table = "{{.Name}}\t{{.Description}}"
		}
	}
	return format.Rows(c.Out, form, head, rows)
}

func (v *Search) row(c *command.Call, f image.Found) Row {
	r := Row{Name: term.Clean(f.Name), StarCount: number(f.Stars), IsOfficial: ok(f.Official), IsAutomated: ok(f.Automated)}
	if c.Podman() {
		r.Name = term.Clean(strings.TrimPrefix(f.Index+"/"+f.Name, "/"))
	}
	r.podmanRow = podmanRow{Index: term.Clean(f.Index), Stars: r.StarCount, Official: r.IsOfficial, Automated: r.IsAutomated}
	d := strings.Join(strings.FieldsFunc(f.Description, func(r rune) bool { return r == '\n' || r == '\r' }), " ")
	r.Description = term.Clean(d)
	if text := []rune(r.Description); !v.noTrunc && len(text) > descriptionWidth {
		if c.Podman() {
			r.Description = string(text[:descriptionWidth-1]) + "..."
		} else {
			r.Description = string(text[:descriptionWidth-1]) + "…"
		}
	}
	return r
}

func ok(b bool) string {
	if b {
		return "[OK]"
	}
	return ""
}

// listTags shows a repository's tags in podman's columns.
func (v *Search) listTags(ctx context.Context, c *command.Call, e *engine.Engine, typed string, access image.Access) error {
	repository, tags, err := engine.SearchTags(ctx, e, typed, v.limit, access)
	if err != nil {
		return command.FromEngine(err)
	}
	if v.format == "json" {
		return format.Document(c.Out, []podmanTags{{Name: repository, Tags: tags}}, "    ")
	}
	rows := make([]Row, 0, len(tags))
	for _, tag := range tags {
		rows = append(rows, Row{Name: repository, podmanRow: podmanRow{Tag: tag}})
	}
	form := format.Form{Source: v.format, Style: term.DockerStyle, Table: "{{.Name}}\t{{.Tag}}"}
	if c.Podman() {
		form.Style = term.PodmanStyle
	}
	return format.Rows(c.Out, form, Row{Name: "NAME", podmanRow: podmanRow{Tag: "TAG"}}, rows)
}

// podmanTags is one element of podman's JSON of --list-tags.
type podmanTags struct {
	Name string
	Tags []string
}

// podmanFound is one element of podman's JSON.
type podmanFound struct {
	Index, Name, Description string
	Stars                    int
	Official, Automated, Tag string
}

func podmanJSON(c *command.Call, found []image.Found) error {
	rows := []podmanFound{}
	for _, f := range found {
		rows = append(rows, podmanFound{
			Index: f.Index, Name: f.Name, Description: f.Description, Stars: f.Stars, Official: ok(f.Official), Automated: ok(f.Automated),
		})
	}
	return format.Document(c.Out, rows, "    ")
}
