package image

import (
	"context"
	"errors"
	"io"
	"sync"
	"time"

	"github.com/containerd/containerd/v2/core/content"
	"github.com/containerd/errdefs"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"berth/base/fault"
	imagecontent "berth/image/content"
	"berth/image/lease"
	"berth/image/library"
	"berth/image/manifest"
	"berth/image/ref"
	"berth/image/registry"
)

// fetcher brings the parts of one image from its registry.
type fetcher struct {
	s      *Store
	client *registry.Client
	ref    ref.Ref
	target digest.Digest      // what the name led to
	image  digest.Digest      // the configuration of the last image that was fetched
	one    ocispec.Descriptor // and its manifest
	lease  *library.Held
	tell   func(Progress)
}

// rangedFrom is the size from which a blob is fetched by several connections.
const (
	rangedFrom = 64 << 20
	pieceSize  = 16 << 20
	pieces     = 3
)

// busyPause is how long a verb waits before it looks again whether another
// process has finished the same blob.
const busyPause = 50 * time.Millisecond

// document fetches a manifest or an index and keeps it with labels that hold
// its children.
func (f *fetcher) document(ctx context.Context, desc ocispec.Descriptor, keep func(*manifest.Document) func(int) bool) (*manifest.Document, error) {
	if err := f.lease.Keep(ctx, lease.ContentType, string(desc.Digest)); err != nil {
		return nil, err
	}
	raw, err := content.ReadBlob(ctx, f.s.lib.Content, desc)
	if err != nil {
		if raw, err = f.client.Manifest(ctx, f.ref, desc); err != nil {
			return nil, err
		}
	}
	doc, err := manifest.DecodeBlob(desc, raw)
	if err != nil {
		return nil, err
	}
	var only func(int) bool
	if keep != nil {
		only = keep(doc)
	}
	return doc, f.s.lib.Put(ctx, desc, raw, doc.GCLabels(only))
}

// config fetches an image's configuration.
func (f *fetcher) config(ctx context.Context, doc *manifest.Document) (*manifest.Config, error) {
	desc := doc.Manifest.Config
	if !manifest.IsConfig(desc.MediaType) {
		return nil, fault.New(fault.Unsupported, "%s is no image but an artifact of type %.100q", f.ref.Familiar(), desc.MediaType)
	}
	if desc.Size > library.MaxDocument {
		return nil, fault.New(fault.Invalid, "configuration %s has %d bytes, more than %d", desc.Digest, desc.Size, library.MaxDocument)
	}
	if err := f.lease.Keep(ctx, lease.ContentType, string(desc.Digest)); err != nil {
		return nil, err
	}
	raw, err := content.ReadBlob(ctx, f.s.lib.Content, desc)
	if err != nil {
		body, err := f.client.Blob(ctx, f.ref, desc, 0)
		if err != nil {
			return nil, err
		}
		raw, err = io.ReadAll(io.LimitReader(body, library.MaxDocument+1))
		body.Close()
		if err != nil {
			return nil, err
		}
		if !manifest.Verify(desc.Digest, raw) {
			return nil, fault.New(fault.Invalid, "configuration %s: the registry sent other bytes", desc.Digest)
		}
	}
	c, err := manifest.DecodeConfig(raw)
	if err != nil {
		return nil, err
	}
	return c, f.s.lib.Put(ctx, desc, raw, nil)
}

// layer opens a layer's compressed bytes: from the store, or as they come.
func (f *fetcher) layer(ctx context.Context, desc ocispec.Descriptor, diff digest.Digest) (*library.Stream, error) {
	labels := map[string]string{manifest.UncompressedLabel: string(diff), manifest.SourceLabel + f.ref.Domain: f.ref.Path}
	for {
		if info, err := f.s.lib.Content.Info(ctx, desc.Digest); err == nil {
			return f.s.lib.Kept(ctx, info, desc, labels)
		}
		name := ingestOf(desc)
		if err := f.lease.Keep(ctx, lease.IngestType, name); err != nil {
			return nil, err
		}
		w, err := f.s.lib.Content.OpenRanged(ctx, name, desc.Size, desc.Digest)
		switch {
		case err == nil:
			return f.download(ctx, w, desc, labels), nil
		case !errdefs.IsUnavailable(err) && !errdefs.IsAlreadyExists(err):
			return nil, err
		}
		// Another process has it in work: its bytes will be ours.
		select {
		case <-time.After(busyPause):
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// ingestOf names the half-written blob of a layer.
func ingestOf(desc ocispec.Descriptor) string { return "layer-" + string(desc.Digest) }

// download fills w by one or more connections; the stream follows the bytes
// that are there without a hole.
func (f *fetcher) download(ctx context.Context, w *imagecontent.Ranged, desc ocispec.Descriptor, labels map[string]string) *library.Stream {
	ctx, cancel := context.WithCancel(ctx)
	d := &download{f: f, w: w, desc: desc}
	d.more.L = &d.mu
	done := make(chan struct{})
	go func() {
		defer close(done)
		d.end(d.run(ctx))
	}()
	return &library.Stream{
		Reader: d,
		Commit: func(ctx context.Context) error {
			<-done
			if d.err != nil {
				return d.err
			}
			f.tell(Progress{Digest: desc.Digest, Step: StepDownloaded, Current: desc.Size, Total: desc.Size})
			err := w.Commit(ctx, content.WithLabels(labels))
			if errdefs.IsAlreadyExists(err) {
				err = nil
			}
			return err
		},
		Spoiled: func(ctx context.Context) {
			cancel()
			<-done
			// Whole: then the digest decides whether it is kept.
			if len(w.Missing()) == 0 {
				if err := w.Commit(ctx, content.WithLabels(labels)); err == nil || errdefs.IsAlreadyExists(err) {
					return
				}
			}
			err := w.Close()
			if err == nil {
				err = f.s.lib.Content.Abort(context.WithoutCancel(ctx), ingestOf(desc))
			}
			if err != nil && !errdefs.IsNotFound(err) {
				f.s.opts.Warn(err)
			}
		},
		Close: func() {
			cancel()
			<-done
			if err := w.Close(); err != nil {
				f.s.opts.Warn(err)
			}
		},
	}
}

// download is one blob on its way. Its reader waits for the writers.
type download struct {
	f    *fetcher
	w    *imagecontent.Ranged
	desc ocispec.Descriptor
	off  int64 // the reader's

	mu    sync.Mutex
	more  sync.Cond
	got   int64 // bytes written in this run, and before
	ended bool
	err   error
}

func (d *download) end(err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.ended, d.err = true, err
	d.more.Broadcast()
}

// Read gives the next bytes when they are there.
func (d *download) Read(p []byte) (int, error) {
	d.mu.Lock()
	for {
		if have := d.w.Prefix(); have > d.off {
			d.mu.Unlock()
			n, err := d.w.ReadAt(p[:min(int64(len(p)), have-d.off)], d.off)
			d.off += int64(n)
			if errors.Is(err, io.EOF) {
				err = nil
			}
			return n, err
		}
		if d.ended {
			err := d.err
			d.mu.Unlock()
			if err == nil {
				err = io.EOF
			}
			return 0, err
		}
		d.more.Wait()
	}
}

// run fetches what is missing, in order; a large blob in pieces, by several
// connections, if the registry serves ranges.
func (d *download) run(ctx context.Context) error {
	missing := d.w.Missing()
	d.got = d.desc.Size
	for _, m := range missing {
		d.got -= m.End - m.Start
	}
	if d.desc.Size >= rangedFrom {
		err := d.inPieces(ctx, missing)
		if !fault.Is(err, fault.Unsupported) {
			return err
		}
		missing = d.w.Missing()
	}
	for _, m := range missing {
		if err := d.piece(ctx, m.Start, m.End, m.End < d.desc.Size); err != nil {
			return err
		}
	}
	return nil
}

func (d *download) inPieces(ctx context.Context, missing []imagecontent.Range) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	work := make(chan imagecontent.Range)
	var workers sync.WaitGroup
	for range pieces {
		workers.Go(func() {
			for m := range work {
				if err := d.piece(ctx, m.Start, m.End, true); err != nil {
					cancel(err)
				}
			}
		})
	}
	for _, m := range missing {
		for at := m.Start; at < m.End; at += pieceSize {
			select {
			case work <- imagecontent.Range{Start: at, End: min(at+pieceSize, m.End)}:
			case <-ctx.Done():
			}
		}
	}
	close(work)
	workers.Wait()
	return context.Cause(ctx)
}

// piece fetches the bytes from start to end.
func (d *download) piece(ctx context.Context, start, end int64, ranged bool) error {
	if err := context.Cause(ctx); err != nil {
		return err
	}
	open := func() (*registry.BlobReader, error) { return d.f.client.Blob(ctx, d.f.ref, d.desc, start) }
	if ranged {
		open = func() (*registry.BlobReader, error) {
			return d.f.client.BlobRange(ctx, d.f.ref, d.desc, start, end)
		}
	}
	body, err := open()
	if err != nil {
		return err
	}
	defer body.Close()
	buf := make([]byte, 256<<10)
	for start < end {
		n, err := body.Read(buf[:min(int64(len(buf)), end-start)])
		if n > 0 {
			if _, werr := d.w.WriteAt(buf[:n], start); werr != nil {
				return werr
			}
			start += int64(n)
			d.mu.Lock()
			d.got += int64(n)
			got := d.got
			d.more.Broadcast()
			d.mu.Unlock()
			d.f.tell(Progress{Digest: d.desc.Digest, Step: StepDownloading, Current: got, Total: d.desc.Size})
		}
		if errors.Is(err, io.EOF) && start == end {
			return nil
		}
		if err != nil {
			return err
		}
	}
	return nil
}
