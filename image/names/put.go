package names

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"berth/base/fault"
)

// staging is one name on its way in Put.
type staging struct {
	img  Image
	from time.Time // UpdatedAt of the name that it replaces, zero for none
	path string
}

// Put makes names or moves them to a new target, all of them with one sync.
// Of a name that is there the creation time stays, and the labels if img has
// none (nil). If it fails in between, some are done.
func (s *Store) Put(ctx context.Context, imgs ...Image) (err error) {
	all := make([]staging, len(imgs))
	names := make([]string, len(imgs))
	defer func() {
		for _, st := range all {
			if st.path != "" {
				_ = os.Remove(st.path)
			}
		}
	}()
	for i, img := range imgs {
		names[i] = img.Name
		if all[i], err = s.prepare(ctx, img, len(imgs) == 1); err != nil {
			return fmt.Errorf("name image %.200q: %w", img.Name, err)
		}
	}
	if len(imgs) > 1 {
		if err := s.syncAll(); err != nil {
			return fmt.Errorf("name images: %w", err)
		}
	}
	unlock, err := s.hold(names...)
	if err != nil {
		return err
	}
	defer unlock()
	for i := range all {
		if err := s.enter(ctx, &all[i], imgs[i]); err != nil {
			return fmt.Errorf("name image %.200q: %w", names[i], err)
		}
	}
	return s.syncDir()
}

// prepare stages the file of one name with what stays of the old one.
func (s *Store) prepare(ctx context.Context, img Image, durable bool) (staging, error) {
	st := staging{img: img}
	old, err := s.Get(ctx, img.Name)
	switch {
	case err == nil:
		st.from = old.UpdatedAt
	case !fault.Is(err, fault.NotFound) && !fault.Is(err, fault.Invalid):
		return st, err
	}
	st.img.UpdatedAt = time.Now().UTC()
	st.img.CreatedAt = st.img.UpdatedAt
	if err == nil {
		st.img.CreatedAt = old.CreatedAt
		if img.Labels == nil {
			st.img.Labels = old.Labels
		}
	}
	if err := check(st.img); err != nil {
		return st, err
	}
	st.path, err = s.stage(st.img, durable)
	return st, err
}

// enter gives a staged file its name, under the name's lock. If the old one
// changed since it was read, the file is staged again.
func (s *Store) enter(ctx context.Context, st *staging, img Image) error {
	old, err := s.Get(ctx, img.Name)
	if err == nil && !old.UpdatedAt.Equal(st.from) {
		_ = os.Remove(st.path)
		if *st, err = s.prepare(ctx, img, true); err != nil {
			return err
		}
	}
	file, _ := fileOf(img.Name)
	if err := os.Rename(st.path, s.path(file)); err != nil {
		return err
	}
	st.path = ""
	return nil
}

// DeleteAll is Delete for many names with one sync. Names that are not there
// are passed over; deleted lists the others in their order.
func (s *Store) DeleteAll(ctx context.Context, names ...string) (deleted []string, err error) {
	unlock, err := s.hold(names...)
	if err != nil {
		return nil, err
	}
	defer unlock()
	for _, name := range names {
		file, _ := fileOf(name)
		err := os.Remove(s.path(file))
		if os.IsNotExist(err) {
			continue
		}
		if err != nil {
			return deleted, errors.Join(fmt.Errorf("delete image %.200q: %w", name, err), s.syncDir())
		}
		deleted = append(deleted, name)
	}
	if len(deleted) == 0 {
		return nil, nil
	}
	if err := s.syncDir(); err != nil {
		return deleted, fmt.Errorf("delete images: %w", err)
	}
	return deleted, nil
}
