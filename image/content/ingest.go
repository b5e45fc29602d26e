package content

import (
	"context"
	"crypto/sha256"
	"encoding"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"hash"
	"os"
	"path/filepath"
	"time"

	"berth/base/atomicfile"
	"berth/base/fault"
	"berth/base/flock"
	"berth/base/undo"

	"github.com/containerd/errdefs"
	"github.com/opencontainers/go-digest"
	"golang.org/x/sys/unix"
)

const (
	maxRef   = 64 << 10
	maxState = 4 << 20
	// checkpoint is how many bytes a writer takes between two notes of its
	// state: what a killed one has to hash again at most.
	checkpoint = 64 << 20
)

// state is what state.json says of a writer under way. The hash in it is of
// the bytes as they came, so it counts only in the boot that wrote it: after a
// power cut the disk may hold others.
type state struct {
	Version  int           `json:"version"`
	Started  time.Time     `json:"started"`
	Updated  time.Time     `json:"updated"`
	Total    int64         `json:"total,omitempty"`
	Expected digest.Digest `json:"expected,omitempty"`
	Boot     string        `json:"boot"`
	// Hash is the marshaled hash of the first Hashed bytes.
	Algorithm string `json:"algorithm"`
	Hashed    int64  `json:"hashed"`
	Hash      []byte `json:"hash,omitempty"`
	// Ranged tells the two writers apart. Without it all bytes of the file
	// are there, with it those of Ranges.
	Ranged bool    `json:"ranged,omitempty"`
	Ranges []Range `json:"ranges,omitempty"`
}

func parseState(b []byte) (state, error) {
	var st state
	if err := decode(b, &st); err != nil {
		return state{}, err
	}
	if st.Version != version {
		return state{}, fault.New(fault.Unsupported, "version %d is not known", st.Version)
	}
	if st.Total < 0 || st.Hashed < 0 || hexLen(st.Algorithm) == 0 {
		return state{}, fault.New(fault.Invalid, "sizes or algorithm make no sense")
	}
	if st.Expected != "" {
		if _, _, err := split(st.Expected); err != nil {
			return state{}, err
		}
	}
	end := int64(-1)
	for _, r := range st.Ranges {
		if r.Start <= end || r.End <= r.Start {
			return state{}, fault.New(fault.Invalid, "ranges make no sense")
		}
		end = r.End
	}
	return st, nil
}

// ingest is the folder of a writer, locked.
type ingest struct {
	store *Store
	ref   string
	dir   string
	lock  *flock.Held
	data  *os.File
	state state
	// resumed says that state was read, not begun.
	resumed bool
}

// refID is the name of a ref's folder and lock.
func refID(ref string) string {
	h := sha256.Sum256([]byte(ref))
	return hex.EncodeToString(h[:])
}

func (p *place) ingestDir(id string) string { return filepath.Join(p.opts.Dir, "ingest", id) }

// lockIngest takes the lock of a ref's folder without waiting:
// errdefs.ErrUnavailable when a writer is open, here or in another process.
func (p *place) lockIngest(id, ref string) (*flock.Held, error) {
	lock, err := flock.TryLock(filepath.Join(p.opts.Locks, "ingest", id))
	if fault.Is(err, fault.Busy) {
		return nil, fault.New(fault.Busy, "ingest %q is being written by another: %w", ref, errdefs.ErrUnavailable)
	}
	return lock, err
}

// openIngest opens or makes the folder of a ref. One whose ref file does not
// hold the ref was cut off while it was made or removed; it begins anew.
func (s *Store) openIngest(ref string) (in *ingest, err error) {
	if ref == "" || len(ref) > maxRef {
		return nil, fault.New(fault.Invalid, "ingest with a ref of %d bytes: %w", len(ref), errdefs.ErrInvalidArgument)
	}
	var u undo.Stack
	defer u.Unwind(&err)
	id := refID(ref)
	lock, err := s.lockIngest(id, ref)
	if err != nil {
		return nil, err
	}
	u.Push("unlock "+id, lock.Unlock)
	in = &ingest{store: s, ref: ref, dir: s.ingestDir(id), lock: lock}
	if err := in.prepare(); err != nil {
		return nil, fmt.Errorf("open ingest %q: %w", ref, err)
	}
	if in.data, err = in.openData(); err != nil {
		return nil, fmt.Errorf("open ingest %q: %w", ref, err)
	}
	u.Push("close data", in.data.Close)
	if err := in.load(); err != nil {
		return nil, fmt.Errorf("open ingest %q: %w", ref, err)
	}
	return in, nil
}

func (in *ingest) openData() (*os.File, error) {
	open := func() (*os.File, error) {
		return os.OpenFile(in.path("data"), os.O_RDWR|os.O_CREATE|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0o600)
	}
	f, err := open()
	if !fault.Is(err, fault.Permission) {
		return f, err
	}
	// killed in a commit, between the mode of a blob and the rename
	if err := os.Chmod(in.path("data"), 0o600); err != nil {
		return nil, err
	}
	return open()
}

// load reads the state. Without one the bytes themselves are the state; with a
// broken one nobody knows which of them were written.
func (in *ingest) load() error {
	b, err := atomicfile.ReadCapped(in.path("state.json"), maxState)
	if err == nil {
		in.state, err = parseState(b)
	}
	in.resumed = err == nil
	if in.resumed {
		return nil
	}
	now := time.Now().UTC()
	in.state = state{Version: version, Started: now, Updated: now, Algorithm: "sha256"}
	if fault.Is(err, fault.NotFound) {
		return nil
	}
	in.store.bad(fmt.Errorf("open ingest %q: state.json: %w", in.ref, err))
	return in.data.Truncate(0)
}

// prepare makes the folder, or empties one that is not this ref's.
func (in *ingest) prepare() error {
	err := os.Mkdir(in.dir, 0o700)
	if err == nil {
		return os.WriteFile(in.path("ref"), []byte(in.ref), 0o600)
	}
	if !os.IsExist(err) {
		return err
	}
	b, err := atomicfile.ReadCapped(in.path("ref"), maxRef)
	if err == nil && string(b) == in.ref {
		return nil
	}
	if err := in.clear(); err != nil {
		return err
	}
	return os.WriteFile(in.path("ref"), []byte(in.ref), 0o600)
}

func (in *ingest) path(name string) string { return filepath.Join(in.dir, name) }

// clear removes what is in the folder. The ref goes first: without it the rest
// counts for nothing.
func (in *ingest) clear() error { return clearDir(in.dir) }

func clearDir(dir string) error {
	if err := os.Remove(filepath.Join(dir, "ref")); err != nil && !os.IsNotExist(err) {
		return err
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if err := os.RemoveAll(filepath.Join(dir, e.Name())); err != nil {
			return err
		}
	}
	return nil
}

// save notes the state with the hash of the first n bytes.
func (in *ingest) save(h hash.Hash, n int64) error {
	boot, err := in.store.boot()
	if err != nil {
		return err
	}
	in.state.Boot, in.state.Hashed, in.state.Hash = boot, 0, nil
	if m, ok := h.(encoding.BinaryMarshaler); ok && n > 0 {
		if b, err := m.MarshalBinary(); err == nil {
			in.state.Hashed, in.state.Hash = n, b
		}
	}
	b, err := json.Marshal(in.state)
	if err != nil {
		return err
	}
	if err := atomicfile.Write(in.path("state.json"), b, 0o600); err != nil {
		return fmt.Errorf("note state of ingest %q: %w", in.ref, err)
	}
	return nil
}

// rehash gives the hash of the first size bytes: from the noted state and what
// came after it, or from all bytes.
func (in *ingest) rehash(ctx context.Context, algorithm string, size int64) (hash.Hash, error) {
	h := newHash(algorithm)
	from := int64(0)
	st := in.state
	boot, err := in.store.boot()
	if err != nil {
		return nil, err
	}
	if st.Boot == boot && st.Algorithm == algorithm && st.Hashed <= size && len(st.Hash) > 0 {
		if u, ok := h.(encoding.BinaryUnmarshaler); ok && u.UnmarshalBinary(st.Hash) == nil {
			from = st.Hashed
		} else {
			h = newHash(algorithm)
		}
	}
	if err := hashRange(ctx, h, in.data, from, size); err != nil {
		return nil, fmt.Errorf("hash ingest %q again: %w", in.ref, err)
	}
	in.state.Algorithm = algorithm
	return h, nil
}

// size is how many bytes the data file holds.
func (in *ingest) size() (int64, error) {
	stat, err := in.data.Stat()
	if err != nil {
		return 0, fmt.Errorf("look at ingest %q: %w", in.ref, err)
	}
	return stat.Size(), nil
}

// close gives back the lock and leaves the folder. A second call does nothing.
func (in *ingest) close() error {
	if in.lock == nil {
		return nil
	}
	err := in.data.Close()
	if unlock := in.lock.Unlock(); err == nil {
		err = unlock
	}
	in.lock = nil
	return err
}

// drop removes the folder and its lock.
func (in *ingest) drop() error {
	if in.lock == nil {
		return nil
	}
	_ = in.data.Close()
	err := removeDir(in.dir)
	if unlock := in.lock.Remove(); err == nil {
		err = unlock
	}
	in.lock = nil
	if err != nil {
		return fmt.Errorf("remove ingest %q: %w", in.ref, err)
	}
	return nil
}

func removeDir(dir string) error {
	for _, name := range []string{"ref", "data", "state.json"} {
		_ = unix.Unlink(filepath.Join(dir, name))
	}
	if err := unix.Rmdir(dir); err == nil {
		return nil
	}
	// a staged state that a killed writer left, or something strange
	if err := clearDir(dir); err != nil {
		return err
	}
	return os.Remove(dir)
}
