package image

import (
	"context"
	"encoding/json"
	"path/filepath"
	"slices"
	"strings"

	"github.com/containerd/errdefs"
	"github.com/opencontainers/image-spec/identity"

	"berth/image/manifest"
)

// Inspect reads the whole configuration too.
func (s *Store) Inspect(ctx context.Context, nameOrID string) (Details, error) {
	img, _, err := findImage(ctx, s, nameOrID)
	if err != nil {
		return Details{}, err
	}
	docs, err := s.lib.Read(ctx, img.Target, manifest.Host())
	if err != nil {
		return Details{}, err
	}
	d := Details{Image: img, RawConfig: docs.Config.Raw(), RawManifest: docs.Manifest.Raw()}
	if err := json.Unmarshal(d.RawConfig, &d.Config); err != nil {
		return Details{}, err
	}
	if d.History, err = historyOf(ctx, s, img, docs.Config); err != nil {
		return Details{}, err
	}
	var lower []string
	for _, c := range identity.ChainIDs(slices.Clone(img.Layers)) {
		dir, err := s.lib.Layers.Folder(ctx, string(c))
		if errdefs.IsNotFound(err) {
			break
		}
		if err != nil {
			return Details{}, err
		}
		lower = append(lower, dir.Name())
		dir.Close()
	}
	slices.Reverse(lower)
	if len(lower) > 0 {
		d.UpperDir, d.LowerDir = lower[0], strings.Join(lower[1:], ":")
		d.WorkDir = filepath.Join(filepath.Dir(lower[0]), "work")
	}
	return d, nil
}

// history lists an image's steps, newest first, with the sizes of their layers.
func historyOf(ctx context.Context, s *Store, img Image, cfg *manifest.Config) ([]Layer, error) {
	steps, _ := cfg.Steps()
	chains := identity.ChainIDs(slices.Clone(img.Layers))
	var out []Layer
	at := 0
	for _, step := range steps {
		l := Layer{CreatedBy: step.CreatedBy, Comment: step.Comment, Empty: step.EmptyLayer, DiffID: step.DiffID}
		if step.Created != nil {
			l.Created = *step.Created
		}
		if step.DiffID != "" && at < len(chains) {
			u, err := s.lib.Layers.Usage(ctx, string(chains[at]))
			if err != nil && !errdefs.IsNotFound(err) {
				return nil, err
			}
			l.Size = u.Size
			at++
		}
		out = append(out, l)
	}
	slices.Reverse(out)
	if len(out) > 0 {
		out[0].ID, out[0].Tags = img.ID, img.Names
	}
	return out, nil
}
