package container

import (
	"context"
	"path/filepath"
	"slices"
	"strings"
	"sync"
)

// List returns all containers, newest first, with their facts. One that cannot
// be read is skipped and told to Options.Warn.
func (s *Store) List(ctx context.Context) ([]Summary, error) {
	kept, passing, err := s.present()
	if err != nil {
		return nil, err
	}
	all := append(kept, passing...)
	found := make([]*Summary, len(all))
	const share = 64 // more of them are read by several threads
	var wait sync.WaitGroup
	var lock sync.Mutex
	for from := 0; from < len(all); from += share {
		wait.Go(func() {
			for i := from; i < min(from+share, len(all)); i++ {
				sum, err := s.look(all[i], i < len(kept))
				if err != nil && !gone(err) {
					lock.Lock()
					s.opts.Warn(err)
					lock.Unlock()
				}
				found[i] = sum
			}
		})
	}
	wait.Wait()
	out := make([]Summary, 0, len(all))
	for _, sum := range found {
		if sum != nil {
			out = append(out, *sum)
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

// look reads one container for a list.
func (s *Store) look(id ID, kept bool) (*Summary, error) {
	home := s.RunDir(id)
	if kept {
		home = filepath.Join(s.kept(), string(id))
	}
	sum, err := readSummary(home, id)
	if err != nil {
		return nil, err
	}
	f, err := s.facts(id)
	if err != nil {
		return nil, err
	}
	sum.Facts = *f
	return sum, nil
}
