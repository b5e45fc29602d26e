// Package names keeps the names of images on plain files, one file a name, for
// many processes at once, with no daemon. A name is any string and points to a
// descriptor; what strings are good names (ref) and what the descriptor leads to
// are not its business. It has the shape of containerd's images.Store, with types
// of its own (see package image/containerd). Row 3, image room.
//
//	DIR/HASH-OF-NAME.json   {version,name,target,labels,created,updated}
//	DIR/.stage-…            a file before it gets its name
//	LOCKS/names/NN          held for one change of a name whose hash falls on NN
//	LOCKS/gc                shared while a name is made or changed
//
// Every change is durable when it returns: the file is synced, then it gets
// its name by link(2), which one of many can do, or by rename(2), then the
// folder is synced. A name may be made only while something else, a lease,
// keeps what it points to: see gc.
//
// Order of locks: gc (shared), then names/NN in ascending order. Only own
// files are read and written under them.
//
// A file that cannot be what it should be is one name that does not exist:
// lists skip it and tell Options.Bad, Create and Put replace it.
package names

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"berth/base/atomicfile"
	"berth/base/fault"
	"berth/base/flock"

	"github.com/containerd/containerd/v2/pkg/filters"
	"github.com/containerd/errdefs"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// Options says where the names are.
type Options struct {
	Dir   string // STORE/names, made when it is missing
	Locks string // STORE/locks, made when it is missing
	// Bad is told of files that were skipped; it may be nil and may be called
	// by several goroutines.
	Bad func(error)
}

// Store is the names of one image store. All its truth is on disk.
type Store struct {
	opts Options
	lazy bool // see Later
}

// Image is a name and what it points to.
type Image struct {
	Name                 string
	Labels               map[string]string
	Target               ocispec.Descriptor
	CreatedAt, UpdatedAt time.Time
}

// Later is the same store, but its changes are durable only after its Sync:
// for a verb that deletes many names one by one.
func (s *Store) Later() *Store { return &Store{opts: s.opts, lazy: true} }

// Sync makes the changes of a store that Later gave durable.
func (s *Store) Sync() error { return atomicfile.SyncDir(s.opts.Dir) }

// lockCount is how many lock files the names share. They are made once and
// stay: what frees space must not need any.
const lockCount = 32

// Open makes the folders of the store if they are missing.
func Open(o Options) (*Store, error) {
	locks := filepath.Join(o.Locks, "names")
	for _, dir := range []string{o.Dir, locks} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return nil, fmt.Errorf("open names: %w", err)
		}
	}
	s := &Store{opts: o}
	if _, err := os.Lstat(s.lockPath(lockCount - 1)); err == nil {
		return s, nil
	}
	paths := []string{filepath.Join(o.Locks, "gc")}
	for n := range lockCount {
		paths = append(paths, s.lockPath(n))
	}
	if err := flock.Make(paths...); err != nil {
		return nil, fmt.Errorf("open names: %w", err)
	}
	return s, nil
}

func (s *Store) lockPath(n int) string {
	return filepath.Join(s.opts.Locks, "names", fmt.Sprintf("%02d", n))
}

// fileOf is the file's name for an image's name, and the number of its lock.
func fileOf(name string) (file string, lock int) {
	h := sha256.Sum256([]byte(name))
	return hex.EncodeToString(h[:]) + suffix, int(h[0]) % lockCount
}

// File is the name of the file of an image's name.
func File(name string) string {
	file, _ := fileOf(name)
	return file
}

const suffix = ".json"

func (s *Store) path(file string) string { return filepath.Join(s.opts.Dir, file) }

func (s *Store) bad(err error) {
	if s.opts.Bad != nil {
		s.opts.Bad(err)
	}
}

// hold takes what a change of names needs: the collector's lock, shared, and
// the locks of the names.
func (s *Store) hold(names ...string) (unlock func(), err error) {
	var held []*flock.Held
	unlock = func() {
		for _, l := range slices.Backward(held) {
			_ = l.Unlock()
		}
	}
	gc, err := flock.Shared(filepath.Join(s.opts.Locks, "gc"))
	if err != nil {
		return nil, err
	}
	held = append(held, gc)
	var numbers []int
	for _, name := range names {
		_, n := fileOf(name)
		numbers = append(numbers, n)
	}
	slices.Sort(numbers)
	for _, n := range slices.Compact(numbers) {
		l, err := flock.Lock(s.lockPath(n))
		if err != nil {
			unlock()
			return nil, err
		}
		held = append(held, l)
	}
	return unlock, nil
}

func notFound(name string) error {
	return fault.New(fault.NotFound, "image %.200q: %w", name, errdefs.ErrNotFound)
}

// Get reads one name: errdefs.ErrNotFound if it is not there, kind Invalid if
// its file is broken.
func (s *Store) Get(ctx context.Context, name string) (Image, error) {
	file, _ := fileOf(name)
	img, err := readFile(s.opts.Dir, file)
	if fault.Is(err, fault.NotFound) {
		return Image{}, notFound(name)
	}
	return img, err
}

// List lists the names that a filter matches (name, target.digest,
// target.mediatype, labels.KEY, annotations.KEY), all without a filter, sorted.
func (s *Store) List(ctx context.Context, fs ...string) ([]Image, error) {
	filter, err := filters.ParseAll(fs...)
	if err != nil {
		return nil, fault.New(fault.Invalid, "list images: %w: %w", err, errdefs.ErrInvalidArgument)
	}
	all, problems, err := s.Scan(ctx)
	if err != nil {
		return nil, fmt.Errorf("list images: %w", err)
	}
	for _, p := range problems {
		s.bad(p.Err)
	}
	out := all[:0]
	for _, img := range all {
		if len(fs) == 0 || filter.Match(adapt(img)) {
			out = append(out, img)
		}
	}
	slices.SortFunc(out, func(a, b Image) int { return strings.Compare(a.Name, b.Name) })
	return out, nil
}

func adapt(img Image) filters.Adaptor {
	return filters.AdapterFunc(func(path []string) (string, bool) {
		if len(path) == 0 {
			return "", false
		}
		switch field := strings.Join(path, "."); {
		case field == "name":
			return img.Name, true
		case field == "target.digest":
			return string(img.Target.Digest), true
		case field == "target.mediatype":
			return img.Target.MediaType, true
		case path[0] == "labels":
			v, ok := img.Labels[strings.Join(path[1:], ".")]
			return v, ok
		case path[0] == "annotations":
			v, ok := img.Target.Annotations[strings.Join(path[1:], ".")]
			return v, ok
		}
		return "", false
	})
}

// Create makes a name: errdefs.ErrAlreadyExists if it is there. Of many that
// make one name at once, one succeeds.
func (s *Store) Create(ctx context.Context, img Image) (Image, error) {
	img.CreatedAt = time.Now().UTC()
	img.UpdatedAt = img.CreatedAt
	if err := check(img); err != nil {
		return Image{}, fmt.Errorf("create image: %w", err)
	}
	staged, err := s.stage(img, true)
	if err != nil {
		return Image{}, fmt.Errorf("create image %q: %w", img.Name, err)
	}
	defer os.Remove(staged)
	unlock, err := s.hold(img.Name)
	if err != nil {
		return Image{}, err
	}
	defer unlock()
	file, _ := fileOf(img.Name)
	err = os.Link(staged, s.path(file))
	if os.IsExist(err) && s.replaceable(file) {
		err = os.Rename(staged, s.path(file))
	}
	if os.IsExist(err) {
		return Image{}, fault.New(fault.Exists, "image %.200q: %w", img.Name, errdefs.ErrAlreadyExists)
	}
	if err == nil {
		err = s.syncDir()
	}
	if err != nil {
		return Image{}, fmt.Errorf("create image %q: %w", img.Name, err)
	}
	return img, nil
}

// replaceable says whether a file is there and holds no name.
func (s *Store) replaceable(file string) bool {
	_, err := readFile(s.opts.Dir, file)
	return fault.Is(err, fault.Invalid)
}

// Update changes a name: the fields that fieldpaths name (labels, labels.KEY,
// target, annotations, annotations.KEY), or all without one. An empty value
// removes a label.
func (s *Store) Update(ctx context.Context, img Image, fieldpaths ...string) (Image, error) {
	unlock, err := s.hold(img.Name)
	if err != nil {
		return Image{}, err
	}
	defer unlock()
	now, err := s.Get(ctx, img.Name)
	if err != nil {
		return Image{}, fmt.Errorf("update: %w", err)
	}
	next, err := merged(now, img, fieldpaths)
	if err == nil {
		next.CreatedAt, next.UpdatedAt = now.CreatedAt, time.Now().UTC()
		err = check(next)
	}
	if err == nil {
		err = s.replace(next)
	}
	if err != nil {
		return Image{}, fmt.Errorf("update image %.200q: %w", img.Name, err)
	}
	return next, nil
}

func (s *Store) replace(img Image) error {
	staged, err := s.stage(img, true)
	if err != nil {
		return err
	}
	file, _ := fileOf(img.Name)
	if err := os.Rename(staged, s.path(file)); err != nil {
		_ = os.Remove(staged)
		return err
	}
	return s.syncDir()
}

// Delete removes a name: errdefs.ErrNotFound if it is not there, or points to
// another digest than target, if one is given. A broken one can be deleted
// without. What it pointed to stays until a collection.
func (s *Store) Delete(ctx context.Context, name string, target ...digest.Digest) error {
	unlock, err := s.hold(name)
	if err != nil {
		return err
	}
	defer unlock()
	return s.DeleteLocked(ctx, name, target...)
}

// DeleteLocked is Delete for the collector, which holds LOCKS/gc exclusively
// and so is alone.
func (s *Store) DeleteLocked(ctx context.Context, name string, target ...digest.Digest) error {
	if len(target) > 0 {
		now, err := s.Get(ctx, name)
		if err != nil {
			return fmt.Errorf("delete: %w", err)
		}
		if !slices.Contains(target, now.Target.Digest) {
			return fault.New(fault.NotFound, "image %.200q points to %s, not %s: %w", name, now.Target.Digest, target[0], errdefs.ErrNotFound)
		}
	}
	file, _ := fileOf(name)
	err := os.Remove(s.path(file))
	if os.IsNotExist(err) {
		return notFound(name)
	}
	if err == nil {
		err = s.syncDir()
	}
	if err != nil {
		return fmt.Errorf("delete image %.200q: %w", name, err)
	}
	return nil
}
