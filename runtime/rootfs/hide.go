package rootfs

import (
	"fmt"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"berth/runtime/initproc"
)

// hide plans read-only and masked paths, from inside the new root.
func (p *planner) hide() error {
	readonly, err := p.paths("linux.readonlyPaths", p.linux.ReadonlyPaths)
	if err != nil {
		return err
	}
	masked, err := p.paths("linux.maskedPaths", p.linux.MaskedPaths)
	if err != nil {
		return err
	}
	for _, path := range readonly {
		p.b.Add(&initproc.ReadonlyPath{Path: path})
	}
	if len(masked) == 0 {
		return nil
	}
	s := &initproc.MaskPaths{Paths: masked, Null: initproc.NoFD, Label: p.linux.MountLabel}
	if p.o.Rights.Mount {
		s.Null = p.b.File("null device", openNull)
	}
	p.b.Add(s)
	return nil
}

// paths checks a list of paths in the container.
func (p *planner) paths(field string, list []string) ([]string, error) {
	if len(list) > maxPaths {
		return nil, fmt.Errorf("%s: more than %d", field, maxPaths)
	}
	if len(list) > 0 && !p.ownMounts {
		return nil, fmt.Errorf("%s: need a mount namespace", field)
	}
	clean := make([]string, len(list))
	for i, path := range list {
		clean[i] = filepath.Clean("/" + path)
		if path == "" || clean[i] == "/" || strings.IndexByte(path, 0) >= 0 || len(path) >= unix.PathMax {
			return nil, fmt.Errorf("%s[%d]: %q is not a path below the root", field, i, path)
		}
	}
	return clean, nil
}
