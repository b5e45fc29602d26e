package images

import (
	"time"

	"berth/cli/docker/command"
	"berth/cli/docker/format"
	"berth/engine"
	"berth/image"
)

// podmanImage is one element of podman's images --format json.
type podmanImage struct {
	ID          string `json:"Id"`
	ParentID    string `json:"ParentId"`
	RepoTags    []string
	RepoDigests []string
	Size        int64
	SharedSize  int64
	VirtualSize int64
	Labels      map[string]string
	Containers  int
	Dangling    bool     `json:",omitempty"`
	Names       []string `json:",omitempty"`
	Digest      string   `json:",omitempty"`
	History     []string `json:",omitempty"`
	Created     int64
	CreatedAt   time.Time
}

func podmanJSON(c *command.Call, e *engine.Engine, list []image.Image) error {
	out := make([]podmanImage, 0, len(list))
	for _, img := range list {
		names := familiarAll(e, img.Names)
		p := podmanImage{
			ID: hexOf(img.ID), ParentID: hexOf(img.Parent), RepoDigests: familiarAll(e, img.Digests), Size: img.Size,
			VirtualSize: img.Size, Labels: img.Labels, Dangling: img.Dangling(), Names: names, History: names,
			Digest: string(img.Target.Digest), Created: img.Created.Unix(), CreatedAt: img.Created.UTC().Truncate(time.Second),
		}
		out = append(out, p)
	}
	return format.Document(c.Out, out, "    ")
}
