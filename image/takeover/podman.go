package takeover

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"strings"

	"github.com/opencontainers/go-digest"

	"berth/base/fault"
	"berth/image/manifest"
	"berth/image/ref"
)

func (s *Store) findPodman() error {
	for _, driver := range []string{"overlay", "vfs"} {
		if s.has(driver+"-images") && s.has(driver+"-layers") {
			s.driver = driver
			return nil
		}
	}
	return fault.New(fault.NotFound, "it has neither overlay-images nor vfs-images: no store of podman's, or of another driver")
}

func (s *Store) podmanFolder(id string) string {
	if s.driver == "vfs" {
		return "vfs/dir/" + id
	}
	return s.driver + "/" + id + "/diff"
}

// podmanImage is an entry of images.json.
type podmanImage struct {
	ID    string   `json:"id"`
	Names []string `json:"names"`
	Layer string   `json:"layer"` // the topmost
}

// podmanLayer is an entry of layers.json.
type podmanLayer struct {
	ID     string        `json:"id"`
	Parent string        `json:"parent"`
	DiffID digest.Digest `json:"diff-digest"`
	Size   *int64        `json:"diff-size"`
}

// podmans gives podman's images in its order, and buildah's and CRI-O's.
func (s *Store) podmans(ctx context.Context) iter.Seq2[Image, error] {
	return func(yield func(Image, error) bool) {
		images, layers, err := s.lists(ctx)
		if err != nil {
			yield(Image{}, err)
			return
		}
		for _, p := range images {
			img, err := s.podman(p, layers)
			if err != nil {
				err = fmt.Errorf("image %.12q %.200q: %w", p.ID, p.Names, err)
			}
			if !yield(img, err) {
				return
			}
		}
	}
}

// lists reads both lists of one moment.
func (s *Store) lists(ctx context.Context) (images []podmanImage, layers map[string]podmanLayer, err error) {
	unlock, err := s.lock(ctx, s.driver+"-layers/layers.lock")
	if err != nil {
		return nil, nil, err
	}
	defer func() { err = errors.Join(err, unlock()) }()
	unlockImages, err := s.lock(ctx, s.driver+"-images/images.lock")
	if err != nil {
		return nil, nil, err
	}
	defer func() { err = errors.Join(err, unlockImages()) }()
	file := s.driver + "-images/images.json"
	if images, err = readList[podmanImage](s, file); err != nil {
		return nil, nil, err
	}
	list, err := readList[podmanLayer](s, s.driver+"-layers/layers.json")
	if err != nil {
		return nil, nil, err
	}
	layers = make(map[string]podmanLayer, len(list))
	for _, l := range list {
		layers[l.ID] = l
	}
	return images, layers, nil
}

// readList reads a list; a new store has none yet.
func readList[T any](s *Store, file string) ([]T, error) {
	f, size, err := s.regular(file)
	if fault.Is(err, fault.NotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if size > maxList {
		return nil, fault.New(fault.Invalid, "%s has more than %d bytes", f.Name(), maxList)
	}
	list, err := parseList[T](io.LimitReader(f, maxList))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", f.Name(), err)
	}
	return list, nil
}

// parseList reads a list of at most maxFolder entries one by one, so that a
// long one of nothing cannot fill the memory.
func parseList[T any](r io.Reader) ([]T, error) {
	dec := json.NewDecoder(r)
	start, err := dec.Token()
	if err != nil {
		return nil, fault.New(fault.Invalid, "%w", err)
	}
	if start == nil {
		return nil, nil // null
	}
	if start != json.Delim('[') {
		return nil, fault.New(fault.Invalid, "it is no list")
	}
	var list []T
	for dec.More() {
		if len(list) == maxFolder {
			return nil, fault.New(fault.Invalid, "more than %d entries", maxFolder)
		}
		var one T
		if err := dec.Decode(&one); err != nil {
			return nil, fault.New(fault.Invalid, "entry %d: %w", len(list), err)
		}
		list = append(list, one)
	}
	if _, err := dec.Token(); err != nil {
		return nil, fault.New(fault.Invalid, "%w", err)
	}
	return list, nil
}

func (s *Store) podman(p podmanImage, layers map[string]podmanLayer) (Image, error) {
	if _, ok := ref.ID(p.ID); !ok || len(p.ID) != 64 {
		return Image{}, fault.New(fault.Invalid, "its id is none")
	}
	names, err := podmanNames(p.Names)
	if err != nil {
		return Image{}, err
	}
	raw, err := s.read(s.driver+"-images/"+p.ID+"/manifest", manifest.MaxSize)
	if err != nil {
		return Image{}, err
	}
	id, err := configOf(raw)
	if err != nil {
		return Image{}, err
	}
	if raw, err = s.read(s.driver+"-images/"+p.ID+"/"+bigName(string(id)), manifest.MaxSize); err != nil {
		return Image{}, err
	}
	img := Image{ID: id, Names: names, Config: raw}
	diffs, err := diffIDs(id, raw)
	if err != nil {
		return Image{}, err
	}
	if img.Layers, err = s.chain(p.Layer, diffs, layers); err != nil {
		return Image{}, err
	}
	return img, nil
}

// podmanNames are the names with tags.
func podmanNames(list []string) ([]ref.Ref, error) {
	var names []ref.Ref
	for _, n := range list {
		r, err := parseName(n)
		if err != nil {
			return nil, err
		}
		if r.Digest == "" {
			names = append(names, r.OrLatest())
		}
	}
	sortNames(names)
	return names, nil
}

// configOf finds the configuration in a manifest of OCI's or docker's.
func configOf(raw []byte) (digest.Digest, error) {
	var m struct {
		SchemaVersion int               `json:"schemaVersion"`
		MediaType     string            `json:"mediaType"`
		Manifests     []json.RawMessage `json:"manifests"`
		Config        struct {
			Digest digest.Digest `json:"digest"`
		} `json:"config"`
	}
	if err := json.Unmarshal(raw, &m); err != nil {
		return "", fault.New(fault.Invalid, "its manifest: %w", err)
	}
	switch {
	case len(m.Manifests) > 0 || manifest.IsIndex(m.MediaType):
		return "", fault.New(fault.Unsupported, "it is a list of images (podman manifest), which is made anew")
	case m.SchemaVersion == 1:
		return "", fault.New(fault.Unsupported, "its manifest is of docker's schema 1")
	}
	if err := ref.CheckDigest(string(m.Config.Digest)); err != nil {
		return "", fmt.Errorf("its manifest: configuration %.100q: %w", m.Config.Digest, err)
	}
	return m.Config.Digest, nil
}

// bigName is the file that containers/storage keeps an item of "big data" in.
func bigName(key string) string {
	plain := strings.Trim(key, ".0123456789abcdefghijklmnopqrstuvwxyz") == ""
	if plain {
		return key
	}
	return "=" + base64.StdEncoding.EncodeToString([]byte(key))
}

// chain finds an image's layers from the topmost down.
func (s *Store) chain(top string, diffs []digest.Digest, layers map[string]podmanLayer) ([]Layer, error) {
	out := make([]Layer, len(diffs))
	id := top
	for i := len(diffs) - 1; i >= 0; i-- {
		if hex, ok := ref.ID(id); !ok || hex.Encoded() != id {
			return nil, fault.New(fault.Invalid, "layer %s: its id %.100q is none", diffs[i], id)
		}
		l, ok := layers[id]
		switch {
		case !ok:
			return nil, fault.New(fault.NotFound, "layer %s: %s is not in %s-layers/layers.json", diffs[i], id, s.driver)
		case l.DiffID != diffs[i]:
			return nil, fault.New(fault.Invalid, "layer %s: podman's layer %s has the digest %.100q", diffs[i], id, l.DiffID)
		}
		out[i] = Layer{DiffID: diffs[i], Size: -1, open: func(ctx context.Context) (io.ReadCloser, error) {
			return s.podmanTar(ctx, l)
		}}
		if l.Size != nil && *l.Size > 0 {
			out[i].Size = *l.Size
		}
		id = l.Parent
	}
	if id != "" {
		return nil, fault.New(fault.Invalid, "it has more layers in podman's store than in its configuration")
	}
	return out, nil
}

// podmanTar holds the lock of the layers while one is read.
func (s *Store) podmanTar(ctx context.Context, l podmanLayer) (io.ReadCloser, error) {
	unlock, err := s.lock(ctx, s.driver+"-layers/layers.lock")
	if err != nil {
		return nil, err
	}
	r, err := s.tar(ctx, l.DiffID, s.driver+"-layers/"+l.ID+".tar-split.gz", s.podmanFolder(l.ID))
	if err != nil {
		return nil, errors.Join(err, unlock())
	}
	return &locked{r, unlock}, nil
}

type locked struct {
	io.ReadCloser
	unlock func() error
}

// Close ends the reading and lets the lock go.
func (l *locked) Close() error { return errors.Join(l.ReadCloser.Close(), l.unlock()) }
