package system

import (
	"fmt"
	"io"
	"strconv"
	"strings"

	units "github.com/docker/go-units"

	"berth/cli/docker/command"
	"berth/cli/docker/format"
	"berth/cli/term"
	"berth/engine"
	"berth/image"
)

// longImage is one image of docker's system df -v, in the order of its JSON.
type longImage struct {
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
}

// longUsage is the whole of it.
type longUsage struct {
	Images     []longImage
	Containers []struct{}
	Volumes    []struct{}
	BuildCache []struct{}
}

func (v *DiskUsage) long(c *command.Call, e *engine.Engine, u image.Usage) error {
	all := longUsage{Images: []longImage{}, Containers: []struct{}{}, Volumes: []struct{}{}, BuildCache: []struct{}{}}
	whole := v.format != ""
	for _, i := range u.Images {
		all.Images = append(all.Images, longRows(c, e, i, whole)...)
	}
	if v.format != "" {
		return format.Value(c.Out, v.format, all)
	}
	style := term.DockerStyle
	if c.Podman() {
		style = term.PodmanStyle
	}
	fmt.Fprint(c.Out, "Images space usage:\n\n")
	tab := term.Table(c.Out, style)
	line(tab, "REPOSITORY", "TAG", "IMAGE ID", "CREATED", "SIZE", "SHARED SIZE", "UNIQUE SIZE", "CONTAINERS")
	for _, r := range all.Images {
		line(tab, r.Repository, r.Tag, r.ID, r.CreatedSince, r.VirtualSize, r.SharedSize, r.UniqueSize, r.Containers)
	}
	if err := tab.Flush(); err != nil {
		return err
	}
	fmt.Fprint(c.Out, "\nContainers space usage:\n\n")
	if err := header(c.Out, style, "CONTAINER ID", "IMAGE", "COMMAND", "LOCAL VOLUMES", "SIZE", "CREATED", "STATUS", "NAMES"); err != nil {
		return err
	}
	fmt.Fprint(c.Out, "\nLocal Volumes space usage:\n\n")
	if err := header(c.Out, style, "VOLUME NAME", "LINKS", "SIZE"); err != nil || c.Podman() {
		return err
	}
	fmt.Fprint(c.Out, "\nBuild cache usage: 0B\n\n")
	return header(c.Out, style, "CACHE ID", "CACHE TYPE", "SIZE", "CREATED", "LAST USED", "USAGE", "SHARED")
}

func line(w io.Writer, cells ...string) { fmt.Fprintln(w, strings.Join(cells, "\t")) }

func header(w io.Writer, s term.Style, cells ...string) error {
	tab := term.Table(w, s)
	line(tab, cells...)
	return tab.Flush()
}

func longRows(c *command.Call, e *engine.Engine, i image.ImageUsage, whole bool) []longImage {
	_, id, _ := strings.Cut(string(i.ID), ":")
	base := longImage{
		Containers: strconv.Itoa(i.Containers), CreatedAt: i.Created.Local().Format("2006-01-02 15:04:05 -0700 MST"),
		CreatedSince: units.HumanDuration(c.Now().Sub(i.Created)) + " ago", ID: id[:min(12, len(id))],
		SharedSize: humanSize(i.Shared), Size: units.HumanSizeWithPrecision(float64(i.Size), 3),
		UniqueSize: humanSize(i.Unique), VirtualSize: humanSize(i.Size), Repository: "<none>", Tag: "<none>",
	}
	if whole {
		base.ID = string(i.ID)
	}
	if c.Podman() {
		base.CreatedSince = strings.TrimSuffix(base.CreatedSince, " ago")
	}
	var out []longImage
	for _, n := range i.Names {
		r := base
		familiar := term.Clean(e.Images.Familiar(n))
		at := strings.LastIndexByte(familiar, ':')
		if at < 0 {
			at = len(familiar)
		}
		r.Repository, r.Tag = familiar[:at], strings.TrimPrefix(familiar[at:], ":")
		out = append(out, r)
	}
	if out == nil {
		out = []longImage{base}
	}
	return out
}
