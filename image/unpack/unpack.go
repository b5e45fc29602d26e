// Package unpack makes a layer's folder from the tar stream of an image: its
// own extractor, on file descriptors only, in processes without rights of their
// own. One Worker serves one pull and unpacks several layers at once.
//
// It is not the store: where the folder lies, whether the compressed bytes have
// the digest that was asked for, and what happens to a layer that failed is the
// caller's business (the caller reads the bytes through a tee). It knows no
// registries and no images. Row 3 (image).
//
// Three processes share the work (security classes V7–V10), the two others being
// this program again, each in new user, mount, network, pid namespaces, with an
// empty read-only root, no_new_privs, Landlock, seccomp:
//
//	caller                                   reader, one for all layers
//	  compressed bytes ────────────────────▶ decompress: no files, no capabilities
//	  hash the plain bytes ◀──────────────── plain bytes
//	        │
//	        ▼                                maker, one for each layer
//	  folder's own detached mount, ────────▶ Landlock binds it to that folder:
//	  plain bytes, a socket                  parse tar, make files
//	  check, then make it ◀── "node" ─────── device nodes (it may not)
//	  check, then set it  ◀── "opaque" ───── trusted.overlay.opaque
//	  look it up          ◀── "parent" ───── folders that the layer does not name
//	  Result ◀────────────── "done" ──────── what it made
//
// Who is taken over by a layer's bytes can do what that layer could have said
// anyway: the diff id is hashed by the caller from the very bytes that the maker
// got, and a maker that has parsed one layer never gets another one's folder.
// Small layers (SmallLayer) share a maker, because a process each would cost
// more than all else; see docs/threats.md.
//
// No process gets a path of the host, nor a descriptor of a lower layer. When
// the caller ends, however it ends, the sockets close and they exit.
//
// What a layer's entry becomes:
//   - Owner, mode with setuid bits, times to the nanosecond, hard links, sparse
//     files, FIFOs and device nodes as the tar says; folders' times are set last.
//   - xattrs: user.*, security.capability and POSIX ACLs. All others belong to
//     the host and are dropped, and so are those that give a file a meaning in
//     the store: trusted.*, user.overlay.*, user.containers.override_stat.
//   - .wh.NAME becomes overlay's whiteout, .wh..wh..opq an opaque folder; both
//     hide lower layers only, whatever their place in the stream. Other .wh..wh.
//     names are leftovers of aufs and are ignored.
//   - A later entry replaces an earlier one of the same name; two folders merge.
//   - A folder that only the names of its contents tell of is as in the layers
//     below, else 0755 of root.
//   - A hard link needs its target in the same layer, as with docker and containerd.
//   - Links in the middle of a name are followed inside the layer.
//
// With one id only (Options) every file belongs to the caller. Where the tar
// says another owner than root, regular files and folders carry it in the xattr
// user.containers.override_stat, "UID:GID:MODE:TYPE" (the form that podman and
// fuse-overlayfs read); the kernel allows such an xattr on nothing else.
package unpack

import (
	"time"

	"github.com/opencontainers/go-digest"
)

// WorkerWord is the hidden first word under which the program is a worker: it
// then calls WorkerMain with the words after it, and exits with what it returns.
const WorkerWord = "unpack-worker"

// SmallLayer is the size up to which layers share a maker: below it there are no
// layers that several images begin with and that it would be worth to forge.
const SmallLayer = 64 << 10

// The limits when a field of Limits is 0, with DefaultEntries.
const (
	DefaultFolders    = 1 << 18
	DefaultBytes      = 256 << 30
	DefaultFileBytes  = 128 << 30
	DefaultRatio      = 250
	DefaultRatioFloor = 1 << 30
	DefaultDepth      = 256
	DefaultXattrs     = 128
	DefaultXattrBytes = 64 << 10
	DefaultWindow     = 64 << 20
)

// Limits bound one layer; a field that is 0 has its default. The tar format's
// own extra headers are bounded by 1 MiB each (archive/tar), names by 255 bytes
// and paths by 4095.
type Limits struct {
	Entries   int64 // entries of the tar
	Folders   int64 // folders, named or not: the worker remembers each
	Bytes     int64 // of the uncompressed stream, and of all files with their holes
	FileBytes int64 // of one file with its holes
	// Ratio is how many times the compressed bytes the uncompressed ones may be;
	// it counts from RatioFloor uncompressed bytes on.
	Ratio, RatioFloor int64
	Depth             int   // components of a path
	Xattrs            int   // of one entry
	XattrBytes        int   // of one entry's xattrs, names and values
	Window            int64 // bytes of memory that a zstd stream may ask for
}

func (l Limits) withDefaults() Limits {
	pick := func(v *int64, def int64) {
		if *v <= 0 {
			*v = def
		}
	}
	small := func(v *int, def int) {
		if *v <= 0 {
			*v = def
		}
	}
	pick(&l.Entries, DefaultEntries)
	pick(&l.Folders, DefaultFolders)
	pick(&l.Bytes, DefaultBytes)
	pick(&l.FileBytes, DefaultFileBytes)
	pick(&l.Ratio, DefaultRatio)
	pick(&l.RatioFloor, DefaultRatioFloor)
	pick(&l.Window, DefaultWindow)
	small(&l.Depth, DefaultDepth)
	small(&l.Xattrs, DefaultXattrs)
	small(&l.XattrBytes, DefaultXattrBytes)
	return l
}

// Compression of a layer's stream.
type Compression string

// The compressions. Auto looks at the first bytes and is what the zero value
// means: a media type only repeats what they say. xz is recognized and refused.
const (
	Auto  Compression = "auto"
	None  Compression = "none"
	Gzip  Compression = "gzip"
	Zstd  Compression = "zstd"
	Bzip2 Compression = "bzip2"
)

// Result is what became of a layer.
type Result struct {
	DiffID       digest.Digest // sha256 of the uncompressed stream
	Uncompressed int64         // bytes of the uncompressed stream
	Compressed   int64         // bytes read from the source
	Size         int64         // bytes on disk, as du counts them
	Inodes       int64         // that the layer takes, its root folder included
	Entries      int64         // of the tar
	// SkippedDevices counts device nodes that the caller's process may not make
	// (it is in a user namespace): they are missing, as with other engines.
	SkippedDevices int64
	// DroppedXattrs counts xattrs that were dropped, see the package comment, or
	// that the file system does not take.
	DroppedXattrs int64
	// Compression that the stream had.
	Compression Compression
}

// The patience that a worker gets: to start, to stop a layer when the context
// is done, to end after Close. Then it is killed.
const (
	startPatience = 20 * time.Second
	stopPatience  = 10 * time.Second
	endPatience   = 3 * time.Second
)
