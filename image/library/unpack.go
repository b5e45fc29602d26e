package library

import (
	"context"
	"fmt"
	"io"
	"os"
	"slices"

	"github.com/containerd/errdefs"
	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/identity"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sync/errgroup"

	"berth/base/fault"
	"berth/base/ids"
	"berth/image/lease"
	"berth/image/snapshot"
	"berth/image/unpack"
)

// AtOnce is how many layers of one image are fetched and unpacked together.
const AtOnce = 6

// Stream is one layer's bytes as they come.
type Stream struct {
	io.Reader
	// Commit is called when the bytes have been unpacked: it keeps the blob.
	Commit func(ctx context.Context) error
	// Spoiled, if not nil, is called when they cannot be unpacked: what was kept
	// of them must not be taken for the beginning of the next try.
	Spoiled func(ctx context.Context)
	Close   func()
}

// unpacking turns an image's layers into snapshots, several at once. Its lock
// order: none, each layer's goroutine owns its own fields until ready is closed.
type unpacking struct {
	l     *Library
	lease *Held
	img   Documents
	names []string // of the snapshots to be: chain ids, or those of other owners' copies
	open  func(ctx context.Context, l ocispec.Descriptor, diff digest.Digest) (*Stream, error)
	tell  func(Progress)

	layers []oneLayer
}

type oneLayer struct {
	present bool          // was a snapshot before
	ready   chan struct{} // closed when dir is whole
	dir     *os.File
	key     string
	result  unpack.Result
}

// Unpack makes snapshots of all layers of img that are not there yet;
// open gives a layer's compressed bytes. The lease keeps them; the caller syncs
// and names. fresh says whether any was missing.
func (l *Library) Unpack(ctx context.Context, h *Held, img Documents, tell func(Progress),
	open func(context.Context, ocispec.Descriptor, digest.Digest) (*Stream, error)) (fresh bool, err error) {
	u := &unpacking{l: l, lease: h, img: img, open: open, tell: tell, layers: make([]oneLayer, len(img.Config.RootFS.DiffIDs))}
	for _, chain := range identity.ChainIDs(slices.Clone(img.Config.RootFS.DiffIDs)) {
		u.names = append(u.names, h.owners.name(chain))
	}
	defer func() {
		for i := range u.layers {
			if d := u.layers[i].dir; d != nil {
				d.Close()
			}
		}
	}()
	if err := u.look(ctx); err != nil {
		return false, err
	}
	if n := len(u.names); n > 0 {
		h.tops = append(h.tops, u.names[n-1])
	}
	stop := writeback(l.Path("snapshots"))
	group, inner := errgroup.WithContext(ctx)
	group.SetLimit(AtOnce + 1)
	group.Go(func() (err error) {
		fresh, err = u.commit(inner)
		return err
	})
	for i := range u.layers {
		if !u.layers[i].present {
			group.Go(func() error { return u.unpack(inner, i) })
		} else {
			group.Go(func() error { return u.keepBlob(inner, i) })
		}
	}
	err = group.Wait()
	if written := stop(); err == nil {
		err = <-written
	}
	if err != nil {
		u.drop(ctx)
	}
	return fresh, err
}

// look finds out which layers are there; the lease keeps them and all layers'
// bytes, there or to come, from then on.
func (u *unpacking) look(ctx context.Context) error {
	blobs := make([]string, len(u.names))
	for i := range blobs {
		blobs[i] = string(u.img.Manifest.Manifest.Layers[i].Digest)
	}
	if err := u.lease.Keep(ctx, LayerType, u.names...); err != nil {
		return err
	}
	if err := u.lease.Keep(ctx, lease.ContentType, blobs...); err != nil {
		return err
	}
	for i := range u.layers {
		l := &u.layers[i]
		l.ready = make(chan struct{})
		_, err := u.l.Layers.Stat(ctx, u.names[i])
		switch {
		case err == nil:
			l.present = true
			close(l.ready)
			u.tell(Progress{Digest: u.img.Manifest.Manifest.Layers[i].Digest, Step: StepExists})
		case !errdefs.IsNotFound(err):
			return err
		default:
			u.tell(Progress{Digest: u.img.Manifest.Manifest.Layers[i].Digest, Step: StepWaiting})
		}
	}
	return nil
}

// keepBlob brings the bytes of a layer that is here from another image, where
// it came in other bytes or in none: to save and push this one they are needed.
func (u *unpacking) keepBlob(ctx context.Context, i int) error {
	desc, diff := u.img.Manifest.Manifest.Layers[i], u.img.Config.RootFS.DiffIDs[i]
	if _, err := u.l.Content.Info(ctx, desc.Digest); err == nil {
		return nil
	}
	src, err := u.open(ctx, desc, diff)
	if err != nil {
		return fmt.Errorf("layer %s: %w", desc.Digest, err)
	}
	defer src.Close()
	if _, err := io.Copy(io.Discard, src); err != nil {
		return fmt.Errorf("layer %s: %w", desc.Digest, err)
	}
	return src.Commit(ctx)
}

// unpack fills one layer's folder.
func (u *unpacking) unpack(ctx context.Context, i int) error {
	l, desc, diff := &u.layers[i], u.img.Manifest.Manifest.Layers[i], u.img.Config.RootFS.DiffIDs[i]
	w, err := u.lease.worker()
	if err != nil {
		return err
	}
	l.key = "unpack-" + ids.Hex(16)
	if err := u.lease.Keep(ctx, LayerType, l.key); err != nil {
		return err
	}
	if l.dir, err = u.l.Layers.PrepareLayer(ctx, l.key); err != nil {
		return err
	}
	if err := u.lease.owners.own(l.dir); err != nil {
		return err
	}
	src, err := u.open(ctx, desc, diff)
	if err != nil {
		return fmt.Errorf("layer %s: %w", desc.Digest, err)
	}
	defer src.Close()
	l.result, err = w.Layer(ctx, unpack.Job{Dir: l.dir, Source: src, Size: desc.Size, Parents: func(ctx context.Context) ([]*os.File, error) { return u.lower(ctx, i) }})
	if err != nil {
		if fault.Is(err, fault.Invalid) && src.Spoiled != nil {
			src.Spoiled(ctx)
		}
		return fmt.Errorf("layer %s: %w", desc.Digest, err)
	}
	if guardDiffID && l.result.DiffID != diff {
		return fault.New(fault.Invalid, "layer %s: its content has the digest %s, the image's configuration says %s", desc.Digest, l.result.DiffID, diff)
	}
	u.tell(Progress{Digest: desc.Digest, Step: StepExtracting, Current: desc.Size, Total: desc.Size})
	if err := src.Commit(ctx); err != nil {
		return fmt.Errorf("layer %s: %w", desc.Digest, err)
	}
	close(l.ready)
	return nil
}

// lower opens the folders below layer i, newest first, when they are whole.
func (u *unpacking) lower(ctx context.Context, i int) ([]*os.File, error) {
	var out []*os.File
	for j := i - 1; j >= 0; j-- {
		l := &u.layers[j]
		select {
		case <-l.ready:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
		if l.dir == nil {
			dir, err := u.l.Layers.Folder(ctx, u.names[j])
			if err != nil {
				return nil, err
			}
			context.AfterFunc(ctx, func() { dir.Close() })
			out = append(out, dir)
			continue
		}
		out = append(out, l.dir)
	}
	return out, nil
}

// commit gives the layers their names, lowest first, as they become whole.
func (u *unpacking) commit(ctx context.Context) (fresh bool, err error) {
	parent := ""
	for i := range u.layers {
		l, desc := &u.layers[i], u.img.Manifest.Manifest.Layers[i]
		select {
		case <-l.ready:
		case <-ctx.Done():
			return fresh, ctx.Err()
		}
		if !l.present {
			layer := snapshotLayer(u.names[i], parent, l)
			layer.Labels = u.lease.owners.labels()
			err := u.l.Layers.CommitLayer(ctx, layer)
			switch {
			case errdefs.IsAlreadyExists(err):
				// Another process was faster with the same layer.
				if err := u.l.Layers.Remove(ctx, l.key); err != nil && !errdefs.IsNotFound(err) {
					return fresh, err
				}
			case err != nil:
				return fresh, err
			}
			fresh = true
			l.key = ""
			u.tell(Progress{Digest: desc.Digest, Step: StepPulled, Current: desc.Size, Total: desc.Size})
		}
		parent = u.names[i]
	}
	return fresh, nil
}

// drop removes what was half made. What failed to go is the collector's.
func (u *unpacking) drop(ctx context.Context) {
	for i := range u.layers {
		if k := u.layers[i].key; k != "" {
			if err := u.l.Layers.Remove(context.WithoutCancel(ctx), k); err != nil && !errdefs.IsNotFound(err) {
				u.l.warn(err)
			}
		}
	}
}

func usageOf(r unpack.Result) snapshot.Usage {
	return snapshot.Usage{Size: r.Size, Inodes: r.Inodes}
}

func snapshotLayer(name, parent string, l *oneLayer) snapshot.Layer {
	return snapshot.Layer{Name: name, Parent: parent, Key: l.key, Usage: usageOf(l.result), RootSet: true}
}
