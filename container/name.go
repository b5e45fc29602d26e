package container

import (
	"crypto/rand"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strconv"

	"berth/base/fault"
	"berth/base/flock"
	"berth/base/ids"
)

// maxName bounds a name to what a file's name can be.
const maxName = 240

// nameChars is how Docker writes the rule in its message.
const nameChars = "[a-zA-Z0-9][a-zA-Z0-9_.-]"

// CheckName refuses what cannot be a container's name, in Docker's words: a
// letter or digit, then one or more of letters, digits, "_", ".", "-". A slash
// in front is the caller's to drop.
func CheckName(name string) error {
	if len(name) < 2 || len(name) > maxName || !ids.IsName(name) {
		return fault.New(fault.Invalid, "Invalid container name (%.300s), only %s are allowed", name, nameChars)
	}
	return nil
}

// RandomName makes a name of two words.
func RandomName() string {
	var b [4]byte
	_, _ = rand.Read(b[:]) // ends the process if there is no randomness
	n := binary.LittleEndian.Uint32(b[:])
	return word(qualityWords, uint16(n)) + "_" + word(surnameWords, uint16(n>>16))
}

// book is the names of a store.
type book struct{ *disk }

// holder is the content of a name's file.
type holder struct {
	Version int `json:"version"`
	ID      ID  `json:"id"`
}

func (s book) namePath(name string) string { return filepath.Join(s.namesDir(), name) }

// readName gives the id that a name's file has: NotFound, Invalid for a torn file.
func (s book) readName(name string) (ID, error) {
	var h holder
	if err := readJSON(s.namePath(name), 4096, &h); err != nil {
		return "", err
	}
	if !isID(string(h.ID)) {
		return "", fault.New(fault.Invalid, "read %s: no id in it", s.namePath(name))
	}
	return h.ID, nil
}

// stagedName is a name's file before it has its name: of one container there is
// one at most, as whoever makes it has the lock.
func (s book) stagedName(id ID) string { return filepath.Join(s.namesDir(), hidden+string(id)) }

// stageName writes it.
func (s book) stageName(id ID) (path string, err error) {
	path = s.stagedName(id)
	text, err := json.Marshal(holder{Version: 1, ID: id})
	if err != nil {
		return "", err
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if os.IsExist(err) { // a killed verb's; it may be linked to a name
		if err = os.Remove(path); err == nil {
			f, err = os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
		}
	}
	if err != nil {
		return "", fmt.Errorf("reserve a name: %w", err)
	}
	_, err = f.Write(text)
	if closed := f.Close(); err == nil {
		err = closed
	}
	if err != nil {
		_ = os.Remove(path)
		return "", fmt.Errorf("reserve a name: %w", err)
	}
	return path, nil
}

// claim gives a name to id, which is locked by the caller: link(2) of a complete
// file, so that one of many gets it. A name whose container is gone is taken
// over, under that container's lock: while it is being made, it holds that.
func (s book) claim(name string, id ID) error {
	staged, err := s.stageName(id)
	if err != nil {
		return err
	}
	defer os.Remove(staged)
	for {
		err := os.Link(staged, s.namePath(name))
		if err == nil {
			return nil
		}
		if !os.IsExist(err) {
			return fmt.Errorf("reserve the name %s: %w", name, err)
		}
		owner, err := s.readName(name)
		switch {
		case gone(err):
			continue // removed since
		case fault.Is(err, fault.Invalid):
			if err := s.mendName(name); err != nil {
				return err
			}
			continue
		case err != nil:
			return err
		case owner == id:
			return nil
		case s.hasName(owner, name):
			return inUse(name, owner)
		}
		lock, err := flock.TryLock(s.lockPath(owner))
		if fault.Is(err, fault.Busy) {
			return inUse(name, owner)
		}
		if err != nil {
			return err
		}
		now, err := s.readName(name)
		if err == nil && now == owner && !s.hasName(owner, name) {
			err = os.Rename(staged, s.namePath(name))
			if err == nil {
				return s.dropLock(lock, owner)
			}
		}
		_ = s.dropLock(lock, owner)
		if err != nil && !gone(err) && !fault.Is(err, fault.Invalid) {
			return fmt.Errorf("reserve the name %s: %w", name, err)
		}
	}
}

// hasName reports whether a container is there and has this name.
func (s book) hasName(id ID, name string) bool {
	sum, err := readSummary(s.Home(id), id)
	return err == nil && sum.Name == name
}

func inUse(name string, owner ID) error {
	return fault.New(fault.Conflict, "Conflict. The container name %q is already in use by container %q. You have to remove (or rename) that container to be able to reuse that name.", "/"+name, string(owner))
}

// release gives a name back if it is id's.
func (s book) release(name string, id ID) error {
	owner, err := s.readName(name)
	if gone(err) || err == nil && owner != id {
		return nil
	}
	return removeFile(s.namePath(name))
}

// mendName makes a torn name file again, from the records, or removes it.
func (s book) mendName(name string) error {
	lock, err := flock.Lock(filepath.Join(s.locks(), bootFile))
	if err != nil {
		return err
	}
	defer lock.Unlock()
	if _, err := s.readName(name); err == nil || gone(err) {
		return nil
	}
	id, ok := s.named(name)
	if !ok {
		return removeFile(s.namePath(name))
	}
	return writeJSON(s.namePath(name), holder{Version: 1, ID: id})
}

// named looks for the container of a name in all records.
func (s book) named(name string) (ID, bool) {
	kept, passing, err := s.present()
	if err != nil {
		return "", false
	}
	for _, id := range append(kept, passing...) {
		if s.hasName(id, name) {
			return id, true
		}
	}
	return "", false
}

// pickName reserves a random name; after many collisions it gets a number.
func (s book) pickName(id ID) (string, error) {
	for try := 0; ; try++ {
		name := RandomName()
		if try > 8 {
			name += strconv.Itoa(try)
		}
		err := s.claim(name, id)
		if err == nil || !fault.Is(err, fault.Conflict) {
			return name, err
		}
	}
}
