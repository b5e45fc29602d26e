package container

import (
	"context"
	"os"
	"path/filepath"
	"strings"

	"berth/base/fault"
)

func noSuch(arg string) error { return fault.New(fault.NotFound, "No such container: %.300s", arg) }

// exists reports whether a container's record is there.
func (s *disk) exists(id ID) bool {
	_, err := os.Lstat(filepath.Join(s.kept(), string(id), recordFile))
	if err != nil {
		_, err = os.Lstat(filepath.Join(s.running(), string(id), recordFile))
	}
	return err == nil
}

// Find returns the id for a name, an id or a unique prefix of an id. Errors, in
// Docker's words: NotFound, Invalid for an ambiguous prefix.
func (s *Store) Find(ctx context.Context, arg string) (ID, error) {
	if isID(arg) && s.exists(ID(arg)) {
		return ID(arg), nil
	}
	if name := strings.TrimPrefix(arg, "/"); CheckName(name) == nil {
		id, err := s.names.readName(name)
		if fault.Is(err, fault.Invalid) {
			if err = s.names.mendName(name); err == nil {
				id, err = s.names.readName(name)
			}
		}
		if err == nil && s.names.hasName(id, name) {
			return id, nil
		}
	}
	return s.byPrefix(arg)
}

func (s *Store) byPrefix(arg string) (ID, error) {
	if arg == "" || !isHex(arg) || len(arg) > 64 {
		return "", noSuch(arg)
	}
	kept, passing, err := s.present()
	if err != nil {
		return "", err
	}
	var found ID
	for _, id := range append(kept, passing...) {
		if !strings.HasPrefix(string(id), arg) || !s.exists(id) {
			continue
		}
		if found != "" {
			return "", fault.New(fault.Invalid, "Multiple IDs found with provided prefix: %s", arg)
		}
		found = id
	}
	if found == "" {
		return "", noSuch(arg)
	}
	return found, nil
}

// Get is Find and the record.
func (s *Store) Get(ctx context.Context, arg string) (*Record, error) {
	return found(ctx, s, arg, readRecord)
}

// Summary is Find and what lists show, without Facts. Reading it takes a tenth of
// the time that the record takes.
func (s *Store) Summary(ctx context.Context, arg string) (*Summary, error) {
	return found(ctx, s, arg, readSummary)
}

// found is Find and what read gives of the container's folder.
func found[T any](ctx context.Context, s *Store, arg string, read func(home string, id ID) (*T, error)) (*T, error) {
	id, err := s.Find(ctx, arg)
	if err != nil {
		return nil, err
	}
	what, err := read(s.Home(id), id)
	if gone(err) {
		return nil, noSuch(arg)
	}
	return what, err
}
