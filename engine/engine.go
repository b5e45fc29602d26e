// Package engine holds the verbs: the only place where two nouns meet, one file
// a verb. A verb takes a request made of plain values and gives a result; it
// knows no command line, prints nothing, holds no state between two calls, and
// builds no concrete part: cmd does that. Row 5.
package engine

import (
	"context"
	"io"

	"github.com/opencontainers/go-digest"

	"berth/image"
)

// Engine is the nouns that the verbs bring together.
type Engine struct {
	Images     Images
	Lists      Lists
	Registries Registries
	Trust      Trust
	// Containers is nil as long as there are none to ask.
	Containers Containers
	// Platform is what pull takes if a request names none; "" is the host's.
	Platform string
	// Closer gives everything back.
	Closer io.Closer
}

// Close gives back what the engine holds open.
func (e *Engine) Close() error {
	if e.Closer == nil {
		return nil
	}
	return e.Closer.Close()
}

// inUse gives the question "who uses this image" to the image verbs.
func (e *Engine) inUse(ctx context.Context) (func(digest.Digest) []image.InUse, error) {
	if e.Containers == nil {
		return func(digest.Digest) []image.InUse { return nil }, nil
	}
	users, err := e.Containers.ImageUsers(ctx)
	if err != nil {
		return nil, err
	}
	return func(id digest.Digest) []image.InUse { return users[id] }, nil
}
