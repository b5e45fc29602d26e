package content

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"berth/base/atomicfile"
	"berth/base/fault"

	"github.com/containerd/containerd/v2/core/content"
	"github.com/opencontainers/go-digest"
)

// Blob is one entry of blobs/ as the collector and checks see it.
type Blob struct {
	content.Info // Digest is empty for a file that is no blob
	Path         string
	// Bad says why it is no blob, or that its labels cannot be read.
	Bad error
}

// Scan lists all that is in blobs/, in no order, without verifying anything.
func (s *Store) Scan(ctx context.Context) ([]Blob, error) {
	var out []Blob
	err := s.scan(ctx, func(b Blob) error { out = append(out, b); return nil })
	return out, err
}

func (s *Store) scan(ctx context.Context, fn func(Blob) error) error {
	for _, algorithm := range []string{"sha256", "sha512"} {
		dir := filepath.Join(s.opts.Dir, "blobs", algorithm)
		entries, err := os.ReadDir(dir)
		if err != nil {
			return fmt.Errorf("list content: %w", err)
		}
		// After the blobs: a commit writes the labels first.
		tagged, err := s.tagged(algorithm)
		if err != nil {
			return err
		}
		for _, e := range entries {
			if err := ctx.Err(); err != nil {
				return err
			}
			b, ok := s.look(algorithm, dir, e, tagged)
			if !ok {
				continue
			}
			if err := fn(b); err != nil {
				return err
			}
		}
	}
	return nil
}

// tagged is the set of files of labels: most blobs have none, and to open one
// in vain for each takes time.
func (t *tags) tagged(algorithm string) (map[string]bool, error) {
	files, err := atomicfile.Names(filepath.Join(t.opts.Dir, "labels", algorithm))
	if err != nil {
		return nil, fmt.Errorf("list labels: %w", err)
	}
	set := make(map[string]bool, len(files))
	for _, f := range files {
		set[f] = true
	}
	return set, nil
}

// look makes a Blob of a folder's entry; ok is false if it went meanwhile.
func (t *tags) look(algorithm, dir string, e os.DirEntry, tagged map[string]bool) (b Blob, ok bool) {
	b.Path = filepath.Join(dir, e.Name())
	d := digest.Digest(algorithm + ":" + e.Name())
	if _, _, err := split(d); err != nil || !e.Type().IsRegular() {
		b.Bad = fault.New(fault.Invalid, "list content: %s is not a blob", b.Path)
		return b, true
	}
	stat, err := e.Info()
	if os.IsNotExist(err) {
		return b, false
	}
	if err != nil {
		b.Bad = fmt.Errorf("list content: %w", err)
		return b, true
	}
	if !tagged[e.Name()+".json"] {
		b.Info = plain(d, stat)
		return b, true
	}
	b.Info, b.Bad = t.join(d, stat)
	return b, true
}

// Relabeled lists the blobs whose labels were written since a moment.
func (t *tags) Relabeled(since time.Time) ([]digest.Digest, error) {
	// The kernel's stamps may be some milliseconds old.
	since = since.Add(-time.Second)
	var out []digest.Digest
	err := t.eachLabels(func(_ string, d digest.Digest, e os.DirEntry) {
		if stat, err := e.Info(); err == nil && d != "" && !stat.ModTime().Before(since) {
			out = append(out, d)
		}
	})
	return out, err
}

// OrphanLabels lists files in labels/ that belong to no blob and are older
// than limit: what a killed commit or removal leaves, or a stranger.
func (t *tags) OrphanLabels(limit time.Time) ([]string, error) {
	blobs := map[string]bool{} // ALGORITHM:HEX, spares two calls for nearly all
	for _, algorithm := range []string{"sha256", "sha512"} {
		files, err := atomicfile.Names(filepath.Join(t.opts.Dir, "blobs", algorithm))
		if err != nil {
			return nil, fmt.Errorf("list content: %w", err)
		}
		for _, f := range files {
			blobs[algorithm+":"+f] = true
		}
	}
	var out []string
	err := t.eachLabels(func(path string, d digest.Digest, e os.DirEntry) {
		if blobs[string(d)] || !t.orphan(d) {
			return
		}
		if stat, err := e.Info(); err == nil && stat.ModTime().Before(limit) {
			out = append(out, path)
		}
	})
	return out, err
}

func (t *tags) orphan(d digest.Digest) bool {
	if d == "" {
		return true
	}
	blob, err := t.blobPath(d)
	if err != nil {
		return true
	}
	_, err = os.Lstat(blob)
	return os.IsNotExist(err)
}

// DropOrphanLabels removes a file that OrphanLabels listed, if it is one
// still. The caller holds LOCKS/gc exclusively, so that no commit is between
// labels and blob.
func (t *tags) DropOrphanLabels(path string) error {
	algorithm := filepath.Base(filepath.Dir(path))
	if hexLen(algorithm) == 0 || filepath.Dir(path) != filepath.Join(t.opts.Dir, "labels", algorithm) {
		return fault.New(fault.Invalid, "remove labels %s: not in this store", path)
	}
	if !t.orphan(labelsOf(algorithm, filepath.Base(path))) {
		return fault.New(fault.Conflict, "remove labels %s: their blob came back", path)
	}
	if err := os.RemoveAll(path); err != nil {
		return fmt.Errorf("remove labels: %w", err)
	}
	return nil
}

// labelsOf is the digest whose labels a file is, by its name; "" for none.
func labelsOf(algorithm, file string) digest.Digest {
	encoded, ok := strings.CutSuffix(file, ".json")
	d := digest.Digest(algorithm + ":" + encoded)
	if _, _, err := split(d); err != nil || !ok {
		return ""
	}
	return d
}

// eachLabels calls fn for each file in labels/; d is empty for a file whose
// name is none of a blob's labels.
func (t *tags) eachLabels(fn func(path string, d digest.Digest, e os.DirEntry)) error {
	for _, algorithm := range []string{"sha256", "sha512"} {
		dir := filepath.Join(t.opts.Dir, "labels", algorithm)
		entries, err := os.ReadDir(dir)
		if err != nil {
			return fmt.Errorf("list labels: %w", err)
		}
		for _, e := range entries {
			fn(filepath.Join(dir, e.Name()), labelsOf(algorithm, e.Name()), e)
		}
	}
	return nil
}

// DropLabels removes the labels of a blob that cannot be read. The blob stays.
func (t *tags) DropLabels(ctx context.Context, d digest.Digest) error {
	lock, err := t.lockBlob(d)
	if err != nil {
		return err
	}
	defer lock.Unlock()
	return t.dropLabels(d)
}

// IngestID is the name of a ref's folder: Ingest.ID.
func IngestID(ref string) string { return refID(ref) }
