package library

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"os"
	"slices"
	"strings"
	"syscall"

	"github.com/containerd/errdefs"
	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/identity"

	"berth/base/fault"
	"berth/image/gc"
	"berth/image/manifest"
	"berth/image/snapshot"
)

// Owners are the ids to which a copy of an image's layers belongs: an ordinary user's
// container with other ids than the user's needs one, as no mount of a user's can be
// id-mapped. Maps from the ids in the layers to the caller's.
type Owners struct {
	UIDs, GIDs []syscall.SysProcIDMap
	// Once: no other container will have these ids, so that the copy goes with the
	// tree above it. Others stay as long as the layers that they are copies of.
	Once bool
}

// onceLabel is on layers of owners that come once.
const onceLabel = "berth.once"

// suffix tells the copies of one set of owners from others.
func (o *Owners) suffix() string {
	h := sha256.New()
	for i, list := range [][]syscall.SysProcIDMap{o.UIDs, o.GIDs} {
		for _, m := range list {
			_ = binary.Write(h, binary.BigEndian, []uint64{uint64(i), uint64(m.ContainerID), uint64(m.HostID), uint64(m.Size)})
		}
	}
	return hex.EncodeToString(h.Sum(nil)[:8])
}

// name is that of a layer's snapshot.
func (o *Owners) name(chain digest.Digest) string {
	if o == nil {
		return string(chain)
	}
	return "owned-" + o.suffix() + "-" + string(chain)
}

func (o *Owners) labels() map[string]string {
	if o == nil || !o.Once {
		return nil
	}
	return map[string]string{onceLabel: "1"}
}

// own gives the folder of a layer to the root of its owners, who is to fill it.
func (o *Owners) own(dir *os.File) error {
	if o == nil {
		return nil
	}
	uid, uok := outside(o.UIDs)
	gid, gok := outside(o.GIDs)
	if !uok || !gok {
		return fault.New(fault.Unsupported, "unpack for other ids: the container would have no root to own files")
	}
	return dir.Chown(uid, gid)
}

// outside is the caller's id for root.
func outside(list []syscall.SysProcIDMap) (int, bool) {
	for _, m := range list {
		if m.ContainerID == 0 {
			return m.HostID, true
		}
	}
	return 0, false
}

// owned brings the copy of an image's layers that belongs to owners, and gives its
// topmost layer, which the lease keeps.
func (w *Writables) owned(ctx context.Context, h *Held, img Image) (top string, err error) {
	docs, err := w.L.Read(ctx, img.Target, manifest.Host())
	if err != nil {
		return "", err
	}
	if _, err := w.L.Unpack(ctx, h, docs, func(Progress) {}, w.L.Stored); err != nil {
		return "", fmt.Errorf("give the layers of image %s to the container's ids: %w", img.ID, err)
	}
	if err := w.L.Sync(ctx, h); err != nil {
		return "", err
	}
	for _, chain := range identity.ChainIDs(slices.Clone(docs.Config.RootFS.DiffIDs)) {
		top = h.owners.name(chain)
		if h.owners.Once {
			continue
		}
		if err := w.keepCopy(ctx, string(chain), h.owners.suffix(), top); err != nil {
			return "", err
		}
	}
	return top, nil
}

// keepCopy keeps a copy as long as the layer is kept.
func (w *Writables) keepCopy(ctx context.Context, layer, suffix, copied string) error {
	label := gc.SnapshotLabel(suffix)
	info, err := w.L.Layers.Stat(ctx, layer)
	if errdefs.IsNotFound(err) || err == nil && info.Labels[label] == copied {
		return nil
	}
	if err == nil {
		_, err = w.L.Layers.Update(ctx, snapshot.Info{Name: layer, Labels: map[string]string{label: copied}}, "labels."+label)
	}
	return err
}

// dropOnce removes layers that nobody can have any more, from the top down.
func (w *Writables) dropOnce(ctx context.Context, top string) error {
	for strings.HasPrefix(top, "owned-") {
		info, err := w.L.Layers.Stat(ctx, top)
		if errdefs.IsNotFound(err) || err == nil && info.Labels[onceLabel] == "" {
			return nil
		}
		if err != nil {
			return err
		}
		err = w.L.Layers.Remove(ctx, top)
		if errdefs.IsFailedPrecondition(err) {
			return nil // another tree lies above it
		}
		if err != nil && !errdefs.IsNotFound(err) {
			return err
		}
		top = info.Parent
	}
	return nil
}
