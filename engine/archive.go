//house:allow package one file a verb
package engine

import (
	"context"
	"io"

	"github.com/opencontainers/go-digest"

	"berth/image"
)

// LoadRequest is load: from a stream, or from a file or folder if it is nil.
type LoadRequest struct {
	image.LoadOptions
	From io.Reader
	Path string
}

// ImageLoad brings the images of an archive into the store.
func ImageLoad(ctx context.Context, e *Engine, r LoadRequest) ([]image.Loaded, error) {
	o := r.LoadOptions
	if o.Name != "" {
		name, err := e.Images.Name(o.Name)
		if err != nil {
			return nil, err
		}
		o.Name = name
	}
	return e.Images.Load(ctx, r.From, r.Path, o)
}

// ImageSave writes images, named as typed, into an archive or a folder.
func ImageSave(ctx context.Context, e *Engine, w io.Writer, names []string, o image.SaveOptions) error {
	err := e.Images.Save(ctx, w, names, o)
	if !isNotFound(err) {
		return err
	}
	for _, name := range names {
		if _, missing := e.Images.Find(ctx, name); isNotFound(missing) {
			return &NoImage{Name: name, Err: err}
		}
	}
	return err
}

// ImageImport makes an image of a root file system; a name is as typed.
func ImageImport(ctx context.Context, e *Engine, o image.ImportOptions) (digest.Digest, error) {
	if o.Name != "" {
		name, err := e.Images.Name(o.Name)
		if err != nil {
			return "", err
		}
		o.Name = name
	}
	return e.Images.Import(ctx, o)
}
