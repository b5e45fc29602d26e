// Package snapshot keeps the layers of images and the writable folders of
// containers, and says how to mount them: on plain files, for many processes at
// once, with no daemon. It unpacks nothing, follows no references and mounts
// nothing into the caller's namespace. Row 3.
//
// It is a containerd Snapshotter with types of its own, because containerd's
// package links protobuf, which every start would pay for: package
// image/containerd gives it that interface.
//
// # The contract
//
// Store is the seam; package suite below holds every implementation to it.
//
//	Prepare ─▶ active ── Commit ─▶ committed ◀── CommitLayer ── active ◀─ PrepareLayer
//	View ────▶ view                    ▲ parent of actives, views and committed ones
//
// Beyond what containerd asks for:
//
//   - The layers of an image may be filled at once, before their parents are
//     there: PrepareLayer gives an empty folder, CommitLayer its name and parent.
//   - A name that is taken gives errdefs.ErrAlreadyExists and changes nothing; of
//     many that commit one name at once, one wins.
//   - What a kill leaves half-made is no snapshot; Cleanup sweeps it.
//   - A commit is durable when the verb returns; with the option LaterSync when
//     Sync returned. What was not synced when the machine stopped does not exist
//     afterwards, so a layer that exists is a whole one.
//   - Size and inodes of a committed snapshot were counted once.
//   - Remove returns when the space is free.
//   - One broken record is one missing snapshot. Listings skip it and Report it.
//
// # On disk, below the store's folder
//
//	snapshots/by-key/HASH.json   the record; HASH is the SHA-256 of key or name
//	snapshots/d/ID/{fs,work}     the overlay folders
//	snapshots/children/HASH/HASH a parent's children; some may not exist (any more)
//	snapshots/unsynced/HASH      a commit that may not have reached the disk
//	snapshots/stage/HASH.json    a record before it gets its name
//	snapshots/trash/…            folders that nobody names any more
//	locks/snapshots/NN           flock files, each for one in 64 of the keys
//
// A record comes into being by link(2) and is replaced by rename(2). A commit
// is one rename of the active's record to the new name: the record says
// beforehand what it will be under that name (record.Next).
//
// # Locks, in this order
//
//  1. those of the keys that a verb names, parents included, by ascending number:
//     whoever writes a record or a child's mark holds the lock of its key, and
//     whoever adds a child that of the parent;
//  2. flock(2) on the folder d/ID: held by whoever makes the folder, or writes,
//     moves or removes the record that names it. Cleanup takes it, then looks
//     whether a record names the folder.
//
// None is held while a tree is removed or a file system synced.
//
// # EROFS as a second implementation
//
// Tried with go-erofs v0.3.1 on Linux 6.18: an image of one file, or of metadata
// and data, mounts from the files by fsopen(2) (source=, device=) with no loop
// device; whiteouts, owners, modes, times and odd names come out right, and
// overlay takes its detached mount as lowerdir+. Against it: the writer gives
// each name of a hard-linked file an inode of its own, so the contract's case
// Faithful fails; CopyFrom of a folder leaves xattrs out (Setxattr has to add
// them); in a user namespace the mount is refused; and it pays only when tar
// streams are written straight into images, for which PrepareLayer, which gives
// a folder, is the wrong shape.
package snapshot

import (
	"context"
	"os"
)

// Name is the snapshotter's name in containerd.io/gc.ref.snapshot.* labels.
const Name = "berth"

// Store is what the image room needs of an implementation.
type Store interface {
	lookups
	writes
	layers
}

// lookups tell what there is.
type lookups interface {
	Stat(ctx context.Context, key string) (Info, error)
	Usage(ctx context.Context, key string) (Usage, error)
	Mounts(ctx context.Context, key string) ([]Mount, error)
	Walk(ctx context.Context, fn WalkFunc, filters ...string) error
}

// writes make, change and remove snapshots.
type writes interface {
	Prepare(ctx context.Context, key, parent string, opts ...Opt) ([]Mount, error)
	View(ctx context.Context, key, parent string, opts ...Opt) ([]Mount, error)
	Commit(ctx context.Context, name, key string, opts ...Opt) error
	Update(ctx context.Context, info Info, fieldpaths ...string) (Info, error)
	Remove(ctx context.Context, key string) error
	Cleanup(ctx context.Context) error
}

// layers are filled through their folder and become durable together.
type layers interface {
	// PrepareLayer makes an active snapshot without a parent and opens its empty
	// folder, which shall become a layer in overlay's form: whiteouts are
	// character devices 0/0, opaque folders have the xattr OpaqueXattr.
	PrepareLayer(ctx context.Context, key string, opts ...Opt) (*os.File, error)
	// CommitLayer turns such an active snapshot into a committed one.
	CommitLayer(ctx context.Context, l Layer) error
	// OpaqueXattr names the xattr that makes a folder opaque (value "y").
	OpaqueXattr() string
	// Sync makes snapshots durable, and those below them. None means all.
	Sync(ctx context.Context, keys ...string) error
}

// Layer says what CommitLayer makes.
type Layer struct {
	Name   string // the new snapshot, usually the chain id
	Parent string // a committed snapshot, "" if there is none
	Key    string // what PrepareLayer was given; gone afterwards
	// Usage is what the folder takes, counted while it was filled.
	Usage  Usage
	Labels map[string]string
	// RootSet says that the layer brought owner and mode of its root folder;
	// otherwise the parent's are taken.
	RootSet bool
}
