package image

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/containerd/containerd/v2/core/content"
	"github.com/containerd/errdefs"
	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/identity"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"berth/base/atomicfile"
	"berth/base/fault"
	"berth/image/manifest"
)

// summary is STORE/images/HEX.json: what lists say of one target. It can be
// made again from the documents and the layers at any time.
type summary struct {
	Version  int               `json:"version"`
	ID       digest.Digest     `json:"id"`
	Manifest digest.Digest     `json:"manifest"`
	Created  time.Time         `json:"created"`
	Size     int64             `json:"size"`
	Platform ocispec.Platform  `json:"platform"`
	Labels   map[string]string `json:"labels,omitempty"`
	Layers   []digest.Digest   `json:"layers,omitempty"`
}

const (
	summaryVersion = 1
	maxSummary     = 1 << 20
	maxDocument    = 4 << 20
)

// named is an image as the catalog has it.
type named struct {
	Image
	targets map[digest.Digest]bool
	keys    []string // names of the store, dangling ones too
}

// sourceLabel, on a name, says that the registry of the name has this digest.
const sourceLabel = "berth.registry-digest"

// catalog lists all images: the names of one id together, sorted by creation,
// newest first. Broken ones are reported and left out.
func (s *Store) catalog(ctx context.Context) ([]named, error) {
	all, err := s.names.List(ctx)
	if err != nil {
		return nil, err
	}
	at := map[digest.Digest]int{}
	summaries := map[digest.Digest]summary{}
	var out []named
	for _, n := range all {
		sum, ok := summaries[n.Target.Digest]
		if !ok {
			if sum, err = s.summaryOf(ctx, n.Target); err != nil {
				if ctx.Err() != nil {
					return nil, ctx.Err()
				}
				s.opts.Warn(fmt.Errorf("image %s: %w", n.Name, err))
				continue
			}
			summaries[n.Target.Digest] = sum
		}
		i, ok := at[sum.ID]
		if !ok {
			i = len(out)
			at[sum.ID] = i
			out = append(out, named{Image: Image{ID: sum.ID, Target: n.Target, Manifest: sum.Manifest, Created: sum.Created, Size: sum.Size,
				Platform: sum.Platform, Labels: sum.Labels, Layers: sum.Layers}, targets: map[digest.Digest]bool{}})
		}
		out[i].add(n.Name, n.Target.Digest, n.Labels[sourceLabel], n.UpdatedAt)
	}
	for i := range out {
		slices.Sort(out[i].Names)
		slices.Sort(out[i].Digests)
		out[i].Digests = slices.Compact(out[i].Digests)
	}
	slices.SortStableFunc(out, func(a, b named) int {
		if c := b.Created.Compare(a.Created); c != 0 {
			return c
		}
		return strings.Compare(string(a.ID), string(b.ID))
	})
	return out, nil
}

func (n *named) add(name string, target digest.Digest, source string, updated time.Time) {
	n.targets[target] = true
	n.keys = append(n.keys, name)
	if updated.After(n.Added) {
		n.Added = updated
	}
	repo, isDigest := cutDigest(name)
	switch {
	case strings.HasPrefix(name, dangling):
	case isDigest:
		n.Digests = append(n.Digests, name)
	default:
		n.Names = append(n.Names, name)
		if source != "" {
			n.Digests = append(n.Digests, repo+"@"+source)
		}
	}
}

// cutDigest gives the repository of a canonical name, and whether it has a digest.
func cutDigest(name string) (repo string, isDigest bool) {
	if repo, _, ok := strings.Cut(name, "@"); ok {
		return repo, true
	}
	if i := strings.LastIndexByte(name, ':'); i > strings.LastIndexByte(name, '/') {
		return name[:i], false
	}
	return name, false
}

func (s *Store) summaryPath(target digest.Digest) string {
	return filepath.Join(s.opts.Root, "images", target.Algorithm().String()+"-"+target.Encoded()+".json")
}

// summaryOf reads the summary of a target, or makes it.
func (s *Store) summaryOf(ctx context.Context, target ocispec.Descriptor) (summary, error) {
	var sum summary
	data, err := atomicfile.ReadCapped(s.summaryPath(target.Digest), maxSummary)
	if err == nil && json.Unmarshal(data, &sum) == nil && sum.Version == summaryVersion && sum.ID.Validate() == nil {
		return sum, nil
	}
	if sum, err = s.summarize(ctx, target); err != nil {
		return sum, err
	}
	s.writeSummary(target.Digest, sum)
	return sum, nil
}

// writeSummary keeps a summary; a full disk is no reason to fail a list.
func (s *Store) writeSummary(target digest.Digest, sum summary) {
	if data, err := json.Marshal(sum); err == nil {
		if err := atomicfile.Write(s.summaryPath(target), data, 0o600); err != nil && !fault.Is(err, fault.NoSpace) && !errors.Is(err, fs.ErrPermission) {
			s.opts.Warn(err)
		}
	}
}

// removeSummary drops the summary of an image that is gone; one that stays is
// never read again.
func removeSummary(path string) { _ = os.Remove(path) }

func (s *Store) summarize(ctx context.Context, target ocispec.Descriptor) (summary, error) {
	img, err := s.read(ctx, target, manifest.Host())
	if fault.Is(err, fault.NotFound) && img.index != nil && img.manifest == nil {
		// A list whose members are all elsewhere stands for itself.
		return summary{Version: summaryVersion, ID: target.Digest, Manifest: target.Digest}, nil
	}
	if err != nil {
		return summary{}, err
	}
	sum := summary{Version: summaryVersion, ID: img.config.Digest(), Manifest: img.manifest.Digest, Platform: img.config.Platform(),
		Labels: img.config.Defaults.Labels, Layers: img.config.RootFS.DiffIDs}
	if img.config.Created != nil {
		sum.Created = *img.config.Created
	}
	for _, chain := range identity.ChainIDs(slices.Clone(sum.Layers)) {
		u, err := s.layers.Usage(ctx, string(chain))
		if err != nil && !errdefs.IsNotFound(err) {
			return summary{}, err
		}
		sum.Size += u.Size
	}
	return sum, nil
}

// documents are an image's manifest and configuration, read and checked.
type documents struct {
	index    *manifest.Document // nil without one
	manifest *manifest.Document
	config   *manifest.Config
}

// read follows a target to the manifest of a platform that is here.
func (s *Store) read(ctx context.Context, target ocispec.Descriptor, want manifest.Platform) (documents, error) {
	var d documents
	for range 4 { // indexes in indexes end here
		doc, err := s.document(ctx, target)
		if err != nil {
			return d, err
		}
		if doc.Manifest != nil {
			d.manifest = doc
			raw, err := s.blob(ctx, doc.Manifest.Config)
			if err != nil {
				return d, err
			}
			if !manifest.IsConfig(doc.Manifest.Config.MediaType) {
				return d, fault.New(fault.Unsupported, "%s is no image but an artifact of type %.100q", target.Digest, doc.Manifest.Config.MediaType)
			}
			if d.config, err = manifest.DecodeConfig(raw); err != nil {
				return d, err
			}
			return d, manifest.CheckLayers(doc.Manifest, d.config)
		}
		if d.index == nil {
			d.index = doc
		}
		if target, err = s.present(ctx, doc, want); err != nil {
			return d, err
		}
	}
	return d, fault.New(fault.Invalid, "index %s: indexes in indexes, too deep", target.Digest)
}

// present selects the entry for a platform among those that are here, or any
// that is here if none fits: an image pulled for another platform alone.
func (s *Store) present(ctx context.Context, doc *manifest.Document, want manifest.Platform) (ocispec.Descriptor, error) {
	here := *doc.Index
	here.Manifests = nil
	for _, m := range manifest.Images(doc.Index) {
		if _, err := s.content.Info(ctx, m.Digest); err == nil {
			here.Manifests = append(here.Manifests, m)
		}
	}
	m, err := manifest.Select(&here, want)
	if err != nil && len(here.Manifests) > 0 {
		return here.Manifests[0], nil
	}
	return m, err
}

func (s *Store) document(ctx context.Context, desc ocispec.Descriptor) (*manifest.Document, error) {
	raw, err := s.blob(ctx, desc)
	if err != nil {
		return nil, err
	}
	return manifest.DecodeBlob(desc, raw)
}

// blob reads a small blob whole.
func (s *Store) blob(ctx context.Context, desc ocispec.Descriptor) ([]byte, error) {
	if desc.Size > maxDocument {
		return nil, fault.New(fault.Invalid, "%s has %d bytes, more than %d", desc.Digest, desc.Size, maxDocument)
	}
	raw, err := content.ReadBlob(ctx, s.content, desc)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", desc.Digest, err)
	}
	return raw, nil
}
