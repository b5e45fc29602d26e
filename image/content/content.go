// Package content keeps blobs by their digest on plain files, for many
// processes at once and with no daemon: containerd's content.Store, and a
// writer that takes ranges out of order. It knows nothing of what a blob means
// and nothing of names; which blobs may go is decided in gc. Row 3, image room.
//
//	DIR/blobs/ALGORITHM/HEX         a blob: 0444, or 0440 until it is synced
//	DIR/labels/ALGORITHM/HEX.json   its labels, if it has any
//	DIR/ingest/HASH-OF-REF/         a writer under way: ref, data, state.json
//	DIR/ingest/.stage-…             what Put has in work
//	LOCKS/ingest/HASH-OF-REF        held exclusively while the writer is open
//	LOCKS/content/NN                for one change of a blob whose HEX falls on NN
//	LOCKS/gc                        shared while a blob is put in its place
//
// A blob's life:
//
//	Writer(ref) ─► Write… ─► Commit: size and digest ─► rename into blobs/
//	   ▲              │                      │ wrong: the ingest stays, the
//	   └── Close ◄────┘ or kill -9           ▼ caller looks or aborts
//	   (resumes where it was)
//
// Order of locks: ingest, then gc (shared), then content/NN; never two of one
// kind. Nothing but an own file is read or written under content/NN.
//
// Two ways to be durable. By default Commit syncs the data before the rename
// and the folder after it. With Options.Deferred it leaves that to the caller,
// who calls Sync (one syncfs) before anything durable points to the blobs.
// Until then a blob's mode is 0440: one that is found so and is older than
// this boot may hold anything, so its digest is verified before it is used.
// An ingest is never synced: what another boot left is hashed again from disk.
package content

import (
	"context"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/hex"
	"fmt"
	"hash"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"berth/base/clock"
	"berth/base/fault"
	"berth/base/flock"

	"github.com/containerd/containerd/v2/core/content"
	"github.com/containerd/errdefs"
	"github.com/opencontainers/go-digest"
	"golang.org/x/sys/unix"
)

// Options says where a store is.
type Options struct {
	Dir      string // STORE/content, made when it is missing
	Locks    string // STORE/locks, made when it is missing
	Deferred bool   // Commit does not sync; the caller calls Sync
	// Bad is told of files that cannot be what they should be and that were
	// skipped; it may be nil and may be called by several goroutines.
	Bad func(error)
}

// Store is a content store. All its truth is on disk: any number of Stores, in
// any number of processes, may share a folder.
type Store struct {
	tags
	// dir is open from the start, so that syncfs(2) reports every write that
	// failed since.
	dir *os.File

	mu       sync.Mutex
	unsynced []digest.Digest // committed by this Store since the last Sync
}

// place knows where everything is, and its locks.
type place struct {
	opts Options
	boot func() (string, error)
}

// tags is the labels of the blobs.
type tags struct{ place }

var _ content.Store = (*Store)(nil)

// algorithms are the digests that may name a blob, with the length of their
// hexadecimal form. A digest of another algorithm is invalid here.
func hexLen(algorithm string) int {
	switch algorithm {
	case "sha256":
		return 2 * sha256.Size
	case "sha512":
		return 2 * sha512.Size
	}
	return 0
}

func newHash(algorithm string) hash.Hash {
	if algorithm == "sha512" {
		return sha512.New()
	}
	return sha256.New()
}

// Open opens the store and makes its folders. Close gives it back.
func Open(o Options) (*Store, error) {
	for _, dir := range []string{
		filepath.Join(o.Dir, "blobs/sha256"), filepath.Join(o.Dir, "blobs/sha512"),
		filepath.Join(o.Dir, "labels/sha256"), filepath.Join(o.Dir, "labels/sha512"),
		filepath.Join(o.Dir, "ingest"),
		filepath.Join(o.Locks, "ingest"), filepath.Join(o.Locks, "content"),
	} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return nil, fmt.Errorf("open content store: %w", err)
		}
	}
	f, err := os.OpenFile(o.Dir, unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("open content store: %w", err)
	}
	s := &Store{tags: tags{place{o, sync.OnceValues(clock.BootID)}}, dir: f}
	if err := s.makeLocks(); err != nil {
		f.Close()
		return nil, fmt.Errorf("open content store: %w", err)
	}
	return s, nil
}

// Close gives back what Open took. Writers stay usable.
func (s *Store) Close() error { return s.dir.Close() }

// Sync makes all that was committed so far durable (syncfs(2) on the file
// system of the store) and marks this Store's blobs as synced.
func (s *Store) Sync(ctx context.Context) error {
	s.mu.Lock()
	done := s.unsynced
	s.unsynced = nil
	s.mu.Unlock()
	if err := unix.Syncfs(int(s.dir.Fd())); err != nil {
		s.mu.Lock()
		s.unsynced = append(s.unsynced, done...)
		s.mu.Unlock()
		return fmt.Errorf("sync content store %s: %w", s.opts.Dir, err)
	}
	for _, d := range done {
		path, err := s.blobPath(d)
		if err != nil {
			return err
		}
		if err := os.Chmod(path, synced); err != nil && !os.IsNotExist(err) {
			return fmt.Errorf("mark content %s as synced: %w", d, err)
		}
	}
	return nil
}

// split takes a digest apart and checks it: nothing that did not come through
// here becomes a part of a path.
func split(d digest.Digest) (algorithm, encoded string, err error) {
	algorithm, encoded, ok := strings.Cut(string(d), ":")
	n := hexLen(algorithm)
	if ok && n > 0 && len(encoded) == n && isHex(encoded) {
		return algorithm, encoded, nil
	}
	return "", "", fault.New(fault.Invalid, "digest %.140q: %w", string(d), errdefs.ErrInvalidArgument)
}

func isHex(s string) bool {
	for i := range len(s) {
		if c := s[i]; (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return true
}

func (p *place) blobPath(d digest.Digest) (string, error) {
	algorithm, encoded, err := split(d)
	if err != nil {
		return "", err
	}
	return filepath.Join(p.opts.Dir, "blobs", algorithm, encoded), nil
}

func (p *place) labelsPath(d digest.Digest) (string, error) {
	algorithm, encoded, err := split(d)
	if err != nil {
		return "", err
	}
	return filepath.Join(p.opts.Dir, "labels", algorithm, encoded+".json"), nil
}

// lockBlob takes the lock for a change of one blob.
func (p *place) lockBlob(d digest.Digest) (*flock.Held, error) {
	_, encoded, err := split(d)
	if err != nil {
		return nil, err
	}
	b, err := hex.DecodeString(encoded[:2])
	if err != nil {
		return nil, err
	}
	return flock.Lock(p.lockPath(int(b[0]) % lockCount))
}

// lockCount is how many lock files the blobs share. They are made once and
// stay: what frees space must not need any.
const lockCount = 64

func (p *place) lockPath(n int) string {
	return filepath.Join(p.opts.Locks, "content", fmt.Sprintf("%02d", n))
}

func (p *place) makeLocks() error {
	if _, err := os.Lstat(p.lockPath(lockCount - 1)); err == nil {
		return nil
	}
	paths := []string{filepath.Join(p.opts.Locks, "gc")}
	for n := range lockCount {
		paths = append(paths, p.lockPath(n))
	}
	for _, path := range paths {
		f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|unix.O_NOFOLLOW, 0o600)
		if err != nil {
			return err
		}
		f.Close()
	}
	return nil
}

func (p *place) bad(err error) {
	if p.opts.Bad != nil {
		p.opts.Bad(err)
	}
}

func (p *place) syncing() bool { return !p.opts.Deferred }

func notFound(d digest.Digest) error {
	return fault.New(fault.NotFound, "content %s: %w", d, errdefs.ErrNotFound)
}

func exists(d digest.Digest) error {
	return fault.New(fault.Exists, "content %s: %w", d, errdefs.ErrAlreadyExists)
}

func sum(algorithm string, h hash.Hash) digest.Digest {
	return digest.Digest(algorithm + ":" + hex.EncodeToString(h.Sum(nil)))
}
