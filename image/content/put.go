package content

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"berth/base/fault"
	"berth/base/ids"

	"github.com/containerd/errdefs"
	"github.com/opencontainers/go-digest"
	"golang.org/x/sys/unix"
)

// stagePrefix is what base/atomicfile.IsStaged knows, too.
const stagePrefix = ".stage-"

// Put makes bytes that are all at hand a blob with labels, as a Writer and its
// Commit would, without a ref to resume: for small ones, of which many come.
// errdefs.ErrAlreadyExists if the blob is there, its labels stay as they are;
// kind Invalid if the bytes have another digest.
func (s *Store) Put(ctx context.Context, d digest.Digest, raw []byte, labels map[string]string) (err error) {
	algorithm, _, err := split(d)
	if err != nil {
		return err
	}
	h := newHash(algorithm)
	h.Write(raw) // a hash never fails
	if got := sum(algorithm, h); guardDigest && got != d {
		return fault.New(fault.Invalid, "store content %s: its bytes have digest %s: %w", d, got, errdefs.ErrFailedPrecondition)
	}
	if labels, err = cleaned(labels); err != nil {
		return fmt.Errorf("store content %s: %w", d, err)
	}
	if err := s.absent(ctx, d); err != nil {
		return err
	}
	st := staged{store: s, path: filepath.Join(s.opts.Dir, "ingest", stagePrefix+ids.Hex(8))}
	st.data, err = os.OpenFile(st.path, os.O_WRONLY|os.O_CREATE|os.O_EXCL|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return fmt.Errorf("store content %s: %w", d, err)
	}
	defer func() {
		st.data.Close()
		if err != nil {
			_ = os.Remove(st.path)
		}
	}()
	if _, err := st.data.Write(raw); err != nil {
		return fmt.Errorf("store content %s: %w", d, err)
	}
	if s.syncing() {
		if err := st.data.Sync(); err != nil {
			return fmt.Errorf("store content %s: %w", d, err)
		}
	}
	return st.publish(ctx, d, labels)
}
