package idrange

import (
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"sync"

	"berth/base/fault"
	"berth/base/flock"
)

// Parts hands out parts of a row of numbers, one to a container, from its creation to
// its removal: those of the ids of an ordinary user's namespace that --userns=auto
// gives, as layers on disk belong to them, and SELinux's levels. A part is a symbolic
// link in Dir, FIRST-SIZE to the owner.
type Parts struct {
	Dir string
	// Alive tells whether a part's owner exists.
	Alive func(owner string) bool
}

// part is one that is taken.
type part struct{ first, size uint32 }

func (p part) name() string { return fmt.Sprintf("%d-%d", p.first, p.size) }

// Take gives size of the ids 1 to last to an owner, and keeps others from taking until
// done is called: the owner is to exist by then. Error: Unavailable where no gap is large
// enough.
func (p *Parts) Take(owner string, size, last uint32) (first uint32, done func(), err error) {
	done, err = p.alone(func() error {
		taken, err := p.taken()
		if err == nil {
			first, err = gap(taken, size, last)
		}
		if err == nil {
			err = os.Symlink(owner, filepath.Join(p.Dir, part{first, size}.name()))
		}
		return err
	})
	if err != nil {
		return 0, nil, fmt.Errorf("take %d of the user's ids: %w", size, err)
	}
	return first, done, nil
}

// draws is how often a number is drawn that somebody has.
const draws = 100

// Draw is Take of one number below count, at random: one that was given back is not
// soon another's.
func (p *Parts) Draw(owner string, count uint32) (n uint32, done func(), err error) {
	done, err = p.alone(func() error {
		for range draws {
			n = rand.Uint32N(count)
			if err := os.Symlink(owner, filepath.Join(p.Dir, part{n, 1}.name())); !errors.Is(err, fs.ErrExist) {
				return err
			}
		}
		return fault.New(fault.Unavailable, "%d numbers were drawn, and all are others'", draws)
	})
	return n, done, err
}

// Return gives back what was drawn; that it is not the owner's is no error.
func (p *Parts) Return(owner string, n uint32) error {
	link := filepath.Join(p.Dir, part{n, 1}.name())
	who, err := os.Readlink(link)
	if errors.Is(err, fs.ErrNotExist) || err == nil && who != owner {
		return nil
	}
	if err == nil {
		err = os.Remove(link)
	}
	return err
}

// alone takes, and keeps others from taking until done is called.
func (p *Parts) alone(take func() error) (done func(), err error) {
	if err := os.MkdirAll(p.Dir, 0o700); err != nil {
		return nil, err
	}
	lock, err := flock.Lock(filepath.Join(p.Dir, "lock"))
	if err != nil {
		return nil, err
	}
	done = sync.OnceFunc(func() { _ = lock.Unlock() })
	if err := take(); err != nil {
		done()
		return nil, err
	}
	return done, nil
}

// gap finds room between the parts, which are sorted.
func gap(taken []part, size, last uint32) (uint32, error) {
	first := uint64(1)
	for _, t := range taken {
		if first+uint64(size) <= uint64(t.first) {
			break
		}
		first = max(first, uint64(t.first)+uint64(t.size))
	}
	if size == 0 || first+uint64(size)-1 > uint64(last) {
		return 0, fault.New(fault.Unavailable, "%d containers with --userns=auto have the others of %d, see subuid(5)", len(taken), last)
	}
	return uint32(first), nil
}

// taken lists the parts whose owners exist, and removes the others.
func (p *Parts) taken() (list []part, err error) {
	err = p.each(func(one part, owner, path string) error {
		if p.Alive(owner) {
			list = append(list, one)
			return nil
		}
		return os.Remove(path)
	})
	slices.SortFunc(list, func(a, b part) int { return int(int64(a.first) - int64(b.first)) })
	return list, err
}

// Sweep gives back what owners had that are gone, and were not removed to the end.
func (p *Parts) Sweep() error {
	lock, err := flock.TryFound(filepath.Join(p.Dir, "lock"))
	if fault.Is(err, fault.NotFound) || fault.Is(err, fault.Busy) {
		return nil // nobody ever took one, or somebody does, and looks
	}
	if err != nil {
		return err
	}
	defer lock.Unlock()
	_, err = p.taken()
	return err
}

func (p *Parts) each(do func(one part, owner, path string) error) error {
	entries, err := os.ReadDir(p.Dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, e := range entries {
		var one part
		if n, err := fmt.Sscanf(e.Name(), "%d-%d", &one.first, &one.size); n != 2 || err != nil || one.name() != e.Name() {
			continue
		}
		path := filepath.Join(p.Dir, e.Name())
		owner, err := os.Readlink(path)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err == nil {
			err = do(one, owner, path)
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

// Pass makes another the owner of a part.
func (p *Parts) Pass(from, to string) error {
	return p.each(func(_ part, who, path string) error {
		if who != from {
			return nil
		}
		staged := filepath.Join(p.Dir, "passed-"+to)
		if err := os.Symlink(to, staged); err != nil && !errors.Is(err, fs.ErrExist) {
			return err
		}
		return os.Rename(staged, path)
	})
}

// Give gives an owner's part back; that there is none is no error.
func (p *Parts) Give(owner string) error {
	return p.each(func(_ part, who, path string) error {
		if who != owner {
			return nil
		}
		return os.Remove(path)
	})
}
