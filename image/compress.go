package image

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/containerd/containerd/v2/core/content"
	"github.com/containerd/errdefs"
	"github.com/klauspost/compress/zstd"
	"github.com/klauspost/pgzip"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"berth/base/fault"
	"berth/image/archive"
	"berth/image/lease"
	"berth/image/manifest"
)

// compressedLabel, on a layer's blob, names what it became when it was pushed:
// DIGEST,SIZE.
const compressedLabel = "berth.compressed."

// compressed gives the layer in the form in which it is to be sent.
func (p *pusher) compressed(ctx context.Context, l ocispec.Descriptor) (ocispec.Descriptor, error) {
	kind, ok := manifest.LayerOf(l.MediaType)
	if !ok {
		return l, nil
	}
	want := manifest.Gzip
	switch p.r.Compression {
	case "zstd", "zstd:chunked":
		want = manifest.Zstd
	case "", "gzip":
	default:
		return l, fault.New(fault.Invalid, "compression %q: gzip or zstd", p.r.Compression)
	}
	if kind.Compression == want && !p.r.Force || kind.Compression != manifest.Uncompressed && (p.r.Compression == "" || !p.r.Force) {
		return l, nil
	}
	info, err := p.s.lib.Content.Info(ctx, l.Digest)
	if errdefs.IsNotFound(err) {
		return l, nil // it is passed on as it is
	}
	if err != nil {
		return l, err
	}
	key := compressedLabel + want.String()
	if p.r.Level != 0 {
		key += "." + strconv.Itoa(p.r.Level)
	}
	made := ocispec.Descriptor{MediaType: layerType(l.MediaType, want)}
	if text, size, ok := strings.Cut(info.Labels[key], ","); ok {
		made.Digest = digest.Digest(text)
		made.Size, err = strconv.ParseInt(size, 10, 64)
		if err == nil && made.Digest.Validate() == nil {
			if err := p.lease.Keep(ctx, lease.ContentType, text); err != nil {
				return l, err
			}
			if have, err := p.s.lib.Content.Info(ctx, made.Digest); err == nil && have.Size == made.Size {
				return made, nil
			}
		}
	}
	diff := digest.Digest(cmp.Or(info.Labels[manifest.UncompressedLabel], string(l.Digest)))
	if err := p.compress(ctx, l, diff, want, &made); err != nil {
		return l, fmt.Errorf("compress layer %s: %w", l.Digest, err)
	}
	return made, p.s.lib.Label(ctx, info, map[string]string{key: fmt.Sprintf("%s,%d", made.Digest, made.Size), manifest.GCRefContent + want.String(): string(made.Digest)})
}

// layerType keeps the words of the manifest: docker's or OCI's.
func layerType(was string, c manifest.Compression) string {
	if !strings.Contains(was, "docker") {
		return manifest.LayerType(c)
	}
	if c == manifest.Zstd {
		return manifest.DockerLayerZstd
	}
	return manifest.DockerLayerGzip
}

// compress writes a layer's tar once more, compressed, into the store.
func (p *pusher) compress(ctx context.Context, l ocispec.Descriptor, diff digest.Digest, c manifest.Compression, made *ocispec.Descriptor) error {
	tar, _, err := archive.Blobs(p.s.lib.Content).OpenTar(ctx, diff, l)
	if err != nil {
		return err
	}
	defer tar.Close()
	name := fmt.Sprintf("compress-%s-%s-%d-%s", l.Digest, c, p.r.Level, p.lease.ID())
	if err := p.lease.Keep(ctx, lease.IngestType, name); err != nil {
		return err
	}
	w, err := p.s.lib.Content.Writer(ctx, content.WithRef(name))
	if err != nil {
		return err
	}
	defer w.Close()
	var z io.WriteCloser
	if c == manifest.Zstd {
		z, err = zstd.NewWriter(w, zstd.WithEncoderLevel(zstd.EncoderLevelFromZstd(cmp.Or(p.r.Level, 3))))
	} else {
		z, err = pgzip.NewWriterLevel(w, cmp.Or(p.r.Level, pgzip.DefaultCompression))
	}
	if err != nil {
		return fault.Wrap(fault.Invalid, err)
	}
	if _, err := io.Copy(z, tar); err != nil {
		return errors.Join(err, z.Close())
	}
	if err := z.Close(); err != nil {
		return err
	}
	st, err := w.Status()
	if err != nil {
		return err
	}
	made.Digest, made.Size = w.Digest(), st.Offset
	if err := p.lease.Keep(ctx, lease.ContentType, string(made.Digest)); err != nil {
		return err
	}
	err = w.Commit(ctx, made.Size, made.Digest, content.WithLabels(map[string]string{manifest.UncompressedLabel: string(diff)}))
	if errdefs.IsAlreadyExists(err) {
		err = nil
	}
	return err
}
