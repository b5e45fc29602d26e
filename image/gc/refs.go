package gc

import (
	"bytes"
	"context"
	"fmt"
	"strings"
	"time"

	"berth/base/fault"
	"berth/image/manifest"

	"github.com/containerd/containerd/v2/core/content"
	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/identity"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// containerd's labels (its docs/garbage-collection.md).
const (
	rootLabel    = "containerd.io/gc.root"
	expireLabel  = "containerd.io/gc.expire"
	contentRef   = "containerd.io/gc.ref.content"
	layerRefs    = contentRef + ".l." // of a manifest's layers
	imageRef     = "containerd.io/gc.ref.image"
	snapshotRefs = "containerd.io/gc.ref.snapshot."
)

// SnapshotLabel is a label whose value is a snapshot that is kept with what has it.
func SnapshotLabel(name string) string { return snapshotRefs + Snapshotter + "/" + name }

// rooted reports whether labels alone keep a thing.
func rooted(labels map[string]string, now time.Time) bool {
	if _, ok := labels[rootLabel]; ok {
		return true
	}
	_, limited := labels[expireLabel]
	return limited && !ended(labels, now)
}

// ended reports whether labels say that a thing's time is over. A time that
// cannot be read never comes.
func ended(labels map[string]string, now time.Time) bool {
	v, ok := labels[expireLabel]
	if !ok {
		return false
	}
	t, err := time.Parse(time.RFC3339, v)
	return err == nil && !now.Before(t)
}

// references queues what labels refer to and reports whether they refer to any
// content or snapshot of ours.
func (m *marker) references(labels map[string]string) bool {
	any := false
	for k, v := range labels {
		switch {
		case isRef(k, contentRef):
			h := whole
			if strings.HasPrefix(k, layerRefs) {
				h = labeled
			}
			m.push(BlobKind, v, h)
		case isRef(k, imageRef):
			m.push(NameKind, v, whole)
		case k == snapshotRefs+Snapshotter || strings.HasPrefix(k, snapshotRefs+Snapshotter+"/"):
			m.push(SnapshotKind, v, whole)
		default:
			continue
		}
		any = true
	}
	return any
}

// isRef: the label itself, or one with a name after "." or "/".
func isRef(key, label string) bool {
	rest, ok := strings.CutPrefix(key, label)
	return ok && (rest == "" || rest[0] == '.' || rest[0] == '/')
}

// parse queues the children of a blob that has no labels of references, if it
// is a document: nothing but its first bytes is read of any other.
func (m *marker) parse(ctx context.Context, info content.Info) error {
	b, err := m.document(ctx, info)
	if err != nil || b == nil {
		return err
	}
	if doc, err := manifest.Decode("", b); err == nil {
		for _, c := range doc.Children() {
			h := whole
			if _, ok := manifest.LayerOf(c.MediaType); ok {
				h = labeled
			}
			m.push(BlobKind, string(c.Digest), h)
		}
		return nil
	}
	if cfg, err := manifest.DecodeConfig(b); err == nil && len(cfg.RootFS.DiffIDs) > 0 {
		m.push(SnapshotKind, string(identity.ChainID(cfg.RootFS.DiffIDs)), whole)
		return nil
	}
	// No document that we know: whatever digests it names stay.
	for _, d := range digestsIn(b) {
		m.push(BlobKind, string(d), whole)
	}
	return nil
}

// document reads a blob that may be one; nil if it is none.
func (m *marker) document(ctx context.Context, info content.Info) ([]byte, error) {
	if info.Size > manifest.MaxSize || info.Size < 2 {
		return nil, nil
	}
	r, err := m.Content.ReaderAt(ctx, ocispec.Descriptor{Digest: info.Digest})
	if fault.Is(err, fault.NotFound) || fault.Is(err, fault.Invalid) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer r.Close()
	head := make([]byte, min(r.Size(), 64))
	if n, err := r.ReadAt(head, 0); n < len(head) {
		return nil, fmt.Errorf("read content %s: %w", info.Digest, err)
	}
	if !bytes.HasPrefix(bytes.TrimLeft(head, " \t\r\n"), []byte("{")) || r.Size() > manifest.MaxSize {
		return nil, nil
	}
	b := make([]byte, r.Size())
	if n, err := r.ReadAt(b, 0); n < len(b) {
		return nil, fmt.Errorf("read content %s: %w", info.Digest, err)
	}
	return b, nil
}

// digestsIn finds everything in b that looks like a digest.
func digestsIn(b []byte) []digest.Digest {
	var out []digest.Digest
	for _, a := range []struct {
		name string
		n    int
	}{{"sha256:", 64}, {"sha512:", 128}} {
		rest := b
		for {
			i := bytes.Index(rest, []byte(a.name))
			if i < 0 {
				break
			}
			rest = rest[i+len(a.name):]
			if len(rest) >= a.n && isHex(rest[:a.n]) {
				out = append(out, digest.Digest(a.name+string(rest[:a.n])))
			}
		}
	}
	return out
}

func isHex(b []byte) bool {
	for _, c := range b {
		if (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return true
}
