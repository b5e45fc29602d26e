package image

import (
	"context"
	"errors"
	"slices"

	"github.com/containerd/containerd/v2/core/content"
	"github.com/containerd/errdefs"
	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/identity"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"berth/base/fault"
	"berth/image/gc"
	"berth/image/library"
	"berth/image/manifest"
	"berth/image/snapshot"
)

// Usage is the image half of system df: nothing is counted anew, sizes are
// those of when the layers came.
func (s *Store) Usage(ctx context.Context, inUse func(digest.Digest) []InUse) (Usage, error) {
	all, err := s.lib.Catalog(ctx)
	if err != nil {
		return Usage{}, err
	}
	sizes := map[string]int64{}
	if err := s.lib.Layers.Walk(ctx, func(ctx context.Context, i snapshot.Info) error {
		if i.Kind != snapshot.Committed {
			return nil
		}
		u, err := s.lib.Layers.Usage(ctx, i.Name)
		sizes[i.Name] = u.Size
		return err
	}); err != nil {
		return Usage{}, err
	}
	users := map[string]int{}
	chains := make([][]digest.Digest, len(all))
	for i := range all {
		chains[i] = identity.ChainIDs(slices.Clone(all[i].Layers))
		for _, c := range chains[i] {
			users[string(c)]++
		}
	}
	var out Usage
	used := map[string]bool{}
	for i := range all {
		line := ImageUsage{Image: all[i].Image}
		if inUse != nil {
			line.Containers = len(inUse(all[i].ID))
		}
		for _, c := range chains[i] {
			if users[string(c)] > 1 {
				line.Shared += sizes[string(c)]
			} else {
				line.Unique += sizes[string(c)]
			}
			used[string(c)] = used[string(c)] || line.Containers > 0
		}
		out.Images = append(out.Images, line)
	}
	for c := range users {
		out.Size += sizes[c]
		if !used[c] {
			out.Reclaimable += sizes[c]
		}
	}
	err = s.lib.Content.Walk(ctx, func(i content.Info) error { out.Blobs += i.Size; return nil })
	return out, err
}

// Check verifies the whole store; with repair it mends what it can.
func (s *Store) Check(ctx context.Context, repair bool) ([]Finding, error) {
	found, err := s.lib.Collector().Check(ctx, gc.CheckOptions{Repair: repair})
	var out []Finding
	for _, f := range found {
		out = append(out, Finding{Object: f.Object, Trouble: f.Problem, Repaired: f.Mended, Harm: f.Harm})
	}
	if err != nil {
		return out, err
	}
	more, err := checkImages(ctx, s, repair)
	return append(out, more...), err
}

// checkImages looks whether every image has its documents and layers. A layer
// that is missing is unpacked again from its blob.
func checkImages(ctx context.Context, s *Store, repair bool) ([]Finding, error) {
	all, err := s.lib.Names.List(ctx)
	if err != nil {
		return nil, err
	}
	seen := map[digest.Digest]bool{}
	var out []Finding
	for _, n := range all {
		if seen[n.Target.Digest] {
			continue
		}
		seen[n.Target.Digest] = true
		lost, err := lostLayers(ctx, s, n.Target)
		if err == nil && len(lost) == 0 {
			continue
		}
		f := Finding{Object: "image " + n.Name, Harm: true}
		switch {
		case err != nil:
			f.Trouble = err.Error()
		default:
			f.Trouble = "layer " + string(lost[0]) + " is missing"
		}
		if repair && err == nil {
			library.RemoveSummary(s.lib.SummaryPath(n.Target.Digest))
			if rerr := unpackAgain(ctx, s, n.Target); rerr == nil {
				f.Repaired = "unpacked it again"
			} else if !fault.Is(rerr, fault.NotFound) {
				f.Trouble += "; " + rerr.Error()
			}
		}
		out = append(out, f)
	}
	return out, nil
}

func lostLayers(ctx context.Context, s *Store, target ocispec.Descriptor) (lost []digest.Digest, err error) {
	docs, err := s.lib.Read(ctx, target, manifest.Host())
	if err != nil {
		return nil, err
	}
	for _, c := range identity.ChainIDs(slices.Clone(docs.Config.RootFS.DiffIDs)) {
		if _, err := s.lib.Layers.Stat(ctx, string(c)); errdefs.IsNotFound(err) {
			lost = append(lost, c)
		} else if err != nil {
			return nil, err
		}
	}
	return lost, nil
}

func unpackAgain(ctx context.Context, s *Store, target ocispec.Descriptor) error {
	h, err := s.lib.Hold(ctx, "check")
	if err != nil {
		return err
	}
	docs, err := s.lib.Read(ctx, target, manifest.Host())
	if err == nil {
		if _, err = s.lib.Unpack(ctx, h, docs, func(Progress) {}, s.lib.Stored); err == nil {
			err = s.lib.Sync(ctx, h)
		}
	}
	return errors.Join(err, h.Release(ctx))
}
