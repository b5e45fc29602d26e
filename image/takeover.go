package image

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"

	"github.com/containerd/containerd/v2/core/content"
	"github.com/containerd/errdefs"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"berth/base/fault"
	"berth/image/archive"
	"berth/image/lease"
	"berth/image/library"
	"berth/image/manifest"
	"berth/image/takeover"
)

// TakeOver asks for the images of another engine on this machine.
type TakeOver struct {
	Engine string // "docker" or "podman"
	// Root is its data-root or graph root; "" is where it keeps them if nobody
	// told it otherwise.
	Root     string
	Progress func(Progress) // may be nil
}

// TakeFrom brings the images of another engine into this store, with their
// names. That engine need not run, and nothing of it is changed. Images that
// cannot be taken are told to Options.Warn one by one; the others are taken, and
// the error says how many were not.
func (s *Store) TakeFrom(ctx context.Context, o TakeOver) (out []Loaded, err error) {
	if o.Root == "" {
		o.Root = takeover.DefaultRoot(o.Engine, s.opts.UID, os.Getenv)
	}
	other, err := takeover.Open(o.Engine, o.Root)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, other.Close()) }()
	h, err := s.lib.Hold(ctx, "import-from")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, h.Release(ctx)) }()
	t := &taking{s: s, h: h, tell: o.Progress, buf: make([]byte, 1<<20)}
	for img, err := range other.Images(ctx) {
		if err == nil {
			err = t.take(ctx, img)
		}
		if err := t.failed(ctx, err); err != nil {
			return nil, err
		}
	}
	if out, err = t.adopt(ctx); err != nil {
		return out, err
	}
	if t.bad > 0 {
		return out, fault.New(fault.Invalid, "take over from %s: %d of %d images could not be taken", o.Engine, t.bad, t.bad+len(t.images))
	}
	return out, nil
}

// taking is one take-over under way.
type taking struct {
	s      *Store
	h      *library.Held
	tell   func(Progress)
	buf    []byte
	n      int // ingests so far
	images []archive.Image
	bad    int
}

// failed notes the trouble of one image. It is the whole verb's only if there is
// no use in going on.
func (t *taking) failed(ctx context.Context, err error) error {
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return ctx.Err()
	case fault.Is(err, fault.NoSpace):
		return err
	}
	t.s.opts.Warn(err)
	t.bad++
	return nil
}

// adopt unpacks and names what was taken, all at once; if that fails, one image
// after the other.
func (t *taking) adopt(ctx context.Context) ([]Loaded, error) {
	if len(t.images) == 0 {
		return nil, nil
	}
	out, err := adopt(ctx, t.s, t.h, t.images, LoadOptions{})
	if err == nil || ctx.Err() != nil || fault.Is(err, fault.NoSpace) || len(t.images) == 1 {
		return out, err
	}
	out = nil
	all := t.images
	t.images = nil
	for _, img := range all {
		one, err := adopt(ctx, t.s, t.h, []archive.Image{img}, LoadOptions{})
		if err == nil {
			out = append(out, one...)
			t.images = append(t.images, img)
		} else if err := t.failed(ctx, err); err != nil {
			return out, err
		}
	}
	return out, nil
}

// take brings one image's blobs: the other engine has no manifest that fits to
// layers without compression, so that one is made, as for docker's archives.
func (t *taking) take(ctx context.Context, img takeover.Image) error {
	m := ocispec.Manifest{MediaType: manifest.DockerManifest,
		Config: ocispec.Descriptor{MediaType: manifest.DockerConfig, Digest: img.ID, Size: int64(len(img.Config))}}
	name := string(img.ID)
	if len(img.Names) > 0 {
		name = img.Names[0].Familiar()
	}
	for _, l := range img.Layers {
		desc, err := t.layer(ctx, name, l)
		if err != nil {
			return fmt.Errorf("take over %s: %w", name, err)
		}
		m.Layers = append(m.Layers, desc)
	}
	doc, err := manifest.NewManifest(m)
	if err != nil {
		return err
	}
	if err := t.put(ctx, m.Config, img.Config, nil); err != nil {
		return err
	}
	if err := t.put(ctx, doc.Descriptor(), doc.Raw(), doc.GCLabels(nil)); err != nil {
		return err
	}
	t.images = append(t.images, archive.Image{Target: doc.Descriptor(), Kind: doc.Kind(), Names: img.Names})
	return nil
}

func (t *taking) put(ctx context.Context, desc ocispec.Descriptor, raw []byte, labels map[string]string) error {
	if err := t.h.Keep(ctx, lease.ContentType, string(desc.Digest)); err != nil {
		return err
	}
	return t.s.lib.Put(ctx, desc, raw, labels)
}

// layer brings one layer's tar, unless it is here.
func (t *taking) layer(ctx context.Context, name string, l takeover.Layer) (desc ocispec.Descriptor, err error) {
	desc = ocispec.Descriptor{MediaType: manifest.DockerLayer, Digest: l.DiffID}
	if err := t.h.Keep(ctx, lease.ContentType, string(l.DiffID)); err != nil {
		return desc, err
	}
	labels := map[string]string{manifest.UncompressedLabel: string(l.DiffID)}
	if info, err := t.s.lib.Content.Info(ctx, l.DiffID); err == nil {
		desc.Size = info.Size
		return desc, t.s.lib.Label(ctx, info, labels)
	}
	r, err := l.Open(ctx)
	if err != nil {
		return desc, err
	}
	defer func() { err = errors.Join(err, r.Close()) }()
	t.n++
	key := "takeover-" + t.h.ID() + "-" + strconv.Itoa(t.n)
	w, err := content.OpenWriter(ctx, t.s.lib.Content, content.WithRef(key), content.WithDescriptor(ocispec.Descriptor{Digest: l.DiffID}))
	if errdefs.IsAlreadyExists(err) { // another process was faster
		info, err := t.s.lib.Content.Info(ctx, l.DiffID)
		desc.Size = info.Size
		return desc, err
	}
	if err != nil {
		return desc, err
	}
	defer func() {
		err = errors.Join(err, w.Close())
		if err != nil {
			_ = t.s.lib.Content.Abort(context.WithoutCancel(ctx), key) // it may be gone already
		}
	}()
	desc.Size, err = io.CopyBuffer(onlyWriter{w}, io.TeeReader(r, t.progress(name, l)), t.buf)
	if err != nil {
		return desc, err
	}
	err = w.Commit(ctx, desc.Size, l.DiffID, content.WithLabels(labels))
	if errdefs.IsAlreadyExists(err) {
		err = nil
	}
	return desc, err
}

// onlyWriter hides ReadFrom, so that the copy goes through our buffer.
type onlyWriter struct{ io.Writer }

// progress is told of the bytes as they come.
func (t *taking) progress(name string, l takeover.Layer) io.Writer {
	if t.tell == nil {
		return io.Discard
	}
	return &counter{tell: t.tell, at: Progress{Detail: name, Digest: l.DiffID, Step: StepDownloading, Total: max(l.Size, 0)}}
}

type counter struct {
	tell func(Progress)
	at   Progress
}

// Write counts.
func (c *counter) Write(p []byte) (int, error) {
	c.at.Current += int64(len(p))
	c.tell(c.at)
	return len(p), nil
}
