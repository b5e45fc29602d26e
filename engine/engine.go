// Package engine holds the verbs: the only place where two nouns meet, one file
// a verb. A verb takes a request made of plain values and gives a result; it
// knows no command line, prints nothing, holds no state between two calls, and
// builds no concrete part: cmd does that. Row 5.
package engine

import (
	"context"
	"io"
	"net/netip"

	"github.com/opencontainers/go-digest"

	"berth/base/journal"
	"berth/container"
	"berth/image"
	"berth/network"
	"berth/runtime"
	"berth/secret"
	"berth/settings"
	"berth/volume"
)

// Engine is the nouns that the verbs bring together.
type Engine struct {
	Images     Images
	Writables  Writables
	Lists      Lists
	Registries Registries
	Trust      Trust
	Containers *container.Store
	Ranges     *container.Ranges
	Parts      *container.Parts
	Levels     *container.Parts // of SELinux
	Networks   *network.Store
	Volumes    *volume.Store
	Secrets    *secret.Store
	Journal    *journal.Journal
	Runtime    *runtime.Runtime
	machine    *container.Host // looked at when first needed
	// Defaults are for containers that ask for nothing else.
	Defaults Defaults
	// Platform is what pull takes if a request names none; "" is the host's.
	Platform string
	// Warn is told of what went wrong and ends no verb; may be nil.
	Warn func(error)
	// NoContainers says why there are none: Containers is nil then.
	NoContainers error
	// Closer gives everything back.
	Closer io.Closer
}

// Defaults is what the administrator set for containers, and where the engine
// itself is.
type Defaults struct {
	settings.Containers
	// Program is the pinned path of berth, which monitors start: absolute, and
	// only root or the engine's user may write to it. Environ is its environment.
	Program string
	Globals []string // the words between the program's name and the verb
	Environ []string
	// Rootless: the engine is not root of the host.
	Rootless bool
	// Person tells of the ordinary user who calls; nil for root, of a container too.
	Person func() (*container.Person, error)
	// HostAddress is what host-gateway means where no bridge is the host's; nil: the
	// gateway of the container's network. Invalid: the host has none.
	HostAddress func() netip.Addr
}

// HasContainers fails where containers and volumes are not served: for an
// ordinary user without a user namespace.
func (e *Engine) HasContainers() error { return e.NoContainers }

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
		return imageUsers(nil), nil
	}
	all, err := e.Containers.List(ctx)
	return imageUsers(all), err
}
