//house:allow package the door of all image verbs is a hundred lines too long; lists are to get a package of their own
package image

import (
	"context"
	"errors"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/containerd/errdefs"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"berth/base/fault"
	"berth/image/archive"
	"berth/image/lease"
	"berth/image/library"
	"berth/image/manifest"
	"berth/image/ref"
)

// Load reads an archive from r, or from the file or folder path if r is nil:
// one sync for all its images, however many.
func (s *Store) Load(ctx context.Context, r io.Reader, path string, o LoadOptions) (out []Loaded, err error) {
	h, err := s.lib.Hold(ctx, "load")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, h.Release(ctx)) }()
	opts := archive.LoadOptions{Added: func(ctx context.Context, d digest.Digest) error {
		return h.Keep(ctx, lease.ContentType, string(d))
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
	} else if images, err = archive.Load(ctx, s.lib.Content, r, opts); err != nil {
		return nil, err
	}
	return adopt(ctx, s, h, images, o)
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
		return archive.LoadFolder(ctx, s.lib.Content, path, opts)
	}
	return archive.Load(ctx, s.lib.Content, f, opts)
}

// adopt unpacks and names the images whose blobs an archive brought.
func adopt(ctx context.Context, s *Store, h *library.Held, images []archive.Image, o LoadOptions) ([]Loaded, error) {
	want := manifest.Host()
	if o.Platform != "" {
		var err error
		if want, err = manifest.ParsePlatform(o.Platform); err != nil {
			return nil, err
		}
	}
	images, err := chosen(images, o.Only)
	if err != nil {
		return nil, err
	}
	var out []Loaded
	var names []library.Naming
	for _, img := range images {
		if img.Kind != manifest.ImageKind && img.Kind != manifest.IndexKind {
			continue
		}
		docs, err := s.lib.Read(ctx, img.Target, want)
		if err != nil {
			return out, err
		}
		if o.Platform != "" {
			if err := rightPlatform(nameIn(img), want, docs.Config); err != nil {
				return out, err
			}
			img.Target = docs.Manifest.Descriptor() // as of a pull: the name is that platform's
		}
		if _, err := s.lib.Unpack(ctx, h, docs, func(Progress) {}, s.lib.Stored); err != nil {
			return out, err
		}
		given, err := givenTo(s, img, o.Name)
		if err != nil {
			return out, err
		}
		if len(given) == 0 {
			names = append(names, library.Naming{Name: library.Dangling + string(img.Target.Digest), Target: img.Target})
			out = append(out, Loaded{ID: docs.Config.Digest()})
		}
		for _, r := range given {
			name := r.OrLatest().Pinned().String()
			names = append(names, library.Naming{Name: name, Target: img.Target})
			out = append(out, Loaded{Name: name, ID: docs.Config.Digest()})
		}
	}
	if len(out) == 0 {
		return nil, fault.New(fault.Invalid, "the archive holds no image")
	}
	targets := make([]ocispec.Descriptor, len(names))
	for i := range names {
		targets[i] = names[i].Target
	}
	library.Foresee(ctx, s.lib, targets, false)
	if err := s.lib.Sync(ctx, h); err != nil {
		return nil, err
	}
	err = s.lib.Name(ctx, names...)
	library.Foresee(ctx, s.lib, targets, true)
	return out, err
}

// givenTo are the names that an image of an archive gets; name is for one without.
func givenTo(s *Store, img archive.Image, name string) ([]ref.Ref, error) {
	given := img.Names
	for _, word := range img.Words {
		// An OCI reference name that is one word: podman's habit.
		if r, err := s.target(ref.LocalDomain + "/" + word); err == nil && len(img.Names) == 0 {
			given = append(given, r)
		}
	}
	if len(given) > 0 || name == "" {
		return given, nil
	}
	r, err := s.target(name)
	return []ref.Ref{r}, err
}

// nameIn is what an archive calls an image.
func nameIn(img archive.Image) string {
	for _, n := range img.Names {
		return n.Familiar()
	}
	for _, w := range img.Words {
		return w
	}
	return string(img.Target.Digest)
}

// chosen is what of an archive's images is wanted.
func chosen(images []archive.Image, only string) ([]archive.Image, error) {
	if only == "" {
		return images, nil
	}
	if at, err := strconv.Atoi(strings.TrimPrefix(only, "@")); only[0] == '@' && err == nil && at >= 0 && at < len(images) {
		return images[at : at+1], nil
	}
	wanted, err := ref.Docker(only)
	for _, img := range images {
		if slices.Contains(img.Words, only) {
			img.Names, img.Words = nil, []string{only}
			return []archive.Image{img}, nil
		}
		for _, n := range img.Names {
			if err == nil && n.OrLatest() == wanted.OrLatest() {
				img.Names, img.Words = []ref.Ref{n}, nil
				return []archive.Image{img}, nil
			}
		}
	}
	return nil, fault.New(fault.NotFound, "the archive holds no image %q", only)
}

// Save writes images to w, or to o.Dir for the folder forms.
func (s *Store) Save(ctx context.Context, w io.Writer, names []string, o SaveOptions) error {
	if o.Compress && (o.Format == FormatOCIDir || o.Format == FormatDockerDir) {
		return fault.New(fault.Unsupported, "--compress: layers come into a folder as they are kept")
	}
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
	h, err := s.lib.Hold(ctx, "save")
	if err != nil {
		return err
	}
	sources, err := saveSources(ctx, s, h, names)
	if err == nil && o.As != "" {
		err = rename(sources, o.As, opts.Format)
	}
	if err == nil {
		switch o.Format {
		case FormatOCIDir:
			err = archive.SaveFolder(ctx, o.Dir, s.lib.Content, sources, opts)
		case FormatDockerDir:
			err = archive.SaveDockerFolder(ctx, o.Dir, s.lib.Content, sources, opts)
		default:
			err = archive.Save(ctx, w, s.lib.Content, archive.Blobs(s.lib.Content), sources, opts)
		}
	}
	return errors.Join(err, h.Release(ctx))
}

// rename gives the one image of a save another name: in OCI's forms it may be
// a word.
func rename(sources []archive.Source, as string, format archive.Format) error {
	if len(sources) != 1 {
		return fault.New(fault.Invalid, "save as %q: one image can have that name, not %d", as, len(sources))
	}
	sources[0].Names, sources[0].Word = nil, ""
	if format == archive.OCI && !strings.ContainsAny(as, "/:") {
		sources[0].Word = as
		return nil
	}
	r, err := ref.Docker(as)
	if err != nil {
		return err
	}
	sources[0].Names = []ref.Ref{r.OrLatest()}
	return nil
}

// sources are the images of a save: a name saves that tag, a repository all its
// tags, an id no name at all.
func saveSources(ctx context.Context, s *Store, h *library.Held, names []string) ([]archive.Source, error) {
	all, err := s.lib.Catalog(ctx)
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
						kept, err := s.lib.Names.Get(ctx, n)
						if errdefs.IsNotFound(err) {
							continue // removed since the list was read
						}
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
		img, err := findMeant(ctx, s, typed)
		if err != nil {
			return nil, err
		}
		if img.name == "" {
			add(img.target, nil)
			continue
		}
		r, err := ref.Stored(img.name)
		if err != nil {
			return nil, err
		}
		add(img.target, &r)
	}
	for _, src := range out {
		if err := h.Keep(ctx, lease.ContentType, string(src.Target.Digest)); err != nil {
			return nil, err
		}
		if _, err := s.lib.Content.Info(ctx, src.Target.Digest); errdefs.IsNotFound(err) {
			return nil, s.noSuch(names[0])
		}
	}
	return out, nil
}

// Import makes an image of a root file system's tar and gives its id.
func (s *Store) Import(ctx context.Context, o ImportOptions) (id digest.Digest, err error) {
	if err := manifest.CheckWords(o.Changes); err != nil {
		return "", err
	}
	h, err := s.lib.Hold(ctx, "import")
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, h.Release(ctx)) }()
	opts := archive.ImportOptions{Changes: o.Changes, Message: o.Message, Created: time.Now().UTC(),
		Limits: archive.LoadOptions{Added: func(ctx context.Context, d digest.Digest) error {
			return h.Keep(ctx, lease.ContentType, string(d))
		}}}
	if o.Platform != "" {
		if opts.Platform, err = manifest.ParsePlatform(o.Platform); err != nil {
			return "", err
		}
	}
	img, err := archive.Import(ctx, s.lib.Content, o.Source, opts)
	if err != nil {
		return "", err
	}
	docs, err := s.lib.Read(ctx, img.Target, manifest.Host())
	if err != nil {
		return "", err
	}
	if _, err := s.lib.Unpack(ctx, h, docs, func(Progress) {}, s.lib.Stored); err != nil {
		return "", err
	}
	if err := s.lib.Sync(ctx, h); err != nil {
		return "", err
	}
	name := o.Name
	if name == "" {
		name = library.Dangling + string(img.Target.Digest)
	}
	return docs.Config.Digest(), s.lib.Name(ctx, library.Naming{Name: name, Target: img.Target})
}
