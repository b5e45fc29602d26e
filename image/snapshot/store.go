package snapshot

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"berth/base/atomicfile"
	"berth/base/fault"

	"golang.org/x/sys/unix"
)

// Overlay is the Store of overlay folders. It keeps nothing in memory but
// paths and options; its methods may be called from many goroutines.
type Overlay struct {
	root   string // STORE/snapshots
	locks  string // STORE/locks/snapshots
	boot   string // this boot's id
	later  bool   // the caller syncs
	userNS bool
	report func(error)
}

var _ Store = (*Overlay)(nil)

// Option changes how a store works.
type Option func(*Overlay)

// LaterSync leaves durability to the caller, who calls Sync once for many
// commits and before the first durable reference to them is written.
func LaterSync() Option { return func(o *Overlay) { o.later = true } }

// Report gives a function that hears of broken records when a listing skips
// them. It is called in the caller's goroutine.
func Report(f func(error)) Option { return func(o *Overlay) { o.report = f } }

// The folders below the root.
const (
	recordsDir  = "by-key"
	foldersDir  = "d"
	childrenDir = "children"
	unsyncedDir = "unsynced"
	stageDir    = "stage"
	trashDir    = "trash"
)

// Open opens the snapshots of the store at the folder store, and makes what is
// missing of it. The folder's path must be absolute, at most PATH_MAX less 64
// bytes, and without the characters that mean something in overlay's options.
func Open(store string, opts ...Option) (*Overlay, error) {
	if !filepath.IsAbs(store) || strings.ContainsAny(store, ":,\\") || len(store) > unix.PathMax-64 {
		return nil, refuse(fault.Invalid, "open snapshots in %q: the path must be absolute and have no colon, comma or backslash", store)
	}
	o := &Overlay{
		root:   filepath.Join(store, "snapshots"),
		locks:  filepath.Join(store, "locks", "snapshots"),
		report: func(error) {},
	}
	for _, opt := range opts {
		opt(o)
	}
	boot, err := atomicfile.ReadCapped("/proc/sys/kernel/random/boot_id", 128)
	if err != nil {
		return nil, fmt.Errorf("open snapshots in %s: %w", store, err)
	}
	o.boot = string(bytes.TrimSpace(boot))
	if o.userNS, err = inUserNS(); err != nil {
		return nil, fmt.Errorf("open snapshots in %s: %w", store, err)
	}
	if err := o.make(); err != nil {
		return nil, fmt.Errorf("open snapshots in %s: %w", store, err)
	}
	return o, nil
}

// make makes the store's folders. The lock files come with them: they must be
// there when the disk is full and something is to be removed.
func (o *Overlay) make() error {
	if _, err := os.Lstat(o.path(trashDir)); err == nil {
		return nil
	}
	if err := os.MkdirAll(o.locks, 0o700); err != nil {
		return err
	}
	for n := range lockCount {
		if err := o.makeLock(n); err != nil {
			return err
		}
	}
	for _, dir := range []string{recordsDir, foldersDir, childrenDir, unsyncedDir, stageDir, trashDir} {
		if err := os.MkdirAll(o.path(dir), 0o700); err != nil {
			return err
		}
	}
	return nil
}

// inUserNS reports whether this process is in a user namespace other than the
// first one, by its id map (user_namespaces(7)).
func inUserNS() (bool, error) {
	data, err := atomicfile.ReadCapped("/proc/self/uid_map", 64<<10)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil // a kernel without them
	}
	if err != nil {
		return false, err
	}
	return strings.Join(strings.Fields(string(data)), " ") != "0 0 4294967295", nil
}

// OpaqueXattr names the xattr of an opaque folder: overlay reads trusted.* only
// with rights over the first user namespace (mount option userxattr).
func (o *Overlay) OpaqueXattr() string {
	if o.userNS {
		return "user.overlay.opaque"
	}
	return "trusted.overlay.opaque"
}

// Close does nothing: the store is in no process.
func (o *Overlay) Close() error { return nil }

func (o *Overlay) path(elem ...string) string {
	return filepath.Join(append([]string{o.root}, elem...)...)
}

func (o *Overlay) recordPath(hash string) string { return o.path(recordsDir, hash+recordSuffix) }

const recordSuffix = ".json"

// load reads the record of a snapshot.
func (o *Overlay) load(key string) (*record, error) {
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
func (o *Overlay) loadHash(hash string) (*record, error) {
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
func (o *Overlay) judge(data []byte, hash string) (*record, error) {
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
func (o *Overlay) stage(rec *record) (string, error) {
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
	return r.Kind == committed || r.Next != nil
}

// create gives a new record its name, which must be free.
func (o *Overlay) create(rec *record) error {
	staged, err := o.stage(rec)
	if err != nil {
		return err
	}
	defer os.Remove(staged)
	return os.Link(staged, o.recordPath(hashOf(rec.Key)))
}

// replace writes a record in the place of its old self.
func (o *Overlay) replace(rec *record) error {
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

// newID makes a random folder id: 30 bits in 6 characters. mkdir(2) decides
// whether it is free.
func newID() string {
	var b [6]byte
	rand.Read(b[:])
	for i := range b {
		b[i] = idAlphabet[b[i]&31]
	}
	return string(b[:])
}

// stopped is the context's error with the verb's words.
func stopped(ctx context.Context, verb, key string) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("%s snapshot %s: %w", verb, key, err)
	}
	return nil
}
