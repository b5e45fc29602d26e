package library

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/containerd/containerd/v2/core/content"
	"github.com/containerd/errdefs"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sys/unix"

	"berth/image/manifest"
)

// Put keeps a small blob, and adds the labels if it is there already.
func (l *Library) Put(ctx context.Context, desc ocispec.Descriptor, raw []byte, labels map[string]string) error {
	if info, err := l.Content.Info(ctx, desc.Digest); err == nil {
		return l.Label(ctx, info, labels)
	}
	err := l.Content.Put(ctx, desc.Digest, raw, labels)
	if errdefs.IsAlreadyExists(err) { // another process was faster
		info, err := l.Content.Info(ctx, desc.Digest)
		if err != nil {
			return fmt.Errorf("keep %s: %w", desc.Digest, err)
		}
		return l.Label(ctx, info, labels)
	}
	if err != nil {
		return fmt.Errorf("keep %s: %w", desc.Digest, err)
	}
	return nil
}

// Label adds labels to a blob.
func (l *Library) Label(ctx context.Context, info content.Info, labels map[string]string) error {
	var paths []string
	for k, v := range labels {
		if info.Labels[k] != v {
			paths = append(paths, "labels."+k)
		}
	}
	if len(paths) == 0 {
		return nil
	}
	_, err := l.Content.Update(ctx, content.Info{Digest: info.Digest, Labels: labels}, paths...)
	return err
}

// Kept reads a layer that the store has.
func (l *Library) Kept(ctx context.Context, info content.Info, desc ocispec.Descriptor, labels map[string]string) (*Stream, error) {
	r, err := l.Content.ReaderAt(ctx, desc)
	if err != nil {
		return nil, err
	}
	return &Stream{
		Reader: io.NewSectionReader(r, 0, r.Size()),
		Commit: func(ctx context.Context) error { return l.Label(ctx, info, labels) },
		Close:  func() { r.Close() },
	}, nil
}

// Stored opens a layer whose blob is here.
func (l *Library) Stored(ctx context.Context, desc ocispec.Descriptor, diff digest.Digest) (*Stream, error) {
	info, err := l.Content.Info(ctx, desc.Digest)
	if err != nil {
		return nil, err
	}
	return l.Kept(ctx, info, desc, map[string]string{manifest.UncompressedLabel: string(diff)})
}

// Sync makes durable what a verb has brought or relies on, before it is named:
// also layers that were there already, for whoever made them may have been
// killed before its own Sync.
func (l *Library) Sync(ctx context.Context, h *Held) error {
	if len(h.tops) == 0 {
		return l.Content.Sync(ctx)
	}
	flushed := false
	flush := func() error {
		flushed = true
		return l.Content.Sync(ctx)
	}
	if !l.oneDisk() {
		return errors.Join(l.Content.Sync(ctx), l.Layers.Sync(ctx, h.tops...))
	}
	if err := l.Layers.SyncBy(ctx, flush, h.tops...); err != nil || flushed {
		return err
	}
	return l.Content.Sync(ctx)
}

// oneDisk reports whether blobs and layers are on one file system, so that one
// syncfs is enough for both.
func (l *Library) oneDisk() bool {
	var blobs, layers unix.Stat_t
	return unix.Stat(l.Path("content"), &blobs) == nil && unix.Stat(l.Path("snapshots"), &layers) == nil && blobs.Dev == layers.Dev
}
