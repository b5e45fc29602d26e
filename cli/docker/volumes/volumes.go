// Package volumes is the verbs on volumes in docker's and podman's words, one
// file a verb or two. What it needs of the engine is below. Row 6.
package volumes

import (
	"context"
	"io"
	"time"

	"berth/base/fault"
	"berth/cli/docker/command"
)

// Volume is one volume as lists and inspect show it.
type Volume struct {
	Name, Driver, Mountpoint string
	Created                  time.Time
	Labels, Options          map[string]string
	Users                    int   // containers
	Size                     int64 // bytes, -1 unknown
}

// Engine is what the verbs need of the engine.
type Engine interface {
	VolumeKeeper
	VolumeData
}

// VolumeKeeper makes, finds and removes volumes.
type VolumeKeeper interface {
	VolumeCreate(ctx context.Context, v Volume) (name string, err error)
	VolumeList(ctx context.Context, filters map[string][]string) ([]Volume, error)
	VolumeInspect(ctx context.Context, name string) (Volume, error)
	VolumeRemove(ctx context.Context, name string, force bool) error
	VolumePrune(ctx context.Context, filters map[string][]string) (names []string, reclaimed int64, err error)
	VolumeRename(ctx context.Context, name, newName string) error
}

// VolumeData moves what is inside.
type VolumeData interface {
	VolumeExport(ctx context.Context, name string, w io.Writer) error
	VolumeImport(ctx context.Context, name string, r io.Reader) error
}

// open gives the engine's verbs on volumes.
func open(c *command.Call) (Engine, error) {
	e, err := c.OpenContainers()
	if err != nil {
		return nil, err
	}
	return live{e}, nil
}

// missing is the client's own line about a volume that is not there.
func missing(c *command.Call, name string, err error) error {
	switch {
	case !fault.Is(err, fault.NotFound):
		return command.FromEngine(err)
	case c.Podman():
		return command.Line("no such volume %s", name)
	}
	return command.Line("Error: No such volume: %s", name)
}
