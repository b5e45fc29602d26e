package container

import (
	"os"
	"path/filepath"
	"strings"
	"time"

	"berth/base/atomicfile"
	"berth/base/fault"
	"berth/base/flock"
)

// tidyNames compares the names with the records. What does not fit is looked at
// again under the container's lock, so that no verb that is at work is disturbed.
func (s book) tidyNames(repair bool) ([]Finding, error) {
	kept, passing, err := s.present()
	if err != nil {
		return nil, err
	}
	want := map[string]ID{}
	for _, id := range append(kept, passing...) {
		if sum, err := readSummary(s.Home(id), id); err == nil {
			if first, twice := want[sum.Name]; !twice || first > id {
				want[sum.Name] = id
			}
		}
	}
	entries, err := os.ReadDir(s.namesDir())
	if err != nil {
		return nil, err
	}
	var out []Finding
	add := func(f *Finding) {
		if f != nil {
			out = append(out, *f)
		}
	}
	for _, e := range entries {
		name := e.Name()
		if strings.HasPrefix(name, hidden) {
			add(s.tidyStaged(name, repair))
			continue
		}
		if id, err := s.readName(name); err == nil && want[name] == id {
			delete(want, name)
			continue
		}
		f, err := s.tidyName(name, repair)
		if err != nil {
			return out, err
		}
		add(f)
	}
	for _, id := range want {
		f, err := s.nameAgain(id, repair)
		if err != nil {
			return out, err
		}
		add(f)
	}
	return out, nil
}

// tidyStaged looks at what was to become a name.
func (s book) tidyStaged(file string, repair bool) *Finding {
	path := filepath.Join(s.namesDir(), file)
	f := &Finding{Path: path, Problem: "left by a command that was killed"}
	id := strings.TrimPrefix(file, hidden)
	if !isID(id) {
		return dropStale(path, repair)
	}
	lock, err := flock.TryLock(s.lockPath(ID(id)))
	if err != nil {
		return nil // somebody is at work on it
	}
	defer func() { _ = s.dropLock(lock, ID(id)) }()
	if _, err := os.Lstat(path); err != nil {
		return nil
	}
	f.Repaired = repair && os.Remove(path) == nil
	return f
}

// dropStale looks at a file that atomicfile was writing.
func dropStale(path string, repair bool) *Finding {
	st, err := os.Lstat(path)
	if err != nil || !atomicfile.IsStaged(filepath.Base(path)) || time.Since(st.ModTime()) < atomicfile.Stale {
		return nil
	}
	return &Finding{Path: path, Problem: "left by a command that was killed", Repaired: repair && os.Remove(path) == nil}
}

// tidyName looks at a name that seems to be nobody's.
func (s book) tidyName(name string, repair bool) (*Finding, error) {
	f := &Finding{Path: s.namePath(name), Problem: "a name without its container"}
	owner, err := s.readName(name)
	switch {
	case gone(err):
		return nil, nil
	case fault.Is(err, fault.Invalid): // torn by a power cut: nobody is writing it
		f.Problem = err.Error()
	case err != nil:
		return nil, err
	default:
		lock, err := flock.TryLock(s.lockPath(owner))
		if fault.Is(err, fault.Busy) {
			return nil, nil
		}
		if err != nil {
			return nil, err
		}
		defer func() { _ = s.dropLock(lock, owner) }()
		if now, err := s.readName(name); err != nil || now != owner {
			return nil, nil
		}
		sum, err := readSummary(s.Home(owner), owner)
		if err == nil && sum.Name == name || err != nil && !gone(err) {
			return nil, nil // it has the name, or a record that cannot be read
		}
	}
	if !repair {
		return f, nil
	}
	if err := removeFile(s.namePath(name)); err != nil {
		return nil, err
	}
	f.Repaired = true
	return f, nil
}

// nameAgain looks at a container that seems to have no name.
func (s book) nameAgain(id ID, repair bool) (*Finding, error) {
	lock, err := flock.TryLock(s.lockPath(id))
	if fault.Is(err, fault.Busy) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer func() { _ = s.dropLock(lock, id) }()
	sum, err := readSummary(s.Home(id), id)
	if err != nil {
		return nil, nil // told by whoever looks at the records
	}
	if facts, err := s.facts(id); err == nil && facts.Removing {
		return nil, nil // which begins with the name
	}
	owner, err := s.readName(sum.Name)
	if err == nil && (owner == id || s.hasName(owner, sum.Name)) {
		if owner == id {
			return nil, nil
		}
		return &Finding{Path: s.namePath(sum.Name), Problem: "containers " + string(id) + " and " + string(owner) + " have the same name", Harm: true}, nil
	}
	f := &Finding{Path: s.namePath(sum.Name), Problem: "container " + string(id) + " without its name", Harm: true}
	if !repair {
		return f, nil
	}
	if err := s.claim(sum.Name, id); err != nil {
		return nil, err
	}
	f.Repaired = true
	return f, nil
}

// of lists the files of all names that lead to an id, which the caller has locked,
// and of one that was to.
func (s book) of(id ID) (paths []string, err error) {
	entries, err := os.ReadDir(s.namesDir())
	if err != nil {
		return nil, err
	}
	for _, e := range entries {
		if owner, err := s.readName(e.Name()); e.Name() == hidden+string(id) || err == nil && owner == id {
			paths = append(paths, s.namePath(e.Name()))
		}
	}
	return paths, nil
}
