package container

import (
	"context"
	"os"
	"path/filepath"
	"strings"

	"berth/base/atomicfile"
)

// Finding is one thing that is wrong in the store.
type Finding struct {
	Path     string
	Problem  string
	Harm     bool // something does not work; else it only takes space
	Repaired bool
}

// Check looks at every record and name, and for what killed verbs left, which
// drop has others take away first, see Sweep. With a nil drop it only looks. It
// disturbs no verb that is at work; a broken record is only told.
func (s *Store) Check(ctx context.Context, drop func(ID, Intent) error) ([]Finding, error) {
	out, err := s.Sweep(ctx, drop)
	if err != nil {
		return out, err
	}
	names, err := s.names.tidyNames(drop != nil)
	if err != nil {
		return out, err
	}
	out = append(out, names...)
	for _, dir := range []string{s.kept(), s.running(), s.exits(), s.opts.Run} {
		entries, err := os.ReadDir(dir)
		if err != nil {
			return out, err
		}
		for _, e := range entries {
			var f *Finding
			switch {
			case !e.IsDir() && atomicfile.IsStaged(e.Name()):
				f = dropStale(filepath.Join(dir, e.Name()), drop != nil)
			case dir == s.kept() || dir == s.running():
				f = s.checkEntry(dir, e.Name())
			}
			if f != nil {
				out = append(out, *f)
			}
		}
	}
	return out, ctx.Err()
}

// checkEntry looks at one entry; what has no record is the sweep's.
func (s *Store) checkEntry(dir, name string) *Finding {
	path := filepath.Join(dir, name)
	switch {
	case name == bootFile, strings.HasPrefix(name, hidden):
		return nil
	case !isID(name):
		return &Finding{Path: path, Problem: "not a container's folder"}
	case s.Home(ID(name)) != path || !s.exists(ID(name)):
		return nil // the run folder of a kept one; or it goes just now
	}
	_, err := readRecord(path, ID(name))
	if err == nil {
		_, err = s.facts(ID(name))
	}
	if err != nil && !gone(err) {
		return &Finding{Path: path, Problem: err.Error(), Harm: true}
	}
	return nil
}
