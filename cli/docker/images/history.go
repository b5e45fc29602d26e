package images

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"berth/cli/docker/command"
	"berth/cli/docker/format"
	"berth/cli/term"
	"berth/engine"
	"berth/image"
)

// History is history and image history.
type History struct {
	format                string
	human, noTrunc, quiet bool
}

func (v *History) Flags(f *pflag.FlagSet) {
	command.FormatFlag(f, &v.format, "", "Pretty-print images using a Go template")
	f.BoolVarP(&v.human, "human", "H", true, "Print sizes and dates in human readable format")
	f.BoolVar(&v.noTrunc, "no-trunc", false, "Don't truncate output")
	f.BoolVarP(&v.quiet, "quiet", "q", false, "Only show image IDs")
}

// HistoryRow is one line; the fields stand in the order of docker's JSON.
type HistoryRow struct {
	Comment      string
	CreatedAt    string
	CreatedBy    string
	CreatedSince string
	ID           string
	Size         string
	podmanHistory
}

// podmanHistory is what podman's templates have beside.
type podmanHistory struct {
	Created string `json:"-"`
	Tags    string `json:"-"`
}

// createdByWidth is where a command is cut.
const createdByWidth = 45

func (v *History) Run(ctx context.Context, c *command.Call, words []string) error {
	e, err := c.Open()
	if err != nil {
		return err
	}
	d, err := engine.ImageInspect(ctx, e, words[0])
	if err != nil {
		return unknownImage(c, err, daemonUnknown)
	}
	if c.Podman() && v.format == "json" {
		return podmanHistoryJSON(c, d)
	}
	rows := make([]HistoryRow, 0, len(d.History))
	for _, l := range d.History {
		rows = append(rows, v.row(c, l))
	}
	if v.quiet {
		for _, r := range rows {
			fmt.Fprintln(c.Out, r.ID)
		}
		return nil
	}
	head := HistoryRow{Comment: "COMMENT", CreatedAt: "CREATED AT", CreatedBy: "CREATED BY", CreatedSince: "CREATED", ID: "IMAGE", Size: "SIZE"}
	head.Created, head.Tags = "CREATED", "TAGS"
	form := format.Form{Source: v.format, Style: term.DockerStyle, Table: "{{.ID}}\t{{.CreatedSince}}\t{{.CreatedBy}}\t{{.Size}}\t{{.Comment}}"}
	if c.Podman() {
		head.ID, form.Style = "ID", term.PodmanStyle
	} else if !v.human {
		form.Table = strings.Replace(form.Table, ".CreatedSince", ".CreatedAt", 1)
	}
	return format.Rows(c.Out, form, head, rows)
}

func (v *History) row(c *command.Call, l image.Layer) HistoryRow {
	r := HistoryRow{
		Comment: term.Clean(l.Comment), CreatedAt: l.Created.Format(time.RFC3339), ID: "<missing>",
		CreatedBy: term.Clean(l.CreatedBy), Size: strconv.FormatInt(l.Size, 10),
	}
	r.CreatedSince = r.CreatedAt
	if l.ID != "" {
		r.ID = showID(c, l.ID, v.noTrunc)
	}
	if v.human {
		r.CreatedSince, r.Size = since(c, l.Created), size(c, l.Size)
	}
	if !v.noTrunc {
		r.CreatedBy = ellipsis(c, r.CreatedBy, createdByWidth)
	}
	r.Created, r.Tags = r.CreatedSince, strings.Join(l.Tags, ", ")
	return r
}

// ellipsis cuts a text to a number of columns as the dialect does.
func ellipsis(c *command.Call, s string, width int) string {
	r := []rune(s)
	if len(r) <= width {
		return s
	}
	if c.Podman() {
		return string(r[:width-3]) + "..."
	}
	return string(r[:width-1]) + "…"
}

// podmanHistoryRow is one element of podman's JSON.
type podmanHistoryRow struct {
	ID        string     `json:"id"`
	Created   *time.Time `json:"created,omitempty"`
	CreatedBy string     `json:"createdBy,omitempty"`
	Tags      []string   `json:"tags,omitempty"`
	Size      int64      `json:"size,omitempty"`
	Comment   string     `json:"comment,omitempty"`
	Short     string     `json:"Created"`
}

func podmanHistoryJSON(c *command.Call, d image.Details) error {
	rows := []podmanHistoryRow{}
	for _, l := range d.History {
		r := podmanHistoryRow{ID: "<missing>", Created: &l.Created, CreatedBy: l.CreatedBy, Tags: l.Tags, Size: l.Size, Comment: l.Comment}
		if l.ID != "" {
			r.ID = hexOf(l.ID)
		}
		r.Short = l.Created.UTC().Format(time.RFC3339)
		rows = append(rows, r)
	}
	return format.Value(c.Out, "json", rows)
}
