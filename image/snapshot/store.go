package snapshot

import (
	"context"
	"crypto/rand"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"berth/base/clock"
	"berth/base/fault"
	"berth/base/flock"
	"berth/sys/proc"

	"golang.org/x/sys/unix"
)

// Overlay is the Store of overlay folders. It keeps nothing in memory but
// paths and options; its methods may be called from many goroutines.
type Overlay struct {
	shelf
	userNS bool
	report func(error)
}

// shelf is what verbs do to records and folders under the locks.
type shelf struct {
	records
	folders
	lockFiles
}

// folders are the overlay folders, named by ids.
type folders struct {
	d     string // STORE/snapshots/d
	trash string // STORE/snapshots/trash
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
	root := filepath.Join(store, "snapshots")
	o := &Overlay{report: func(error) {}}
	o.root = root
	o.folders = folders{d: filepath.Join(root, foldersDir), trash: filepath.Join(root, trashDir)}
	o.lockFiles.dir = filepath.Join(store, "locks", "snapshots")
	for _, opt := range opts {
		opt(o)
	}
	var err error
	if o.boot, err = clock.BootID(); err != nil {
		return nil, fmt.Errorf("open snapshots in %s: %w", store, err)
	}
	if o.userNS, err = proc.InUserNamespace(); err != nil {
		return nil, fmt.Errorf("open snapshots in %s: %w", store, err)
	}
	if err := o.make(); err != nil {
		return nil, fmt.Errorf("open snapshots in %s: %w", store, err)
	}
	return o, nil
}

// make makes the store's folders. The lock files come with them: they must be
// there when the disk is full and something is to be removed.
func (o *shelf) make() error {
	if _, err := os.Lstat(o.trash); err == nil {
		return nil
	}
	if err := os.MkdirAll(o.lockFiles.dir, 0o700); err != nil {
		return err
	}
	for n := range lockCount {
		if err := flock.Make(o.lockPath(n)); err != nil {
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

// OpaqueXattr names the xattr of an opaque folder: overlay reads, and anybody may set,
// trusted.* only with rights over the first user namespace (mount option userxattr).
func (o *Overlay) OpaqueXattr() string {
	if o.userNS || os.Geteuid() != 0 {
		return "user.overlay.opaque"
	}
	return "trusted.overlay.opaque"
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
