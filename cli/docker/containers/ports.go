package containers

import (
	"context"
	"io"
	"time"

	"berth/api/docker/wire"
	"berth/cli/docker/attach"
	"berth/cli/docker/command"
	"berth/cli/docker/option"
	"berth/cli/docker/transfer"
	"berth/container/config"
	"berth/engine"
)

// Engine is what the verbs need of the engine. A container is named as it was
// typed: by name, id or unique prefix of an id.
type Engine interface {
	Starts
	Lives
	Streams
	Looks
	Watches
	Files
	Changes
}

// Starts start containers.
type Starts interface {
	// Ahead begins to prepare a start before it is known of what; done gives back
	// what was not needed.
	Ahead(ctx context.Context) (done func())
	// Start starts one. With joined it is called when all is there and nothing
	// runs yet, with the streams that are wanted.
	Start(ctx context.Context, name string, w attach.Want, joined func(*attach.Far) error) error
}

// Lives make and end containers.
type Lives interface {
	// Create makes a container; warn is told what a person should know.
	Create(ctx context.Context, a option.Asked, t Told) (id string, err error)
	Stop(ctx context.Context, name string, o StopOptions) error
	Restart(ctx context.Context, name string, o StopOptions) error
	Kill(ctx context.Context, name, signal string) error
	Remove(ctx context.Context, name string, o RemoveOptions) error
	Pause(ctx context.Context, name string, freeze bool) error
}

// Told is where a verb under way tells of things.
type Told struct {
	Warning func(string)
	// Missing is told the name of an image that is to be pulled; Progress is
	// where the pull may be shown.
	Missing  func(name string)
	Progress io.Writer
}

// StopOptions say how a container is ended: by its own signal and time if
// nothing is said.
type StopOptions struct {
	Timeout *int // seconds, -1 for ever
	Signal  string
}

// RemoveOptions of rm.
type RemoveOptions struct{ Force, Volumes, Link bool }

// Streams reach the processes of containers.
type Streams interface {
	Attach(ctx context.Context, name string, w attach.Want) (*attach.Far, error)
	Exec(ctx context.Context, r ExecRequest) (*attach.Far, error)
	// Wait gives the exit code when the condition holds: not-running, next-exit
	// or removed. It has begun to wait when it calls ready, which may be nil.
	Wait(ctx context.Context, name, condition string, ready func()) (code int, err error)
	Logs(ctx context.Context, name string, o LogOptions) error
}

// ExecRequest runs one more program in a container.
type ExecRequest struct {
	Container            string
	Args, Env            []string
	User, WorkDir        string
	Terminal, Privileged bool
	Detach               bool // Far is nil then
	Want                 attach.Want
}

// LogOptions say which lines of a log are wanted, and where they go.
type LogOptions struct {
	Out, Err                    io.Writer
	Follow, Timestamps, Details bool
	Since, Until                time.Time
	Tail                        int // lines, -1 all
}

// Looks tell what is.
type Looks interface {
	List(ctx context.Context, o ListOptions) ([]Summary, error)
	// Inspect gives the document as docker's API has it.
	Inspect(ctx context.Context, name string, size bool) (*wire.Container, error)
	Top(ctx context.Context, name string, psArgs []string) (titles []string, rows [][]string, err error)
	Ports(ctx context.Context, name string) ([]PortBinding, error)
	Diff(ctx context.Context, name string) ([]Change, error)
}

// Watches follow what happens.
type Watches interface {
	// Stats calls each once for every reading; all running ones without names.
	Stats(ctx context.Context, names []string, o StatsOptions, each func([]Reading) error) error
	Events(ctx context.Context, o EventOptions, each func(Event) error) error
}

// Files move files and whole trees.
type Files interface {
	// Copy moves files between containers and the host, or a tar stream.
	Copy(ctx context.Context, r transfer.Request) error
	Export(ctx context.Context, name string, w io.Writer) error
	Mount(ctx context.Context, name string) (path string, err error)
	Unmount(ctx context.Context, name string, force bool) error
	Mounts(ctx context.Context) (map[string]string, error) // path by id
}

// Changes change what is known of a container.
type Changes interface {
	Rename(ctx context.Context, name, newName string) error
	Update(ctx context.Context, name string, u Changed) (warnings []string, err error)
	Commit(ctx context.Context, r CommitRequest) (imageID string, err error)
	Prune(ctx context.Context, filters map[string][]string) (ids []string, reclaimed int64, err error)
	Exists(ctx context.Context, name string) (bool, error)
	Init(ctx context.Context, name string) error
	HealthRun(ctx context.Context, name string) (healthy bool, err error)
}

// Changed is what is to change of a container.
type Changed struct {
	Resources config.Resources
	Restart   *config.Restart // nil: as it is
	Meta      engine.Meta
	Shape     engine.Shape
	Ports     engine.Ports
}

// CommitRequest makes an image of a container.
type CommitRequest struct {
	Container, Name, Author, Message string
	Changes                          []string
	Pause, Squash                    bool
	Format                           string // "", oci, docker
}

// open gives the engine's verbs on containers.
func open(c *command.Call) (Engine, error) {
	e, err := c.OpenContainers()
	if err != nil {
		return nil, err
	}
	return &live{lives{e: e, c: c}, streams{e}, looks{e}, watches{e}, files{e}, changes{e}}, nil
}

// live is Engine on the engine of this machine.
type live struct {
	lives
	streams
	looks
	watches
	files
	changes
}
