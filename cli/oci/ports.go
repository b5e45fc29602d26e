package oci

import (
	"context"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"berth/runtime"
)

// Runtime is what the verbs ask for: *runtime.Runtime, or a stand-in in a test.
type Runtime interface {
	Lives
	Looks
	Changes
}

// Lives are the verbs of a container's life.
type Lives interface {
	Create(context.Context, runtime.CreateRequest) (*runtime.Process, error)
	Start(ctx context.Context, id string) error
	Run(context.Context, runtime.RunRequest) (exit int, err error)
	Kill(ctx context.Context, id string, sig unix.Signal, all bool) error
	Delete(ctx context.Context, id string, force bool) error
}

// Looks tell what is.
type Looks interface {
	State(id string) (*runtime.State, error)
	List() ([]runtime.State, error)
	PIDs(id string) ([]int, error)
	Stats(id string) (*runtime.Stats, error)
	OOMEvents(ctx context.Context, id string) (<-chan struct{}, error)
	Resources(id string) (*specs.LinuxResources, error)
}

// Changes act on a container that runs.
type Changes interface {
	Exec(context.Context, runtime.ExecRequest) (exit int, err error)
	Pause(ctx context.Context, id string) error
	Resume(ctx context.Context, id string) error
	Update(ctx context.Context, id string, r *specs.LinuxResources) error
}

// Options are the global flags that shape a runtime.
type Options struct {
	Root          string
	SystemdCgroup bool
	Rootless      *bool // nil: by the caller's user id
	Warn          func(format string, args ...any)
}
