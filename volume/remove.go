package volume

import (
	"context"
	"fmt"
	"os"
	"strings"

	"berth/base/atomicfile"
	"berth/base/fault"
)

// InUse tells which containers use a volume, by id. It is asked under the
// volume's lock and takes none. Of a volume whose users cannot be told nothing is
// taken away.
type InUse func(name string) ([]string, error)

// Remove deletes a volume with its data. Errors, in Docker's words: NotFound,
// Conflict for one in use.
func (s *Store) Remove(ctx context.Context, name string, inUse InUse) error {
	if CheckName(name) != nil {
		return noSuch("get", name)
	}
	lock, err := s.lock(name)
	if err != nil {
		return err
	}
	defer s.unlock(lock, name)
	if _, err := os.Lstat(s.home(name)); os.IsNotExist(err) {
		// A removal that was killed had come that far.
		if err := dispose(s.home(hidden + name)); err != nil {
			return fmt.Errorf("remove volume %s: %w", name, err)
		}
		return noSuch("get", name)
	}
	users, err := inUse(name)
	if err != nil {
		return fmt.Errorf("remove volume %s: %w", name, err)
	}
	if len(users) > 0 {
		return fault.New(fault.Conflict, "remove %s: volume is in use - [%s]", name, strings.Join(users, ", "))
	}
	if err := s.vanish(name); err != nil {
		return fmt.Errorf("remove volume %s: %w", name, err)
	}
	return nil
}

// vanish makes a volume disappear in one step before its files are deleted. A
// broken one can be removed, too.
func (s *Store) vanish(name string) error {
	if err := unmount(s.data(name)); err != nil {
		return err
	}
	staged := s.home(hidden + name)
	if err := dispose(staged); err != nil {
		return err
	}
	if err := os.Rename(s.home(name), staged); err != nil {
		return err
	}
	if err := atomicfile.SyncDir(s.dir()); err != nil {
		return err
	}
	return dispose(staged)
}

// Pruned is what Prune removed.
type Pruned struct {
	Names []string
	Bytes int64
}

// Prune removes volumes that nobody uses: the anonymous ones, with all the named
// ones, too, and what killed verbs left. keep, which may be nil, holds some back.
func (s *Store) Prune(ctx context.Context, all bool, inUse InUse, keep func(*Volume) bool) (Pruned, error) {
	var out Pruned
	if _, err := s.debris(true); err != nil {
		return out, err
	}
	list, err := s.List()
	if err != nil {
		return out, err
	}
	for i := range list {
		v := &list[i]
		if !all && !v.Anonymous || keep != nil && keep(v) {
			continue
		}
		users, err := inUse(v.Name)
		if len(users) > 0 {
			continue
		}
		var size int64
		if err == nil {
			size, err = s.Usage(ctx, v.Name)
		}
		if err == nil {
			err = s.Remove(ctx, v.Name, inUse)
		}
		switch {
		case fault.Is(err, fault.NotFound), fault.Is(err, fault.Conflict):
			continue // removed, or taken into use since
		case err != nil:
			return out, err
		}
		out.Names, out.Bytes = append(out.Names, v.Name), out.Bytes+size
	}
	return out, ctx.Err()
}

// Rename gives a volume that nobody uses another name. Errors: NotFound,
// Conflict.
func (s *Store) Rename(ctx context.Context, from, to string, inUse InUse) error {
	if err := CheckName(to); err != nil {
		return fmt.Errorf("rename %s: %w", from, err)
	}
	if from == to {
		return fault.New(fault.Invalid, "rename %s: it has that name", from)
	}
	// Two locks, in the order of the names.
	for _, name := range []string{min(from, to), max(from, to)} {
		if CheckName(name) != nil {
			return noSuch("get", from)
		}
		lock, err := s.lock(name)
		if err != nil {
			return err
		}
		defer s.unlock(lock, name)
	}
	v, err := s.Get(from)
	if err != nil {
		return err
	}
	users, err := inUse(from)
	if err != nil {
		return fmt.Errorf("rename volume %s: %w", from, err)
	}
	if len(users) > 0 {
		return fault.New(fault.Conflict, "rename %s: volume is in use - [%s]", from, strings.Join(users, ", "))
	}
	if _, err := os.Lstat(s.home(to)); err == nil {
		return fault.New(fault.Conflict, "rename %s: volume %s exists", from, to)
	}
	if err := unmount(v.Data); err != nil {
		return err
	}
	if err := os.Rename(s.home(from), s.home(to)); err != nil {
		return fmt.Errorf("rename volume %s: %w", from, err)
	}
	return atomicfile.SyncDir(s.dir())
}
