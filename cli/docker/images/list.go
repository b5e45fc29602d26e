package images

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/pflag"

	"berth/cli/docker/command"
	"berth/cli/docker/format"
	"berth/cli/term"
	"berth/engine"
	"berth/image"
)

// List is images and image ls.
type List struct {
	all, digests, noTrunc, quiet, noHeading, history bool
	filters                                          command.Filters
	format, sort                                     string
}

func (v *List) Flags(f *pflag.FlagSet) {
	f.BoolVarP(&v.all, "all", "a", false, "Show all images (default hides intermediate images)")
	f.BoolVar(&v.digests, "digests", false, "Show digests")
	command.FilterFlag(f, &v.filters, "f", "Filter output based on conditions provided")
	command.FormatFlag(f, &v.format, "", "Pretty-print images using a Go template")
	f.BoolVar(&v.noTrunc, "no-trunc", false, "Don't truncate output")
	f.BoolVarP(&v.quiet, "quiet", "q", false, "Only show image IDs")
	f.BoolVarP(&v.noHeading, "noheading", "n", false, "Do not print column headings")
	f.BoolVar(&v.history, "history", false, "Show the names an image had")
	f.StringVar(&v.sort, "sort", "created", "Sort by created, id, repository, size, tag")
	command.Extra(f, "noheading", "history", "sort")
}

var sortWords = []string{"created", "id", "repository", "size", "tag"}

// request has no effects.
func (v *List) request(words []string) (image.ListOptions, error) {
	if !slices.Contains(sortWords, v.sort) {
		return image.ListOptions{}, fmt.Errorf("%q is not a valid field for sorting. Choose from: %s", v.sort, strings.Join(sortWords, ", "))
	}
	o := image.ListOptions{All: v.all, Filters: map[string][]string{}}
	for name, values := range v.filters {
		o.Filters[name] = values
	}
	if len(words) == 1 {
		o.Filters["reference"] = append(o.Filters["reference"], words[0])
	}
	return o, nil
}

func (v *List) Run(ctx context.Context, c *command.Call, words []string) error {
	o, err := v.request(words)
	if err != nil {
		return err
	}
	e, err := c.Open()
	if err != nil {
		return err
	}
	list, err := engine.ImageList(ctx, e, o)
	if err != nil {
		return command.FromEngine(err)
	}
	newestFirst(list)
	if c.Podman() && (v.format == "json" || v.format == "{{json .}}") && !v.quiet {
		return podmanJSON(c, e, list)
	}
	f := v.form(c)
	rows := v.rows(c, e, list, v.history || f.Source != "" && f.Source != "table")
	v.order(rows)
	if v.quiet {
		return v.ids(c, rows)
	}
	return format.Rows(c.Out, f, heading(c), rows)
}

// ids prints each id once in podman's words, once for each name in docker's.
func (v *List) ids(c *command.Call, rows []Row) error {
	last := ""
	for _, r := range rows {
		if c.Podman() && r.ID == last {
			continue
		}
		last = r.ID
		fmt.Fprintln(c.Out, r.ID)
	}
	return nil
}

func (v *List) form(c *command.Call) format.Form {
	table := "{{.Repository}}\t{{.Tag}}"
	if v.digests {
		table += "\t{{.Digest}}"
	}
	table += "\t{{.ID}}\t{{.CreatedSince}}\t{{.Size}}"
	f := format.Form{Source: v.format, Table: table, Style: term.DockerStyle, NoHeading: v.noHeading}
	f.Raw = "repository: {{.Repository}}\ntag: {{.Tag}}\n{{if " + fmt.Sprint(v.digests) +
		"}}digest: {{.Digest}}\n{{end}}image_id: {{.ID}}\ncreated_at: {{.CreatedAt}}\nvirtual_size: {{.Size}}\n"
	if c.Podman() {
		f.Style = term.PodmanStyle
		if v.history {
			f.Table += "\t{{.History}}"
		}
	} else if f.Source == "" {
		f.Source = c.Settings.Client.ImagesFormat
	}
	return f
}

// Row is one line: what a template sees. The fields stand in the order in which
// docker's JSON has them.
type Row struct {
	Containers   string
	CreatedAt    string
	CreatedSince string
	Digest       string
	ID           string
	Repository   string
	SharedSize   string
	Size         string
	Tag          string
	UniqueSize   string
	VirtualSize  string
	podmanRow
	bytes int64 // what Size says
}

// podmanRow is what podman's templates have beside.
type podmanRow struct {
	Created  string   `json:"-"`
	Id       string   `json:"-"` //nolint — podman's spelling
	Names    []string `json:"-"`
	History  string   `json:"-"`
	ParentId string   `json:"-"`
	ReadOnly bool     `json:"-"`
	Labels   string   `json:"-"`
}

func heading(c *command.Call) Row {
	r := Row{
		Containers: "CONTAINERS", CreatedAt: "CREATED AT", CreatedSince: "CREATED", Digest: "DIGEST", ID: "IMAGE ID",
		Repository: "REPOSITORY", SharedSize: "SHARED SIZE", Size: "SIZE", Tag: "TAG", UniqueSize: "UNIQUE SIZE",
		VirtualSize: "SIZE",
	}
	r.podmanRow = podmanRow{Created: "CREATED", Id: "IMAGE ID", Names: []string{"NAMES"}, History: "HISTORY", ParentId: "PARENT ID", Labels: "LABELS"}
	return r
}

func (v *List) order(rows []Row) {
	if v.sort == "created" { // they are
		return
	}
	slices.SortStableFunc(rows, func(a, b Row) int {
		switch v.sort {
		case "id":
			return cmp.Compare(a.ID, b.ID)
		case "repository":
			return cmp.Compare(a.Repository, b.Repository)
		case "size":
			return cmp.Compare(a.bytes, b.bytes)
		case "tag":
			return cmp.Compare(a.Tag, b.Tag)
		}
		return 0
	})
}

// rows makes a line of each name of each image, with what only templates show.
func (v *List) rows(c *command.Call, e *engine.Engine, list []image.Image, whole bool) []Row {
	out := make([]Row, 0, len(list))
	digests := v.digests || strings.Contains(v.format, ".Digest") || v.format == "json"
	for i := range list {
		img := &list[i]
		base := v.row(c, e, img, whole)
		for _, n := range names(e, img, digests) {
			r := base
			r.Repository, r.Tag, r.Digest = n.repository, n.tag, n.digest
			out = append(out, r)
		}
	}
	return out
}

func (v *List) row(c *command.Call, e *engine.Engine, img *image.Image, whole bool) Row {
	r := Row{CreatedSince: since(c, img.Created), ID: showID(c, img.ID, v.noTrunc), Size: size(c, img.Size), bytes: img.Size}
	if !whole {
		return r
	}
	r.Containers, r.SharedSize, r.UniqueSize, r.VirtualSize = "N/A", "N/A", "N/A", r.Size
	r.CreatedAt = img.Created.Local().Format("2006-01-02 15:04:05 -0700 MST")
	r.Created, r.Id, r.ParentId = r.CreatedSince, hexOf(img.ID), hexOf(img.Parent)
	r.Names = familiarAll(e, img.Names)
	r.History = strings.Join(r.Names, ", ")
	r.Labels = strings.Join(term.Pairs(img.Labels), ",")
	return r
}

// name is what one line shows of an image's name.
type name struct{ repository, tag, digest string }

// names are the lines of an image: one for each tag, one for each repository
// that knows it by digest only, one of <none> if there is no name at all.
func names(e *engine.Engine, img *image.Image, digests bool) []name {
	byRepository := map[string]string{}
	var order []string
	for _, d := range img.Digests {
		repository, digest, _ := strings.Cut(e.Images.Familiar(d), "@")
		repository, _ = splitTag(repository)
		if _, ok := byRepository[repository]; !ok {
			order = append(order, repository)
		}
		byRepository[repository] = digest
	}
	var out []name
	tagged := map[string]bool{}
	for _, n := range img.Names {
		repository, tag := splitTag(e.Images.Familiar(n))
		digest := byRepository[repository]
		if digest == "" || !digests {
			digest = none
		}
		tagged[repository] = true
		out = append(out, name{term.Clean(repository), term.Clean(tag), digest})
	}
	for _, repository := range order {
		if tagged[repository] || len(out) > 0 && !digests {
			continue
		}
		n := name{term.Clean(repository), none, none}
		if digests {
			n.digest = byRepository[repository]
		}
		out = append(out, n)
	}
	if len(out) == 0 {
		out = []name{{none, none, none}}
	}
	return out
}
