package content

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"berth/base/atomicfile"
	"berth/base/fault"
	"berth/base/flock"

	"github.com/containerd/containerd/v2/core/content"
	"github.com/containerd/errdefs"
	"github.com/opencontainers/go-digest"
	"golang.org/x/sys/unix"
)

// guard holds the collector's lock shared: see gc.
func (p *place) guard() (*flock.Held, error) {
	return flock.Shared(filepath.Join(p.opts.Locks, "gc"))
}

// mismatch is the error for bytes of another digest.
func (in *ingest) mismatch(actual, expected digest.Digest) error {
	return fault.New(fault.Invalid, "commit ingest %q: digest is %s, not %s: %w", in.ref, actual, expected, errdefs.ErrFailedPrecondition)
}

// reject throws away what is whole and wrong: nobody could go on with it.
func (in *ingest) reject(actual, expected digest.Digest) error {
	if err := in.drop(); err != nil {
		return err
	}
	return in.mismatch(actual, expected)
}

// commit makes what an ingest holds, whose digest is actual, a blob. The
// ingest is closed in every case, and removed when it became a blob or the
// blob was there already.
func (in *ingest) commit(ctx context.Context, actual digest.Digest, opts []content.Opt) error {
	defer in.close()
	var info content.Info
	for _, o := range opts {
		if err := o(&info); err != nil {
			return err
		}
	}
	labels, err := cleaned(info.Labels)
	if err != nil {
		return fmt.Errorf("commit ingest %q: %w", in.ref, err)
	}
	if in.store.syncing() {
		if err := in.data.Sync(); err != nil {
			return fmt.Errorf("commit ingest %q: %w", in.ref, err)
		}
	}
	if err := (staged{in.store, in.data, in.path("data")}).publish(ctx, actual, labels); err != nil {
		if fault.Is(err, fault.Exists) {
			if err := in.drop(); err != nil {
				return err
			}
		}
		return err
	}
	return in.drop()
}

// staged is a whole blob's open file, still below ingest/.
type staged struct {
	store *Store
	data  *os.File
	path  string
}

// publish renames the file into blobs/. Stale labels of a blob that was there
// once do not come back with it.
func (st staged) publish(ctx context.Context, d digest.Digest, labels map[string]string) error {
	s := st.store
	path, err := s.blobPath(d)
	if err != nil {
		return err
	}
	if err := s.absent(ctx, d); err != nil {
		return err
	}
	gc, err := s.guard()
	if err != nil {
		return err
	}
	defer gc.Unlock()
	lock, err := s.lockBlob(d)
	if err != nil {
		return err
	}
	defer lock.Unlock()
	if _, err := os.Lstat(path); !os.IsNotExist(err) {
		if err == nil {
			return exists(d)
		}
		return fmt.Errorf("commit content %s: %w", d, err)
	}
	if err := st.rename(d, path, labels); err != nil {
		return fmt.Errorf("commit content %s: %w", d, err)
	}
	return nil
}

// rename is the last part of publish, under the blob's lock.
func (st staged) rename(d digest.Digest, path string, labels map[string]string) error {
	s := st.store
	now := time.Now()
	if err := s.replaceLabels(d, labels, now); err != nil {
		return err
	}
	mode := unsynced
	if s.syncing() {
		mode = synced
	}
	if err := st.data.Chmod(mode); err != nil {
		return err
	}
	// The kernel's own stamp may be some milliseconds old, and the collector
	// compares it with the time at which it began.
	stamp := unix.NsecToTimespec(now.UnixNano())
	if err := unix.UtimesNanoAt(unix.AT_FDCWD, st.path, []unix.Timespec{stamp, stamp}, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return err
	}
	if err := os.Rename(st.path, path); err != nil {
		return err
	}
	if s.syncing() {
		return atomicfile.SyncDir(filepath.Dir(path))
	}
	s.mu.Lock()
	s.unsynced = append(s.unsynced, d)
	s.mu.Unlock()
	return nil
}

func (t *tags) replaceLabels(d digest.Digest, labels map[string]string, now time.Time) error {
	if len(labels) == 0 {
		return t.dropLabels(d)
	}
	return t.writeLabels(d, labels, now.UTC())
}
