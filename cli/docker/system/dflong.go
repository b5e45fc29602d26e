package system

import (
	"fmt"
	"io"
	"strconv"
	"strings"

	units "github.com/docker/go-units"

	"berth/cli/docker/command"
	"berth/cli/docker/containers"
	"berth/cli/docker/format"
	"berth/cli/docker/volumes"
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
	Containers []containers.Row
	Volumes    []volumes.Row
	BuildCache []struct{}
}

func (v *DiskUsage) long(c *command.Call, e *engine.Engine, u *engine.Usage) error {
	whole := v.format != ""
	all := longUsage{Images: []longImage{}, Containers: containers.UsageRows(c, u.Containers, whole), Volumes: volumes.UsageRows(u.Volumes), BuildCache: []struct{}{}}
	for _, i := range u.Images.Images {
		all.Images = append(all.Images, longRows(c, e, i, whole)...)
	}
	if whole {
		return format.Value(c.Out, v.format, all)
	}
	style := term.DockerStyle
	if c.Podman() {
		style = term.PodmanStyle
	}
	images := [][]string{{"REPOSITORY", "TAG", "IMAGE ID", "CREATED", "SIZE", "SHARED SIZE", "UNIQUE SIZE", "CONTAINERS"}}
	for _, r := range all.Images {
		images = append(images, []string{r.Repository, r.Tag, r.ID, r.CreatedSince, r.VirtualSize, r.SharedSize, r.UniqueSize, r.Containers})
	}
	instances := [][]string{{"CONTAINER ID", "IMAGE", "COMMAND", "LOCAL VOLUMES", "SIZE", "CREATED", "STATUS", "NAMES"}}
	for _, r := range all.Containers {
		instances = append(instances, []string{r.ID, r.Image, r.Command, r.LocalVolumes, r.Size, r.RunningFor, r.Status, r.Names})
	}
	kept := [][]string{{"VOLUME NAME", "LINKS", "SIZE"}}
	for _, r := range all.Volumes {
		kept = append(kept, []string{r.Name, r.Links, r.Size})
	}
	tables := []table{{"Images space usage:\n\n", images}, {"\nContainers space usage:\n\n", instances}, {"\nLocal Volumes space usage:\n\n", kept}}
	if !c.Podman() {
		cache := [][]string{{"CACHE ID", "CACHE TYPE", "SIZE", "CREATED", "LAST USED", "USAGE", "SHARED"}}
		tables = append(tables, table{"\nBuild cache usage: 0B\n\n", cache})
	}
	for _, t := range tables {
		if err := t.print(c.Out, style); err != nil {
			return err
		}
	}
	return nil
}

// table is one part of it.
type table struct {
	title string
	lines [][]string
}

func (t *table) print(w io.Writer, s term.Style) error {
	fmt.Fprint(w, t.title)
	tab := term.Table(w, s)
	for _, cells := range t.lines {
		fmt.Fprintln(tab, strings.Join(cells, "\t"))
	}
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
