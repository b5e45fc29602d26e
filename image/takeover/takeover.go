// Package takeover reads the images in another engine's store on disk, docker's
// data-root or podman's graph root, while that engine runs or not. It writes
// nothing there and nothing here: it gives each image's names, configuration
// and layers, and the caller stores them like a loaded archive. Row 3 (image).
//
//	docker  image/DRIVER/repositories.json              names → ids
//	        image/DRIVER/imagedb/content/sha256/ID      configuration
//	        image/DRIVER/layerdb/sha256/CHAIN/…         diff, cache-id, tar-split.json.gz
//	        DRIVER/CACHE-ID/diff                        the files
//	podman  DRIVER-images/images.json, ID/…             names, manifest, configuration
//	        DRIVER-layers/layers.json, ID.tar-split.gz  chains of layers
//	        DRIVER/ID/diff                              the files
//
// Neither keeps a layer's tar: both keep all of it but the files' contents
// (tar-split), so that the same bytes can be made again. They are compared with
// the layer's digest, as configurations are with their ids; a store that was
// changed by hand or by an enemy gives errors, never another image.
//
// No name in the other store is trusted: ids have a fixed form, files are opened
// below the store's root without following links (openat2), and every file has
// a cap. Only a layer's own links are followed, inside that layer, as the other
// engine's extractor did.
//
// Reading beside a running dockerd is safe: it replaces documents by rename(2)
// and does not change a layer that has a name; one that it removes meanwhile is
// an error of that image. podman's locks are held, shared, while its lists or a
// layer are read, as by its own readers.
package takeover

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"os"
	"path/filepath"

	"github.com/opencontainers/go-digest"
	"golang.org/x/sys/unix"

	"berth/base/fault"
	"berth/image/ref"
	"berth/sys/safepath"
)

// The engines whose stores are known.
const (
	Docker = "docker"
	Podman = "podman"
)

// Image is one image of the other store, whole: its documents were read and
// checked, its layers found.
type Image struct {
	ID     digest.Digest // of Config
	Names  []ref.Ref     // with tags, sorted; none for an image without a name
	Config []byte        // as it is there
	Layers []Layer       // lowest first, as in Config's rootfs
}

// Layer is one layer of an Image.
type Layer struct {
	DiffID digest.Digest // sha256 of the uncompressed tar
	Size   int64         // bytes of that tar, -1 if the store does not say
	open   func(ctx context.Context) (io.ReadCloser, error)
}

// Open makes the layer's uncompressed tar again. Its last Read fails with kind
// Invalid, naming the layer, if the bytes have another digest. Read fails when
// ctx is done.
func (l Layer) Open(ctx context.Context) (io.ReadCloser, error) {
	r, err := l.open(ctx)
	if err != nil {
		return nil, fmt.Errorf("layer %s: %w", l.DiffID, err)
	}
	return r, nil
}

// Store is another engine's store, open for reading.
type Store struct {
	root   *os.File
	engine string
	driver string
}

// DefaultRoot is where an engine keeps its images if nobody told it otherwise:
// root's folder, or the user's. getenv is os.Getenv.
func DefaultRoot(engine string, uid int, getenv func(string) string) string {
	if uid == 0 {
		if engine == Podman {
			return "/var/lib/containers/storage"
		}
		return "/var/lib/docker"
	}
	data := getenv("XDG_DATA_HOME")
	if data == "" {
		data = filepath.Join(getenv("HOME"), ".local/share")
	}
	if engine == Podman {
		return filepath.Join(data, "containers/storage")
	}
	return filepath.Join(data, "docker")
}

// Open opens the store of an engine below root. Errors: NotFound if there is
// none, Unsupported for a storage driver that is not read.
func Open(engine, root string) (*Store, error) {
	if engine != Docker && engine != Podman {
		return nil, fault.New(fault.Invalid, "take over images from %.100q: it is neither docker nor podman", engine)
	}
	dir, err := os.OpenFile(root, unix.O_PATH|unix.O_DIRECTORY, 0)
	if err != nil {
		return nil, fmt.Errorf("open %s's store: %w", engine, err)
	}
	s := &Store{root: dir, engine: engine}
	if engine == Docker {
		err = s.findDocker()
	} else {
		err = s.findPodman()
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("open %s's store %s: %w", engine, root, err), dir.Close())
	}
	return s, nil
}

// Close lets the store go. Layers cannot be opened afterwards.
func (s *Store) Close() error { return s.root.Close() }

// Images gives the images one by one: those with names and those that no other
// image was built on. An image that cannot be taken is an error that names it,
// and the next one follows; a list that cannot be read is the only thing given.
func (s *Store) Images(ctx context.Context) iter.Seq2[Image, error] {
	list := s.dockers
	if s.engine == Podman {
		list = s.podmans
	}
	return func(yield func(Image, error) bool) {
		for img, err := range list(ctx) {
			if ctx.Err() != nil {
				yield(Image{}, ctx.Err())
				return
			}
			if err != nil {
				err = fmt.Errorf("take over from %s: %w", s.engine, err)
			}
			if !yield(img, err) {
				return
			}
		}
	}
}

// has says whether name is a folder of the store.
func (s *Store) has(name string) bool {
	f, err := s.file(name, unix.O_PATH|unix.O_DIRECTORY)
	if err != nil {
		return false
	}
	f.Close()
	return true
}

// file opens a file or folder of the store. Links are refused.
func (s *Store) file(name string, flags int) (*os.File, error) {
	if flags&unix.O_PATH == 0 {
		flags |= unix.O_NONBLOCK // a FIFO would wait for a writer
	}
	fd, err := safepath.OpenInRootNoLinks(int(s.root.Fd()), name, flags|unix.O_NOFOLLOW)
	if err != nil {
		return nil, fmt.Errorf("open %s/%s: %w", s.root.Name(), name, err)
	}
	return os.NewFile(uintptr(fd), filepath.Join(s.root.Name(), name)), nil
}

// regular opens a regular file and gives its size.
func (s *Store) regular(name string) (*os.File, int64, error) {
	f, err := s.file(name, unix.O_RDONLY)
	if err != nil {
		return nil, 0, err
	}
	st, err := f.Stat()
	if err == nil && !st.Mode().IsRegular() {
		err = fault.New(fault.Invalid, "%s is no file", f.Name())
	}
	if err != nil {
		return nil, 0, errors.Join(err, f.Close())
	}
	return f, st.Size(), nil
}

// read reads a whole file of at most limit bytes.
func (s *Store) read(name string, limit int64) ([]byte, error) {
	f, _, err := s.regular(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	raw, err := io.ReadAll(io.LimitReader(f, limit+1))
	switch {
	case err != nil:
		return nil, fmt.Errorf("read %s: %w", f.Name(), err)
	case int64(len(raw)) > limit:
		return nil, fault.New(fault.Invalid, "%s has more than %d bytes", f.Name(), limit)
	}
	return raw, nil
}

// names lists a folder of the store, at most maxFolder names.
func (s *Store) names(folder string) ([]string, error) {
	f, err := s.file(folder, unix.O_RDONLY|unix.O_DIRECTORY)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	names, err := f.Readdirnames(maxFolder + 1)
	switch {
	case err == io.EOF:
		return nil, nil
	case err != nil:
		return nil, fmt.Errorf("read folder %s: %w", f.Name(), err)
	case len(names) > maxFolder:
		return nil, fault.New(fault.Invalid, "%s has more than %d files", f.Name(), maxFolder)
	}
	return names, nil
}

// Caps on what is read from the other store.
const (
	maxFolder = 100_000 // names in a folder; images; layers
	maxShort  = 1 << 10 // bytes of a file that holds one id or digest
	maxNames  = 8 << 20 // bytes of docker's repositories.json
	maxList   = 64 << 20
	maxChain  = 1000 // layers of an image
)
