package cgroup

import (
	"fmt"
	"os"
	"path"
	"slices"
	"strings"
)

// JoinFDsBelow is JoinFDs for existing cgroups below the container's, named as
// runc's exec --cgroup does: PATH for all controllers, or on v1 any number of
// CONTROLLER[,CONTROLLER…]:PATH, where the others stay the container's own.
// Errors: words of another form, a controller that the container is not in, a
// path with "..", a cgroup that does not exist.
func (t *tree) JoinFDsBelow(below []string) (v1tasks []*os.File, v2dir *os.File, err error) {
	if t.none != "" {
		return nil, nil, fmt.Errorf("--cgroup %q: the container has no cgroup: %s", below, t.none)
	}
	sub, err := t.parseBelow(below)
	if err != nil {
		return nil, nil, err
	}
	return t.openAll(true, func(p *place) string {
		for _, name := range t.controllersOf(p) {
			if s, ok := sub[name]; ok {
				return join(p.rel, s)
			}
		}
		return p.rel
	})
}

// controllersOf lists the names that --cgroup knows a hierarchy by. The v2 one
// has a name only where it is the only one: beside v1 it has no controllers.
func (t *tree) controllersOf(p *place) []string {
	switch {
	case p.h != t.l.v2:
		return p.h.controllers
	case t.l.Mode == V2:
		return []string{""}
	}
	return nil
}

// parseBelow maps each controller that is named to a path below the container's.
func (t *tree) parseBelow(below []string) (map[string]string, error) {
	var all []string
	for i := range t.places {
		all = append(all, t.controllersOf(&t.places[i])...)
	}
	sub := map[string]string{}
	for _, word := range below {
		names, dir := all, word
		if list, rest, ok := strings.Cut(word, ":"); ok {
			names, dir = strings.Split(list, ","), rest
		} else if len(below) > 1 {
			return nil, fmt.Errorf("--cgroup %q: beside others it needs a controller: CONTROLLER:PATH", word)
		}
		if err := plainText("--cgroup", dir, pathCap); err != nil {
			return nil, err
		}
		if slices.Contains(strings.Split(dir, "/"), "..") {
			return nil, fmt.Errorf("--cgroup %q: .. may not be in the path", word)
		}
		for _, name := range names {
			if !slices.Contains(all, name) {
				return nil, fmt.Errorf("--cgroup %q: the container is in no cgroup of controller %q", word, name)
			}
			if _, twice := sub[name]; twice {
				return nil, fmt.Errorf("--cgroup %q: controller %q is named twice", below, name)
			}
			sub[name] = strings.Trim(path.Clean("/"+dir), "/")
		}
	}
	return sub, nil
}
