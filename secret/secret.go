// Package secret is the door of the secret room: small pieces of data that
// containers are given by name, and that are in no image and in no container's
// files. It knows no container: the verbs take the bytes from here. Row 3.
//
//	ROOT/secrets/NAME         one secret, whole: what is known of it and its bytes
//	RUN/locks/secrets         held while one is made, replaced or removed
//
// The folder is 0700 and its files 0600: whoever may read the store as root, or
// as the user whose store it is, may read them. They are not encrypted.
package secret

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
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
	Warn func(error) // told of secrets that are broken; may be nil
}

// Store is the secrets of one user. It holds no state.
type Store struct{ opts Options }

// Secret is one secret.
type Secret struct {
	Version int               `json:"version"`
	ID      string            `json:"id"`
	Name    string            `json:"-"` // of its file
	Created time.Time         `json:"created"`
	Updated time.Time         `json:"updated"`
	Labels  map[string]string `json:"labels,omitempty"`
	Options map[string]string `json:"options,omitempty"` // of the driver, kept as asked
	Data    []byte            `json:"data"`
}

// Driver is the one that there is.
const Driver = "file"

// MaxData is the most that a secret holds, in bytes: podman's limit.
const MaxData = 512000

const (
	recordVersion = 1
	maxName       = 253
	idBytes       = 13      // podman's ids have 25 digits
	maxRecord     = 2 << 20 // base64 takes a third more, labels what an argument may hold
)

// Open opens the store; its folder is made by the first secret.
func Open(o Options) (*Store, error) {
	if !filepath.IsAbs(o.Root) || !filepath.IsAbs(o.Run) {
		return nil, fault.New(fault.Invalid, "open secret store %q: its folders need absolute paths", o.Root)
	}
	if o.Warn == nil {
		o.Warn = func(error) {}
	}
	return &Store{o}, nil
}

func (s *Store) dir() string             { return filepath.Join(s.opts.Root, "secrets") }
func (s *Store) path(name string) string { return filepath.Join(s.dir(), name) }

// CheckName refuses what cannot be a secret's name.
func CheckName(name string) error {
	if len(name) > maxName || !ids.IsName(name) {
		return fault.New(fault.Invalid, "secret name %.300q is invalid: only [a-zA-Z0-9][a-zA-Z0-9_.-]* of at most %d characters is allowed", name, maxName)
	}
	return nil
}

// lock is taken by who changes anything; reading takes none, since files are
// replaced whole.
func (s *Store) lock() (*flock.Held, error) {
	dir := filepath.Join(s.opts.Run, "locks")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	return flock.Lock(filepath.Join(dir, "secrets"))
}

// Create makes a secret from what is filled in of r: Name, Labels, Options, Data.
// Errors: Exists unless replace, Invalid.
func (s *Store) Create(r Secret, replace bool) (*Secret, error) {
	if err := CheckName(r.Name); err != nil {
		return nil, err
	}
	if len(r.Data) == 0 || len(r.Data) > MaxData {
		return nil, fault.New(fault.Invalid, "create secret %s: secret data must be larger than 0 and at most %d bytes", r.Name, MaxData)
	}
	lock, err := s.lock()
	if err != nil {
		return nil, fmt.Errorf("create secret %s: %w", r.Name, err)
	}
	defer lock.Unlock()
	_, err = os.Lstat(s.path(r.Name))
	if err == nil && !replace {
		return nil, fault.New(fault.Exists, "%s: secret name in use", r.Name)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("create secret %s: %w", r.Name, err)
	}
	if err := os.MkdirAll(s.dir(), 0o700); err != nil {
		return nil, fmt.Errorf("create secret %s: %w", r.Name, err)
	}
	r.Version, r.ID, r.Created = recordVersion, ids.Hex(idBytes)[:2*idBytes-1], time.Now().UTC()
	r.Updated = r.Created
	b, err := json.Marshal(&r)
	if err != nil {
		return nil, fmt.Errorf("create secret %s: %w", r.Name, err)
	}
	if err := atomicfile.Write(s.path(r.Name), b, 0o600, atomicfile.Sync); err != nil {
		return nil, fmt.Errorf("create secret %s: %w", r.Name, err)
	}
	return &r, nil
}

// read reads one by its name.
func (s *Store) read(name string) (*Secret, error) {
	path := s.path(name)
	b, err := atomicfile.ReadCapped(path, maxRecord)
	if err != nil {
		return nil, err
	}
	out := &Secret{}
	if err := json.Unmarshal(b, out); err != nil {
		return nil, fault.New(fault.Invalid, "read %s: %w", path, err)
	}
	if out.Version > recordVersion {
		return nil, fault.New(fault.Unsupported, "read %s: its version is %d, this program knows %d", path, out.Version, recordVersion)
	}
	out.Name = name
	return out, nil
}

// Get finds a secret by its name, its id, or an unambiguous beginning of the id.
// Errors: NotFound, Conflict for a beginning of several.
func (s *Store) Get(name string) (*Secret, error) {
	if CheckName(name) == nil {
		if found, err := s.read(name); err == nil || !fault.Is(err, fault.NotFound) {
			return found, err
		}
	}
	all, err := s.List()
	if err != nil {
		return nil, err
	}
	var found *Secret
	for i := range all {
		switch {
		case all[i].ID == name:
			return &all[i], nil
		case name == "" || !strings.HasPrefix(all[i].ID, name):
		case found != nil:
			return nil, fault.New(fault.Conflict, "more than one secret has an id that begins with %q", name)
		default:
			found = &all[i]
		}
	}
	if found == nil {
		return nil, fault.New(fault.NotFound, "no secret with name or id %.300q: no such secret", name)
	}
	return found, nil
}

// List returns all, by name. One that cannot be read is skipped and told to
// Options.Warn.
func (s *Store) List() ([]Secret, error) {
	entries, err := os.ReadDir(s.dir())
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("list secrets: %w", err)
	}
	var out []Secret
	for _, e := range entries {
		if CheckName(e.Name()) != nil { // staged
			continue
		}
		one, err := s.read(e.Name())
		if err != nil {
			if !fault.Is(err, fault.NotFound) {
				s.opts.Warn(err)
			}
			continue
		}
		out = append(out, *one)
	}
	slices.SortFunc(out, func(a, b Secret) int { return strings.Compare(a.Name, b.Name) })
	return out, nil
}

// Remove removes a secret and gives its id. Containers that were made with it
// keep their copy. Error: NotFound.
func (s *Store) Remove(name string) (id string, err error) {
	found, err := s.Get(name)
	if err != nil {
		return "", err
	}
	lock, err := s.lock()
	if err != nil {
		return "", fmt.Errorf("remove secret %s: %w", found.Name, err)
	}
	defer lock.Unlock()
	if err := os.Remove(s.path(found.Name)); err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return "", fault.New(fault.NotFound, "no secret with name or id %q: no such secret", name)
		}
		return "", fmt.Errorf("remove secret %s: %w", found.Name, err)
	}
	if err := atomicfile.SyncDir(s.dir()); err != nil {
		return "", fmt.Errorf("remove secret %s: %w", found.Name, err)
	}
	return found.ID, nil
}
