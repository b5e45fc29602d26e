package content

import (
	"context"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"berth/base/fault"

	"github.com/containerd/containerd/v2/core/content"
	"github.com/containerd/containerd/v2/pkg/filters"
	"github.com/containerd/errdefs"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sys/unix"
)

// The modes of a blob: see the package comment.
const (
	synced   fs.FileMode = 0o444
	unsynced fs.FileMode = 0o440
)

// blob is an open blob as a content.ReaderAt.
type blob struct {
	*os.File
	size int64
}

func (b blob) Size() int64 { return b.size }

// File is the blob's descriptor, for callers that hand it to another process.
// It is closed with the reader.
func File(r content.ReaderAt) (*os.File, bool) {
	b, ok := r.(blob)
	return b.File, ok
}

// ReaderAt opens the blob desc.Digest. errdefs.ErrNotFound if it is not there.
func (s *Store) ReaderAt(ctx context.Context, desc ocispec.Descriptor) (content.ReaderAt, error) {
	path, err := s.blobPath(desc.Digest)
	if err != nil {
		return nil, err
	}
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NOFOLLOW|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if os.IsNotExist(err) {
		return nil, notFound(desc.Digest)
	}
	if err != nil {
		return nil, fmt.Errorf("read content %s: %w", desc.Digest, err)
	}
	info, err := f.Stat()
	if err == nil {
		err = s.trust(ctx, desc.Digest, path, info)
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return blob{f, info.Size()}, nil
}

// Info says what is known of a blob. Labels that cannot be read count as none
// and are told to Options.Bad.
func (s *Store) Info(ctx context.Context, d digest.Digest) (content.Info, error) {
	path, err := s.blobPath(d)
	if err != nil {
		return content.Info{}, err
	}
	stat, err := os.Lstat(path)
	if os.IsNotExist(err) {
		return content.Info{}, notFound(d)
	}
	if err != nil {
		return content.Info{}, fmt.Errorf("look at content %s: %w", d, err)
	}
	if err := s.trust(ctx, d, path, stat); err != nil {
		return content.Info{}, err
	}
	return s.info(d, stat), nil
}

// info joins what the file says with its labels, and tells of bad ones.
func (t *tags) info(d digest.Digest, stat fs.FileInfo) content.Info {
	i, err := t.join(d, stat)
	if err != nil {
		t.bad(err)
	}
	return i
}

// plain is what the file alone says.
func plain(d digest.Digest, stat fs.FileInfo) content.Info {
	return content.Info{Digest: d, Size: stat.Size(), CreatedAt: stat.ModTime(), UpdatedAt: stat.ModTime()}
}

// join joins what the file says with its labels; an error is of the labels.
func (t *tags) join(d digest.Digest, stat fs.FileInfo) (content.Info, error) {
	i := plain(d, stat)
	l, err := t.readLabels(d)
	i.Labels = l.Labels
	if l.Updated.After(i.UpdatedAt) {
		i.UpdatedAt = l.Updated
	}
	return i, err
}

// Walk calls fn for every blob that a filter matches (all of them without a
// filter). It does not verify blobs that are not synced. Files that are no
// blobs, and labels that cannot be read, are told to Options.Bad.
func (s *Store) Walk(ctx context.Context, fn content.WalkFunc, fs ...string) error {
	filter, err := filters.ParseAll(fs...)
	if err != nil {
		return fault.New(fault.Invalid, "list content: %w: %w", err, errdefs.ErrInvalidArgument)
	}
	return s.scan(ctx, func(b Blob) error {
		if b.Bad != nil {
			s.bad(b.Bad)
		}
		if b.Digest == "" || !filter.Match(content.AdaptInfo(b.Info)) {
			return nil
		}
		return fn(b.Info)
	})
}

// Delete removes a blob and its labels.
func (s *Store) Delete(ctx context.Context, d digest.Digest) error {
	_, err := s.remove(d, func(fs.FileInfo) bool { return true }, os.Remove)
	return err
}

// DeleteOlder is Delete for a blob that was committed before limit; it reports
// how many bytes that freed. A younger one stays and gives kind Conflict. A
// time an hour and more after limit is a clock's that was wrong, not youth.
func (s *Store) DeleteOlder(ctx context.Context, d digest.Digest, limit time.Time) (int64, error) {
	return s.remove(d, func(i fs.FileInfo) bool {
		return i.ModTime().Before(limit) || i.ModTime().After(limit.Add(time.Hour))
	}, os.Remove)
}

// Evict moves a blob out of the store into a folder of the same file system
// and removes its labels: for one that is not what its name says.
func (s *Store) Evict(ctx context.Context, d digest.Digest, into string) error {
	_, err := s.remove(d, func(fs.FileInfo) bool { return true }, func(path string) error {
		return os.Rename(path, filepath.Join(into, filepath.Base(path)))
	})
	return err
}

// remove takes a blob away under its lock if may says so. The blob goes first:
// labels without a blob mean nothing and are replaced by the next commit.
func (s *Store) remove(d digest.Digest, may func(fs.FileInfo) bool, how func(string) error) (int64, error) {
	path, err := s.blobPath(d)
	if err != nil {
		return 0, err
	}
	lock, err := s.lockBlob(d)
	if err != nil {
		return 0, err
	}
	defer lock.Unlock()
	stat, err := os.Lstat(path)
	if os.IsNotExist(err) {
		return 0, notFound(d)
	}
	if err != nil {
		return 0, fmt.Errorf("remove content %s: %w", d, err)
	}
	if !may(stat) {
		return 0, fault.New(fault.Conflict, "remove content %s: it was made meanwhile", d)
	}
	if err := how(path); err != nil {
		return 0, fmt.Errorf("remove content %s: %w", d, err)
	}
	return onDisk(stat), s.dropLabels(d)
}

// onDisk is the space in bytes that a file takes (stat(2), st_blocks).
func onDisk(stat fs.FileInfo) int64 {
	if st, ok := stat.Sys().(*syscall.Stat_t); ok {
		return st.Blocks * 512
	}
	return stat.Size()
}

// trust decides whether the content of a blob may be used: it was synced, or
// it was written since this boot, or its bytes have its digest now. What fails
// that is removed and counts as not found.
func (s *Store) trust(ctx context.Context, d digest.Digest, path string, stat fs.FileInfo) error {
	if !stat.Mode().IsRegular() {
		return fault.New(fault.Invalid, "content %s: %s is not a regular file", d, path)
	}
	if stat.Mode().Perm() == synced || sinceBoot(stat) {
		return nil
	}
	if _, err := s.readLabels(d); fault.Is(err, fault.Invalid) {
		if err := s.DropLabels(ctx, d); err != nil { // not synced either
			return err
		}
	}
	err := s.Verify(ctx, d)
	if fault.Is(err, fault.Invalid) {
		if _, err := s.remove(d, func(now fs.FileInfo) bool { return os.SameFile(now, stat) }, os.Remove); err != nil && !fault.Is(err, fault.Conflict) {
			return err
		}
		return notFound(d)
	}
	return err
}

// sinceBoot reports whether the file's inode was changed since this boot
// began, with two seconds for the granularity of both clocks. A clock that was
// set meanwhile makes us verify too much; only one that ran ahead before the
// boot makes us verify too little.
func sinceBoot(stat fs.FileInfo) bool {
	var up unix.Timespec
	st, ok := stat.Sys().(*syscall.Stat_t)
	if !ok || unix.ClockGettime(unix.CLOCK_BOOTTIME, &up) != nil {
		return false
	}
	begin := time.Now().Add(-time.Duration(up.Nano())).Add(2 * time.Second)
	changed := time.Unix(st.Ctim.Unix())
	return changed.After(begin) && !changed.After(time.Now().Add(2*time.Second))
}

// Verify reads a whole blob and compares it with its digest: kind Invalid if
// they differ. A blob that was not synced and is right is synced.
func (s *Store) Verify(ctx context.Context, d digest.Digest) error {
	path, err := s.blobPath(d)
	if err != nil {
		return err
	}
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NOFOLLOW|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if os.IsNotExist(err) {
		return notFound(d)
	}
	if err != nil {
		return fmt.Errorf("verify content %s: %w", d, err)
	}
	defer f.Close()
	stat, err := f.Stat()
	if err != nil {
		return fmt.Errorf("verify content %s: %w", d, err)
	}
	if !stat.Mode().IsRegular() {
		return fault.New(fault.Invalid, "verify content %s: not a regular file", d)
	}
	algorithm, _, _ := split(d)
	h := newHash(algorithm)
	if err := hashRange(ctx, h, f, 0, stat.Size()); err != nil {
		return fmt.Errorf("verify content %s: %w", d, err)
	}
	if got := sum(algorithm, h); got != d {
		return fault.New(fault.Invalid, "verify content %s: its bytes have digest %s", d, got)
	}
	if stat.Mode().Perm() == synced {
		return nil
	}
	if err := f.Sync(); err != nil {
		return fmt.Errorf("verify content %s: %w", d, err)
	}
	if err := f.Chmod(synced); err != nil && !fault.Is(err, fault.Permission) {
		return fmt.Errorf("verify content %s: %w", d, err)
	}
	return nil
}

// hashRange feeds the bytes from begin to end of r into h.
func hashRange(ctx context.Context, h io.Writer, r io.ReaderAt, begin, end int64) error {
	if begin >= end {
		return nil
	}
	buf := make([]byte, min(end-begin, 1<<20))
	for begin < end {
		if err := ctx.Err(); err != nil {
			return err
		}
		n, err := r.ReadAt(buf[:min(int64(len(buf)), end-begin)], begin)
		h.Write(buf[:n]) // a hash never fails
		begin += int64(n)
		if err == io.EOF && begin < end {
			return io.ErrUnexpectedEOF
		}
		if err != nil && err != io.EOF {
			return err
		}
	}
	return nil
}
