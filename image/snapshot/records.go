package snapshot

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"berth/base/atomicfile"
	"berth/base/fault"

	"golang.org/x/sys/unix"
)

// records are the files that say which snapshots there are.
type records struct {
	root  string // STORE/snapshots
	boot  string // this boot's id
	later bool   // the caller syncs
}

func (o *records) path(elem ...string) string {
	return filepath.Join(append([]string{o.root}, elem...)...)
}

func (o *records) recordPath(hash string) string { return o.path(recordsDir, hash+recordSuffix) }

const recordSuffix = ".json"

// load reads the record of a snapshot.
func (o *records) load(key string) (*record, error) {
	rec, err := o.loadHash(hashOf(key))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, refuse(fault.NotFound, "snapshot %s does not exist", key)
	}
	if err != nil {
		return nil, fmt.Errorf("snapshot %s: %w", key, err)
	}
	return rec, nil
}

// loadHash is load by the name on disk. A broken record is not found.
func (o *records) loadHash(hash string) (*record, error) {
	path := o.recordPath(hash)
	data, err := atomicfile.ReadCapped(path, maxRecord)
	if err == nil {
		return o.judge(data, hash)
	}
	if fault.Is(err, fault.Invalid) { // no file, or too large
		return nil, notFound(&broken{err})
	}
	return nil, err
}

// judge parses a record and decides whether it counts.
func (o *records) judge(data []byte, hash string) (*record, error) {
	rec, err := parseRecord(data, hash)
	if err != nil {
		err = fmt.Errorf("record %s: %w", o.recordPath(hash), err)
		if fault.Is(err, fault.Unsupported) {
			return nil, err
		}
		return nil, notFound(err)
	}
	if rec.Unsynced == "" || rec.Unsynced == o.boot {
		return rec, nil
	}
	switch _, err := os.Lstat(o.path(unsyncedDir, hash)); {
	case errors.Is(err, fs.ErrNotExist):
		return rec, nil
	case err != nil:
		return nil, err
	}
	return nil, notFound(&unsure{rec: rec, err: errors.New("its commit was not synced when the machine stopped")})
}

// notFound makes err one that says that there is no such snapshot.
func notFound(err error) error { return refuse(fault.NotFound, "%w", err) }

// checkKey refuses keys that cannot be stored.
func checkKey(verb, key string) error {
	if key == "" || len(key) > maxKey {
		return refuse(fault.Invalid, "%s a snapshot: the key must have 1 to %d bytes, not %d", verb, maxKey, len(key))
	}
	return nil
}

// stage writes a record to its place before it has a name. The caller holds
// the key's lock. The old stage may be a link to a record that counts, so it is
// unlinked and never written to.
func (o *records) stage(rec *record) (string, error) {
	data, err := rec.encode()
	if err != nil {
		return "", err
	}
	path := o.path(stageDir, hashOf(rec.Key)+recordSuffix)
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return "", err
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return "", err
	}
	_, err = f.Write(data)
	if err == nil && !o.later && rec.durable() {
		err = f.Sync()
	}
	if closed := f.Close(); err == nil {
		err = closed
	}
	if err != nil {
		_ = os.Remove(path)
		return "", err
	}
	return path, nil
}

// durable reports whether the record is of a kind that a power cut must not
// take; actives are synced by their owner, who knows whether they matter.
func (r *record) durable() bool {
	return r.Kind == Committed || r.Next != nil
}

// create gives a new record its name, which must be free.
func (o *records) create(rec *record) error {
	staged, err := o.stage(rec)
	if err != nil {
		return err
	}
	defer os.Remove(staged)
	return os.Link(staged, o.recordPath(hashOf(rec.Key)))
}

// replace writes a record in the place of its old self.
func (o *records) replace(rec *record) error {
	staged, err := o.stage(rec)
	if err != nil {
		return err
	}
	if err := os.Rename(staged, o.recordPath(hashOf(rec.Key))); err != nil {
		_ = os.Remove(staged)
		return err
	}
	return nil
}
