package engine

import (
	"context"

	"berth/base/fault"
	"berth/image"
)

// NoImage says that a name or id, as typed, is no image here; each dialect has
// its own words for it.
type NoImage struct {
	Name string
	Err  error
}

func (e *NoImage) Error() string { return e.Err.Error() }
func (e *NoImage) Unwrap() error { return e.Err }

func isNotFound(err error) bool { return fault.Is(err, fault.NotFound) }

// noImage makes a NoImage of an error that says not found.
func noImage(name string, err error) error {
	if isNotFound(err) {
		return &NoImage{Name: name, Err: err}
	}
	return err
}

func (e *Engine) find(ctx context.Context, name string) (image.Image, error) {
	img, err := e.Images.Find(ctx, name)
	return img, noImage(name, err)
}
