package network

import (
	"context"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"berth/base/atomicfile"
	"berth/base/ids"
)

// Finding is something that a killed verb left: it only takes space.
type Finding struct {
	Path     string
	Problem  string
	Repaired bool
}

// Check looks for what killed verbs left: files that were being written, and what
// is reserved for containers that are gone. With repair that goes.
func (s *Store) Check(ctx context.Context, repair bool) ([]Finding, error) {
	var out []Finding
	for _, dir := range []string{s.run, s.root} {
		err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() || !atomicfile.IsStaged(d.Name()) && !strings.HasPrefix(d.Name(), unlinked) {
				return nil // what cannot be read is told by those who need it
			}
			if info, err := d.Info(); err != nil || time.Since(info.ModTime()) < atomicfile.Stale {
				return nil
			}
			out = append(out, Finding{path, "left by a command that was killed", repair && os.Remove(path) == nil})
			return ctx.Err()
		})
		if err != nil {
			return out, err
		}
	}
	owners := map[string]string{}
	names, err := s.names("endpoints")
	if err != nil {
		return out, err
	}
	for _, name := range names {
		owners[name] = filepath.Join(s.run, "endpoints", name+".json")
	}
	if list, err := os.ReadDir(s.book().Owners()); err == nil {
		for _, e := range list {
			owners[e.Name()] = filepath.Join(s.book().Owners(), e.Name())
		}
	}
	for owner, path := range owners {
		id, err := ids.Parse(owner)
		if err != nil || s.live == nil || s.live(owner) {
			continue
		}
		if _, err := os.Lstat(path); err != nil {
			continue // it went with its container
		}
		f := Finding{Path: path, Problem: "reserved for a container that is gone"}
		if repair {
			if err := s.Release(ctx, id); err != nil {
				return out, err
			}
			f.Repaired = true
		}
		out = append(out, f)
	}
	return out, nil
}
