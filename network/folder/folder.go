// Package folder is the room's files in the run folder, what is true in this boot: a
// file an object, in a folder a kind, and locks. What is in them is its users'. Row 3,
// for room network.
package folder

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"berth/base/atomicfile"
	"berth/base/fault"
	"berth/base/flock"
)

// Folder is one, as of a boot: what another boot wrote is not there.
type Folder struct{ Run, Boot string }

// OfBoot is what knows in which boot it was written.
type OfBoot interface{ BootID() string }

// fileLimit is more than any file of ours has, in bytes: 65,535 single ports.
const fileLimit = 16 << 20

// Lock takes one of the locks.
func (f Folder) Lock(name string, how func(string) (*flock.Held, error)) (*flock.Held, error) {
	path := filepath.Join(f.Run, "locks", name)
	held, err := how(path)
	if !errors.Is(err, fs.ErrNotExist) {
		return held, err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, err
	}
	return how(path)
}

// Put writes a file of the run folder.
func (f Folder) Put(kind, name string, v any) error {
	data, err := json.Marshal(v)
	if err != nil {
		return err
	}
	path := filepath.Join(f.Run, kind, name+".json")
	err = atomicfile.Write(path, data, 0o600)
	if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	return atomicfile.Write(path, data, 0o600)
}

// Get reads a file of the run folder; found is false if there is none, or none
// of this boot.
func (f Folder) Get(kind, name string, v OfBoot) (found bool, err error) {
	path := filepath.Join(f.Run, kind, name+".json")
	data, err := atomicfile.ReadCapped(path, fileLimit)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	if err := json.Unmarshal(data, v); err != nil {
		return false, fault.New(fault.Invalid, "read %s: %w", path, err)
	}
	return v.BootID() == f.Boot, nil
}

// Drop removes a file; that it is not there is no error.
func (f Folder) Drop(kind, name string) error {
	err := os.Remove(filepath.Join(f.Run, kind, name+".json"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// DropAll is Drop of several.
func (f Folder) DropAll(kind string, names []string) error {
	for _, name := range names {
		if err := f.Drop(kind, name); err != nil {
			return err
		}
	}
	return nil
}

// Names lists the files of a folder of the run folder.
func (f Folder) Names(kind string) ([]string, error) {
	list, err := os.ReadDir(filepath.Join(f.Run, kind))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("list %s: %w", kind, err)
	}
	var out []string
	for _, e := range list {
		if name, ok := strings.CutSuffix(e.Name(), ".json"); ok && !atomicfile.IsStaged(e.Name()) {
			out = append(out, name)
		}
	}
	return out, nil
}
