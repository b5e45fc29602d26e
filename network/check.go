package network

import (
	"context"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"berth/base/atomicfile"
	"berth/base/fault"
	"berth/base/flock"
	"berth/base/ids"
	"berth/network/home"
	"berth/network/record"
)

// Finding is something that a killed verb left: it only takes space.
type Finding struct {
	Path     string
	Problem  string
	Repaired bool
}

// Sweep takes away what is left of networks whose removal was killed.
func (s *builder) Sweep() error { return s.at.After(s.dropGone) }

// Check looks for what killed verbs left: files that were being written, what
// is reserved for containers that are gone, and what is left of networks. With repair
// that goes.
func (s *Store) Check(ctx context.Context, repair bool) ([]Finding, error) {
	return home.Of(s.at.After, func() ([]Finding, error) { return check(ctx, s, repair) })
}

func check(ctx context.Context, s *Store, repair bool) ([]Finding, error) {
	var out []Finding
	for _, dir := range []string{s.files.Run, s.records.Root} {
		err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() || !atomicfile.IsStaged(d.Name()) && !strings.HasPrefix(d.Name(), record.Unlinked) {
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
	gone, err := goneNetworks(&s.builder, repair)
	if out = append(out, gone...); err != nil {
		return out, err
	}
	owners := map[string]string{}
	names, err := s.files.Names("endpoints")
	if err != nil {
		return out, err
	}
	for _, name := range names {
		owners[name] = filepath.Join(s.files.Run, "endpoints", name+".json")
	}
	if list, err := os.ReadDir(s.book().Owners()); err == nil {
		for _, e := range list {
			owners[e.Name()] = filepath.Join(s.book().Owners(), e.Name())
		}
	}
	for owner, path := range owners {
		id, err := ids.Parse(owner)
		if err != nil || s.live(owner) {
			continue
		}
		if _, err := os.Lstat(path); err != nil {
			continue // it went with its container
		}
		f := Finding{Path: path, Problem: "reserved for a container that is gone"}
		if repair {
			if err := s.leave(id, true); err != nil {
				return out, err
			}
			f.Repaired = true
		}
		out = append(out, f)
	}
	return out, nil
}

// goneNetworks finds devices, addresses and locks of networks that have no record.
func goneNetworks(s *builder, repair bool) (out []Finding, err error) {
	lives, err := s.lives()
	if err != nil {
		return nil, err
	}
	for _, l := range lives {
		if err := s.records.Still(l.Network); fault.Is(err, fault.NotFound) {
			path := filepath.Join(s.files.Run, "nets", l.Network.ID+".json")
			out = append(out, Finding{path, "device of network " + l.Network.Name + ", which is gone", repair})
		}
	}
	if repair && len(out) > 0 {
		if err := s.dropGone(); err != nil {
			return out, err
		}
	}
	for _, kind := range []string{"addresses", "locks"} {
		list, _ := os.ReadDir(filepath.Join(s.files.Run, kind))
		for _, entry := range list {
			if len(entry.Name()) != idLength {
				continue // one of the locks for all
			}
			is, repaired, err := leftOf(s, entry.Name(), kind == "addresses", repair)
			if err != nil {
				return out, err
			}
			if is {
				out = append(out, Finding{filepath.Join(s.files.Run, kind, entry.Name()), "left of a network that is gone", repaired})
			}
		}
	}
	return out, nil
}

// idLength is the length of a network's id.
const idLength = 64

// leftOf reports whether there is no network of an id, of which something is there, and
// with repair takes that away.
func leftOf(s *builder, id string, addresses, repair bool) (is, repaired bool, err error) {
	if s.records.IsBuiltIn(id) || s.records.Recorded(id) {
		return false, false, nil
	}
	held, err := s.files.Lock(id, flock.TryLock)
	if fault.Is(err, fault.Busy) {
		return false, false, nil // somebody is at it
	}
	if err != nil {
		return false, false, err
	}
	defer held.Unlock()
	if s.records.Recorded(id) { // meanwhile
		return false, false, nil
	}
	if repair {
		err = s.book().Clear(id)
	}
	if err == nil && (repair || addresses) { // with addresses, the lock is perhaps our own
		err = held.Remove()
	}
	return true, repair && err == nil, err
}
