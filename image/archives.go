package image

import (
	"context"
	"errors"
	"io"
	"os"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"berth/base/fault"
	"berth/image/archive"
	"berth/image/lease"
	"berth/image/manifest"
	"berth/image/ref"
)

// Load reads an archive from r, or from the file or folder path if r is nil:
// one sync for all its images, however many.
func (s *Store) Load(ctx context.Context, r io.Reader, path string, o LoadOptions) (out []Loaded, err error) {
	h, err := s.hold(ctx, "load")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, h.release(ctx)) }()
	opts := archive.LoadOptions{Added: func(ctx context.Context, d digest.Digest) error {
		return h.keep(ctx, lease.ContentType, string(d))
	}}
	if o.Progress != nil {
		opts.Progress = func(name string, done, total int64) {
			o.Progress(Progress{Detail: name, Step: StepDownloading, Current: done, Total: total})
		}
	}
	var images []archive.Image
	if r == nil {
		if images, err = loadPath(ctx, s, path, opts); err != nil {
			return nil, err
		}
	} else if images, err = archive.Load(ctx, s.content, r, opts); err != nil {
		return nil, err
	}
	return s.adopt(ctx, h, images, o)
}

func loadPath(ctx context.Context, s *Store, path string, opts archive.LoadOptions) ([]archive.Image, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if st, err := f.Stat(); err != nil || st.IsDir() {
		if err != nil {
			return nil, err
		}
		return archive.LoadFolder(ctx, s.content, path, opts)
	}
	return archive.Load(ctx, s.content, f, opts)
}

// adopt unpacks and names the images whose blobs an archive brought.
func (s *Store) adopt(ctx context.Context, h *held, images []archive.Image, o LoadOptions) ([]Loaded, error) {
	want := manifest.Host()
	if o.Platform != "" {
		var err error
		if want, err = manifest.ParsePlatform(o.Platform); err != nil {
			return nil, err
		}
	}
	var out []Loaded
	var made []digest.Digest
	var names []naming
	for _, img := range images {
		if img.Kind != manifest.ImageKind && img.Kind != manifest.IndexKind {
			continue
		}
		docs, err := s.read(ctx, img.Target, want)
		if err != nil {
			return out, err
		}
		fresh, err := s.unpackLayers(ctx, h, docs, func(Progress) {}, s.stored(h))
		if err != nil {
			return out, err
		}
		made = append(made, fresh...)
		given := img.Names
		if len(given) == 0 && o.Name != "" {
			r, err := s.target(o.Name)
			if err != nil {
				return out, err
			}
			given = []ref.Ref{r}
		}
		if len(given) == 0 {
			names = append(names, naming{dangling + string(img.Target.Digest), img.Target, ""})
			out = append(out, Loaded{ID: docs.config.Digest()})
		}
		for _, r := range given {
			name := r.OrLatest().Pinned().String()
			names = append(names, naming{name, img.Target, ""})
			out = append(out, Loaded{Name: name, ID: docs.config.Digest()})
		}
	}
	if len(out) == 0 {
		return nil, fault.New(fault.Invalid, "the archive holds no image")
	}
	if err := s.sync(ctx, made); err != nil {
		return nil, err
	}
	return out, s.name(ctx, names...)
}

// stored opens layers whose blobs are here.
func (s *Store) stored(h *held) func(context.Context, ocispec.Descriptor, digest.Digest) (*stream, error) {
	return func(ctx context.Context, desc ocispec.Descriptor, diff digest.Digest) (*stream, error) {
		if err := h.keep(ctx, lease.ContentType, string(desc.Digest)); err != nil {
			return nil, err
		}
		info, err := s.content.Info(ctx, desc.Digest)
		if err != nil {
			return nil, err
		}
		return s.kept(ctx, info, desc, map[string]string{manifest.UncompressedLabel: string(diff)})
	}
}

// Save writes images to w, or to o.Dir for the folder forms.
func (s *Store) Save(ctx context.Context, w io.Writer, names []string, o SaveOptions) error {
	opts := archive.SaveOptions{Format: archive.Docker}
	if o.Format == FormatOCI || o.Format == FormatOCIDir {
		opts.Format = archive.OCI
	}
	if o.Compress {
		opts.Compression = manifest.Gzip
	}
	if o.Platform != "" {
		p, err := manifest.ParsePlatform(o.Platform)
		if err != nil {
			return err
		}
		opts.Platform = &p
	}
	if o.Progress != nil {
		opts.Progress = func(name string, size int64) { o.Progress(Progress{Detail: name, Step: StepPreparing, Total: size}) }
	}
	h, err := s.hold(ctx, "save")
	if err != nil {
		return err
	}
	sources, err := s.sources(ctx, h, names)
	if err == nil {
		switch o.Format {
		case FormatOCIDir:
			err = archive.SaveFolder(ctx, o.Dir, s.content, sources, opts)
		case FormatDockerDir, FormatCompressed:
			err = fault.New(fault.Unsupported, "save as %s: take docker-archive, oci-archive or oci-dir", o.Format)
		default:
			err = archive.Save(ctx, w, s.content, archive.Blobs(s.content), sources, opts)
		}
	}
	return errors.Join(err, h.release(ctx))
}

// sources are the images of a save: a name saves that tag, a repository all its
// tags, an id no name at all.
func (s *Store) sources(ctx context.Context, h *held, names []string) ([]archive.Source, error) {
	all, err := s.catalog(ctx)
	if err != nil {
		return nil, err
	}
	var out []archive.Source
	add := func(target ocispec.Descriptor, r *ref.Ref) {
		for i := range out {
			if out[i].Target.Digest == target.Digest {
				if r != nil {
					out[i].Names = append(out[i].Names, *r)
				}
				return
			}
		}
		src := archive.Source{Target: target}
		if r != nil {
			src.Names = []ref.Ref{*r}
		}
		out = append(out, src)
	}
	for _, typed := range names {
		if r, err := ref.Docker(typed); err == nil && r.IsNameOnly() && !s.opts.Podman {
			tagged := 0
			for i := range all {
				for _, n := range all[i].Names {
					if t, err := ref.Stored(n); err == nil && t.Repository() == r.Repository() {
						kept, err := s.names.Get(ctx, n)
						if err != nil {
							return nil, err
						}
						add(kept.Target, &t)
						tagged++
					}
				}
			}
			if tagged > 0 {
				continue
			}
		}
		img, name, err := s.find(ctx, typed)
		if err != nil {
			return nil, err
		}
		if name == "" {
			add(img.Target, nil)
			continue
		}
		n, err := s.names.Get(ctx, name)
		if err != nil {
			return nil, err
		}
		r, err := ref.Stored(name)
		if err != nil {
			return nil, err
		}
		add(n.Target, &r)
	}
	for _, src := range out {
		if err := h.keep(ctx, lease.ContentType, string(src.Target.Digest)); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// Import makes an image of a root file system's tar and gives its id.
func (s *Store) Import(ctx context.Context, o ImportOptions) (id digest.Digest, err error) {
	h, err := s.hold(ctx, "import")
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, h.release(ctx)) }()
	opts := archive.ImportOptions{Changes: o.Changes, Message: o.Message, Created: time.Now().UTC(),
		Limits: archive.LoadOptions{Added: func(ctx context.Context, d digest.Digest) error {
			return h.keep(ctx, lease.ContentType, string(d))
		}}}
	if o.Platform != "" {
		if opts.Platform, err = manifest.ParsePlatform(o.Platform); err != nil {
			return "", err
		}
	}
	img, err := archive.Import(ctx, s.content, o.Source, opts)
	if err != nil {
		return "", err
	}
	docs, err := s.read(ctx, img.Target, manifest.Host())
	if err != nil {
		return "", err
	}
	made, err := s.unpackLayers(ctx, h, docs, func(Progress) {}, s.stored(h))
	if err != nil {
		return "", err
	}
	if err := s.sync(ctx, made); err != nil {
		return "", err
	}
	name := o.Name
	if name == "" {
		name = dangling + string(img.Target.Digest)
	}
	return docs.config.Digest(), s.name(ctx, naming{name, img.Target, ""})
}
