// Package files is the door of the files room: it reads and writes the files of
// a container, or of a volume or image, as those inside see them. What it is for
// (cp, export, the layer of a commit) is its callers' affair, and it knows no
// container: a Place says whose files. Row 2.
//
// A Visit is a process of its own, this program again under a hidden word, that
//
//   - has for its root a private copy of the mounts that those inside have: nothing
//     of the host is in it, no procfs, and devices, set-id bits and programs have
//     no effect; it may be read-only;
//   - is in their user namespace, so that ids are theirs and it may do what their
//     root may; where that is the host's, in a user namespace of its own with the
//     same ids, whose rights reach no further than files;
//   - looks paths up as if that root were "/", by openat2(2), without magic links;
//   - has a seccomp filter, no process of others in sight, and two sockets.
//
// So whatever links and races there are inside, nothing outside can be reached
// (security class V7). It speaks tar with its caller, who parses none of it.
package files

import (
	"context"
	"io"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"berth/files/tree"
)

// Word is the hidden first word under which the program is a visit's process: it
// then calls Main with the words after it and exits with what it returns.
const Word = "files-worker"

// The words of package tree.
type (
	// Stat is what docker's API tells of a path.
	Stat = tree.Stat
	// Options say how a tar becomes files.
	Options = tree.Options
	// Owner is a user and a group.
	Owner = tree.Owner
	// Made tells what did not become as the tar says.
	Made = tree.Made
	// Source and Target are trees in the caller's own reach.
	Source = tree.Source
	Target = tree.Target
)

// Pack writes a tree of the caller's own as a tar.
func Pack(ctx context.Context, w io.Writer, s *Source) error { return tree.Pack(ctx, w, s) }

// Unpack makes a tar's files in the caller's own reach.
func Unpack(ctx context.Context, t *Target, r io.Reader) (Made, error) {
	return tree.Unpack(ctx, t, r)
}

// Place says whose files. Either PID or Layers is given.
type Place struct {
	// PID is a process inside, StartTime its proc_pid_stat(5) field.
	PID       int
	StartTime uint64
	Layers    *Layers
	// ReadOnly visits change nothing: layers are then free to be used elsewhere.
	ReadOnly bool
}

// Layers is a tree that nobody has mounted: folders of overlay.
type Layers struct {
	Store       string // the folder that all of them are in
	Lower       []string
	Upper, Work string
	Options     []string // further ones of overlay
	Mounts      []Mount
	// ReadOnlyRoot lets only mounts be written to.
	ReadOnlyRoot bool
	// UIDs and GIDs map the ids of those inside to the caller's; none: they are the same.
	UIDs, GIDs []specs.LinuxIDMapping
}

// Mount is a folder or file of the host in such a tree. Its target is made if it
// is missing.
type Mount struct {
	Source, Target string
	Subpath        string // of the source that is mounted instead; no link leads out
	ReadOnly       bool
	Recursive      bool // with what is mounted below
}
