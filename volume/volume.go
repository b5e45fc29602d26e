// Package volume is the door of the volume room: named folders that outlive
// containers, as plain files that many processes share. It knows what a volume
// is and where its data lies; which containers use one is told by its callers.
// Row 3.
//
//	ROOT/volumes/NAME/volume.json   the record
//	ROOT/volumes/NAME/_data         the data, or where the options' mount appears
//	ROOT/volumes/NAME/filling       there while an image's files are copied into it
//	RUN/locks/volumes/NAME          held while one is made, changed or removed
//
// A create writes down which volumes it is about to use before it has them made,
// and Remove asks who uses one under its lock: so none is taken away from a
// container that is being made.
package volume

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"berth/base/atomicfile"
	"berth/base/fault"
	"berth/base/flock"
	"berth/base/ids"
)

// Options says where a store is.
type Options struct {
	Root string
	Run  string
	Warn func(error) // told of volumes that are broken; may be nil
	// NoMounts: what this process mounts is gone when it ends, as in an ordinary
	// user's mount namespace, so volumes are folders alone.
	NoMounts bool
}

// Store is the volumes of one user. It holds no state: another process may
// change everything between two calls.
type Store struct{ opts Options }

// Volume is one volume.
type Volume struct {
	Version   int               `json:"version"`
	Name      string            `json:"-"`      // of its folder
	Driver    string            `json:"driver"` // local
	Created   time.Time         `json:"created"`
	Labels    map[string]string `json:"labels,omitzero"`  // nil of a volume that a container made, as Docker shows it
	Options   map[string]string `json:"options,omitzero"` // type, device, o
	Anonymous bool              `json:"anonymous,omitempty"`
	Data      string            `json:"-"` // path of _data, what inspect shows
}

const recordVersion = 1

// local is the one driver.
const local = "local"

const (
	recordFile  = "volume.json"
	dataFolder  = "_data"
	fillingMark = "filling"
	hidden      = ".stage-"
	maxRecord   = 1 << 20
)

// Open opens the store and makes its folders if they are missing.
func Open(o Options) (*Store, error) {
	if !filepath.IsAbs(o.Root) || !filepath.IsAbs(o.Run) {
		return nil, fault.New(fault.Invalid, "open volume store %q: its folders need absolute paths", o.Root)
	}
	if o.Warn == nil {
		o.Warn = func(error) {}
	}
	s := &Store{o}
	for _, dir := range []string{s.dir(), s.locks()} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return nil, fmt.Errorf("open volume store: %w", err)
		}
	}
	return s, nil
}

func (s *Store) dir() string              { return filepath.Join(s.opts.Root, "volumes") }
func (s *Store) locks() string            { return filepath.Join(s.opts.Run, "locks/volumes") }
func (s *Store) home(name string) string  { return filepath.Join(s.dir(), name) }
func (s *Store) data(name string) string  { return filepath.Join(s.dir(), name, dataFolder) }
func (s *Store) lockf(name string) string { return filepath.Join(s.locks(), name) }

// nameChars is how Docker writes the rule in its message.
const nameChars = "[a-zA-Z0-9][a-zA-Z0-9_.-]"

// CheckName refuses what cannot be a volume's name, in Docker's words.
func CheckName(name string) error {
	if len(name) == 1 {
		return fault.New(fault.Invalid, "volume name is too short, names should be at least two alphanumeric characters")
	}
	if len(name) > 240 || !ids.IsName(name) {
		return fault.New(fault.Invalid, "%.300q includes invalid characters for a local volume name, only %q are allowed. If you intended to pass a host directory, use absolute path", name, nameChars)
	}
	return nil
}

// lock takes the lock of a name, whether there is such a volume or not.
func (s *Store) lock(name string) (*flock.Held, error) { return flock.Lock(s.lockf(name)) }

// unlock gives a lock back, and its file if there is no volume to guard.
func (s *Store) unlock(l *flock.Held, name string) {
	if _, err := os.Lstat(s.home(name)); os.IsNotExist(err) {
		_ = l.Remove()
		return
	}
	_ = l.Unlock()
}

// noSuch is Docker's message for a volume that is not there.
func noSuch(verb, name string) error {
	return fault.New(fault.NotFound, "%s %.300s: no such volume", verb, name)
}

// Get reads one volume. Error: NotFound, in Docker's words.
func (s *Store) Get(name string) (*Volume, error) {
	if CheckName(name) != nil {
		return nil, noSuch("get", name)
	}
	path := filepath.Join(s.home(name), recordFile)
	b, err := atomicfile.ReadCapped(path, maxRecord)
	if fault.Is(err, fault.NotFound) {
		return nil, noSuch("get", name)
	}
	if err != nil {
		return nil, err
	}
	v := &Volume{}
	if err := json.Unmarshal(b, v); err != nil {
		return nil, fault.New(fault.Invalid, "read %s: %w", path, err)
	}
	if v.Version > recordVersion {
		return nil, fault.New(fault.Unsupported, "read %s: its version is %d, this program knows %d", path, v.Version, recordVersion)
	}
	v.Name, v.Data = name, s.data(name)
	return v, nil
}

// List returns all, by name, and takes away what killed verbs left. One that cannot be read is skipped and told to
// Options.Warn.
func (s *Store) List() ([]Volume, error) {
	entries, err := os.ReadDir(s.dir())
	if err != nil {
		return nil, fmt.Errorf("list volumes: %w", err)
	}
	if hasDebris(s, entries) {
		if _, err := s.debris(true); err != nil {
			s.opts.Warn(err)
		}
	}
	var out []Volume
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), ".") {
			continue
		}
		v, err := s.Get(e.Name())
		if err != nil {
			if !fault.Is(err, fault.NotFound) {
				s.opts.Warn(err)
			}
			continue
		}
		out = append(out, *v)
	}
	slices.SortFunc(out, func(a, b Volume) int { return strings.Compare(a.Name, b.Name) })
	return out, nil
}
