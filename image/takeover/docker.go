package takeover

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"iter"
	"slices"
	"strings"

	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/identity"

	"berth/base/fault"
	"berth/image/manifest"
	"berth/image/ref"
)

// findDocker finds the driver whose layers are folders. The preferred one is
// first: a store may have leftovers of another.
func (s *Store) findDocker() error {
	for _, driver := range []string{"overlay2", "fuse-overlayfs", "vfs"} {
		if s.has("image/" + driver + "/imagedb/content/sha256") {
			s.driver = driver
			return nil
		}
	}
	if s.has("containerd/daemon/io.containerd.content.v1.content") {
		return fault.New(fault.Unsupported, "this dockerd keeps its images in containerd: take them by docker save and load")
	}
	drivers, err := s.names("image")
	if fault.Is(err, fault.NotFound) {
		return fault.New(fault.NotFound, "it has no folder image: no data-root of docker's")
	}
	if err != nil {
		return err
	}
	return fault.New(fault.Unsupported, "it has images of the storage drivers %.200q alone, only overlay2, fuse-overlayfs and vfs are read", drivers)
}

// dockerFolder is where a layer's files are.
func (s *Store) dockerFolder(cache string) string {
	if s.driver == "vfs" {
		return "vfs/dir/" + cache
	}
	return s.driver + "/" + cache + "/diff"
}

// dockers gives docker's images, sorted by id.
func (s *Store) dockers(ctx context.Context) iter.Seq2[Image, error] {
	return func(yield func(Image, error) bool) {
		names, err := s.repositories()
		if err != nil {
			yield(Image{}, err)
			return
		}
		ids, err := s.names("image/" + s.driver + "/imagedb/content/sha256")
		if err != nil {
			yield(Image{}, err)
			return
		}
		parents := s.parents()
		all := map[digest.Digest]bool{}
		for _, hex := range ids {
			id := digest.NewDigestFromEncoded(digest.SHA256, hex)
			if id.Validate() == nil && (names[id] != nil || !parents[id]) {
				all[id] = true
			}
		}
		for id := range names { // one without its document is told of
			all[id] = true
		}
		for _, id := range sorted(all) {
			img, err := s.docker(id, names[id])
			if err != nil {
				err = fmt.Errorf("image %s%s: %w", ref.Short(id), inBrackets(names[id]), err)
			}
			if !yield(img, err) {
				return
			}
		}
	}
}

func sorted(set map[digest.Digest]bool) []digest.Digest {
	out := make([]digest.Digest, 0, len(set))
	for d := range set {
		out = append(out, d)
	}
	slices.Sort(out)
	return out
}

// inBrackets names an image in an error.
func inBrackets(names []ref.Ref) string {
	if len(names) == 0 {
		return ""
	}
	return " (" + names[0].Familiar() + ")"
}

// repositories reads the names. A store that was never used has no such file.
func (s *Store) repositories() (map[digest.Digest][]ref.Ref, error) {
	file := "image/" + s.driver + "/repositories.json"
	raw, err := s.read(file, maxNames)
	if fault.Is(err, fault.NotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	names, err := parseRepositories(raw)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	return names, nil
}

// parseRepositories reads repositories.json: names with tags by id. Names with
// digests are those of manifests, which docker does not keep.
func parseRepositories(raw []byte) (map[digest.Digest][]ref.Ref, error) {
	var doc struct {
		Repositories map[string]map[string]string
	}
	if err := json.Unmarshal(raw, &doc); err != nil {
		return nil, fault.New(fault.Invalid, "%w", err)
	}
	names := map[digest.Digest][]ref.Ref{}
	for _, tags := range doc.Repositories {
		for name, hex := range tags {
			r, err := parseName(name)
			if err != nil {
				return nil, err
			}
			id, ok := ref.ID(hex)
			if !ok {
				return nil, fault.New(fault.Invalid, "%s: %.100q is no image id", r.Familiar(), hex)
			}
			if r.Digest == "" {
				names[id] = append(names[id], r.OrLatest())
			}
		}
	}
	for _, list := range names {
		sortNames(list)
	}
	return names, nil
}

// parseName reads a name without repeating its bytes as they are.
func parseName(name string) (ref.Ref, error) {
	r, err := ref.Docker(name)
	if err != nil {
		return ref.Ref{}, fault.New(fault.Invalid, "%.200q is no image's name", name)
	}
	return r, nil
}

func sortNames(list []ref.Ref) {
	slices.SortFunc(list, func(a, b ref.Ref) int { return strings.Compare(a.String(), b.String()) })
}

// parents are the images that others were built on, step by step. Without a
// name they are only docker's cache.
func (s *Store) parents() map[digest.Digest]bool {
	out := map[digest.Digest]bool{}
	folder := "image/" + s.driver + "/imagedb/metadata/sha256"
	ids, err := s.names(folder)
	if err != nil {
		return out // an image too much is no harm
	}
	for _, id := range ids {
		if _, ok := ref.ID(id); !ok {
			continue
		}
		if raw, err := s.read(folder+"/"+id+"/parent", maxShort); err == nil {
			out[digest.Digest(strings.TrimSpace(string(raw)))] = true
		}
	}
	return out
}

func (s *Store) docker(id digest.Digest, names []ref.Ref) (Image, error) {
	raw, err := s.read("image/"+s.driver+"/imagedb/content/sha256/"+id.Encoded(), manifest.MaxSize)
	if err != nil {
		return Image{}, err
	}
	img := Image{ID: id, Names: names, Config: raw}
	diffs, err := diffIDs(id, raw)
	if err != nil {
		return Image{}, err
	}
	for i, chain := range identity.ChainIDs(slices.Clone(diffs)) {
		l, err := s.dockerLayer(diffs[i], chain)
		if err != nil {
			return Image{}, fmt.Errorf("layer %s: %w", diffs[i], err)
		}
		img.Layers = append(img.Layers, l)
	}
	return img, nil
}

// diffIDs reads a configuration whose digest is known.
func diffIDs(id digest.Digest, raw []byte) ([]digest.Digest, error) {
	if !manifest.Verify(id, raw) {
		return nil, fault.New(fault.Invalid, "its configuration has another digest than its id")
	}
	config, err := manifest.DecodeConfig(raw)
	if err != nil {
		return nil, err
	}
	if len(config.RootFS.DiffIDs) > maxChain {
		return nil, fault.New(fault.Invalid, "it has more than %d layers", maxChain)
	}
	for _, d := range config.RootFS.DiffIDs {
		if err := ref.CheckDigest(string(d)); err != nil {
			return nil, err
		}
		if d.Algorithm() != digest.SHA256 {
			return nil, fault.New(fault.Unsupported, "layer %s: neither docker nor podman has layers by %s", d, d.Algorithm())
		}
	}
	return config.RootFS.DiffIDs, nil
}

func (s *Store) dockerLayer(diff, chain digest.Digest) (Layer, error) {
	folder := "image/" + s.driver + "/layerdb/sha256/" + chain.Encoded()
	raw, err := s.read(folder+"/diff", maxShort)
	if err != nil {
		return Layer{}, err
	}
	if got := strings.TrimSpace(string(raw)); got != string(diff) {
		return Layer{}, fault.New(fault.Invalid, "%s/diff says %.100q", folder, got)
	}
	if raw, err = s.read(folder+"/cache-id", maxShort); err != nil {
		return Layer{}, err
	}
	cache := strings.TrimSpace(string(raw))
	if !isCacheID(cache) {
		return Layer{}, fault.New(fault.Invalid, "%s/cache-id: %.100q is none", folder, cache)
	}
	return Layer{DiffID: diff, Size: -1, open: func(ctx context.Context) (io.ReadCloser, error) {
		return s.tar(ctx, diff, folder+"/tar-split.json.gz", s.dockerFolder(cache))
	}}, nil
}

// isCacheID: docker takes 64 hexadecimal digits, BuildKit inside it 25 letters
// and digits.
func isCacheID(s string) bool {
	if s == "" || len(s) > 128 {
		return false
	}
	for _, c := range []byte(s) {
		if (c < '0' || c > '9') && (c < 'a' || c > 'z') {
			return false
		}
	}
	return true
}
