package container

import (
	"context"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"berth/sys/stamp"
)

// List returns all containers, newest first, with their facts. One that cannot
// be read is skipped and told to Options.Warn.
func (s *Store) List(ctx context.Context) ([]Summary, error) {
	kept, passing, ran, err := s.everywhere()
	if err != nil {
		return nil, err
	}
	at, err := openFolders(s.disk)
	if err != nil {
		return nil, err
	}
	defer at.close()
	all, known := append(kept, passing...), readIndex(s.disk)
	found := make([]*indexed, len(all))
	var wait sync.WaitGroup
	var lock sync.Mutex
	var news atomic.Int64
	workers := min(readers, len(all)/share+1)
	for w := range workers {
		wait.Go(func() {
			for i := w; i < len(all); i += workers {
				one, err := s.read(at, all[i], i < len(kept), ran[all[i]], known[all[i]])
				if err != nil && !gone(err) {
					lock.Lock()
					s.opts.Warn(err)
					lock.Unlock()
				}
				if found[i] = one; one != nil && one.home != (stamp.Stamp{}) && one != known[all[i]] {
					news.Add(1)
				}
			}
		})
	}
	wait.Wait()
	if n := int(news.Load()); stamp.Outdated(len(known), len(all), n) {
		writeIndex(s.disk, found)
	}
	out := make([]Summary, 0, len(all))
	for _, one := range found {
		if one != nil {
			out = append(out, one.sum)
		}
	}
	slices.SortFunc(out, func(a, b Summary) int {
		if c := b.Created.Compare(a.Created); c != 0 {
			return c
		}
		return strings.Compare(string(a.ID), string(b.ID))
	})
	return out, ctx.Err()
}

// Lists are made by this many threads, if there are more than share containers
// for each of them.
const readers, share = 4, 64

// read reads one container for a list, unless it is the one that is known.
func (s *Store) read(at *folders, id ID, kept, ran bool, known *indexed) (*indexed, error) {
	one := &indexed{}
	if kept {
		one.home, one.run = at.look(id, ran)
	}
	if known != nil && one.home != (stamp.Stamp{}) && one.home == known.home && one.run == known.run {
		one = known
	} else {
		home := s.RunDir(id)
		if kept {
			home = filepath.Join(s.kept(), string(id))
		}
		sum, made, err := readOrMake(home, id)
		if err != nil {
			return nil, err
		}
		if made {
			mendSummary(s.disk, home, id)
		}
		l, err := s.readLife(id)
		if err != nil {
			return nil, err
		}
		one.sum, one.life = *sum, *l
	}
	f, err := s.derive(id, &one.life, &one.looked)
	if err != nil {
		return nil, err
	}
	one.sum.Facts = *f
	return one, nil
}
