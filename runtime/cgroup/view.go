package cgroup

import "strings"

// Directory is a container's directory in one mounted v1 hierarchy.
type Directory struct {
	Name string // of the mount's directory: "memory", "cpu,cpuacct", "systemd"
	Data string // mount options that select the hierarchy: "memory", "none,name=systemd"
	Path string // on the host, absolute
}

// Close closes the layout that c was made from. c must not be used afterwards.
func (c *Cgroup) Close() error { return c.l.Close() }

// Mode returns the layout of the host.
func (t *tree) Mode() Mode { return t.l.Mode }

// Unified returns the container's directory in the unified hierarchy, "" if it
// has none.
func (t *tree) Unified() string {
	if p := t.v2(); p != nil && t.none == "" {
		return p.h.mount + "/" + p.rel
	}
	return ""
}

// V1 returns the container's directories in the v1 hierarchies, in the order of
// the layout. Without a cgroup of its own they are the hierarchies' roots.
func (t *tree) V1() []Directory {
	list := make([]Directory, 0, len(t.l.v1))
	for i := range t.l.v1 {
		h := &t.l.v1[i]
		d := Directory{Name: h.mount[strings.LastIndexByte(h.mount, '/')+1:], Data: strings.Join(h.controllers, ","), Path: h.mount}
		if strings.HasPrefix(d.Data, "name=") {
			d.Data = "none," + d.Data
		}
		for j := range t.places {
			if t.places[j].h == h && t.none == "" {
				d.Path = h.mount + "/" + t.places[j].rel
			}
		}
		list = append(list, d)
	}
	return list
}
