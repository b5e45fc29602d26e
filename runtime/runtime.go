// Package runtime turns an OCI bundle into an isolated process and looks after
// it: the parent side of the OCI runtime spec 1.3 for Linux. Each verb is one
// file: create, start, exec, kill, delete, …
//
// It knows nothing of images, networks or names, and prints nothing. What the
// first process does inside is package initproc. Row 2.
package runtime

import (
	"os"
	"sync"
	"time"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"berth/runtime/rootfs"
)

// Runtime is a state folder and the way containers below it are run.
type Runtime struct {
	// Root is the folder that holds one folder per container. It is made with
	// mode 0711 when first needed.
	Root string
	// SystemdCgroup asks systemd for each container's cgroup.
	SystemdCgroup bool
	// Rootless says that the caller is not root of the host: cgroup rights and
	// id maps are the user's. nil: the first
	// verb that asks decides by the caller's user id.
	Rootless *bool
	// Warn receives lines about what could not be given although nobody asked
	// for it by name; never nil after a verb has begun.
	Warn func(format string, args ...any)

	begun sync.Once
}

// CreateRequest asks for a container made from a bundle.
type CreateRequest struct {
	ID     string
	Bundle string // folder with config.json; made absolute
	// Spec is used instead of Bundle's config.json, which need not be there. Of
	// it the state folder keeps what later verbs need.
	Spec *specs.Spec
	// Root, if set, is mounted as the container's root; Spec's root.path is then
	// the folder in which hooks inside the container's mount namespace find it,
	// where that can be reached.
	Root *Overlay
	// Trees are detached mounts that binds of Spec have as their source, by that
	// name, complete with their attributes. They stay the caller's.
	Trees map[string]*os.File
	// Account, if set, says who the process runs as; the ids of process.user are
	// not used then.
	Account *Account
	// Parent is whose child the first process becomes, nil for the caller's. A
	// terminal whose ConsoleSocket is "" comes back as Process.Console then.
	Parent Parent
	// Stdio are the process's 0, 1 and 2, which stay the caller's; nil: it has
	// those of its parent.
	Stdio *[3]*os.File
	// ConsoleSocket is an AF_UNIX socket that receives the terminal's master, for
	// a process with a terminal whose client is not attached.
	ConsoleSocket string
	// PidfdSocket is an AF_UNIX socket that receives a pidfd of the process.
	PidfdSocket string
	PidFile     string
	PreserveFDs int // descriptors from 3 on that the process inherits
	// ListenFDs is how many of these, the first ones, are sockets of a service
	// manager, which the process finds by $LISTEN_FDS: sd_listen_fds(3).
	ListenFDs int
	// Init: the program is the one of InitFile. Signals that come before it can take
	// them wait for it, where PID 1 would not get them.
	Init         bool
	NoPivot      bool
	NoNewKeyring bool
}

// Overlay is a root that is mounted from the layers of a store, in the
// container's mount namespace alone.
type Overlay = rootfs.Overlay

// RunRequest is a CreateRequest whose process starts at once. It has no Parent.
type RunRequest struct {
	CreateRequest
	Detach      bool
	Keep        bool // keep the container's state after its exit
	NoSubreaper bool
}

// ExecRequest asks for one more process in a running container.
type ExecRequest struct {
	ID string
	// Process is complete; nil: the container's own.
	Process *specs.Process
	// Change, if set, turns that into the one to run, before anything is done.
	Change        func(*specs.Process) error
	Account       *Account     // see CreateRequest
	Parent        Parent       // see CreateRequest; for Spawn
	Stdio         *[3]*os.File // see CreateRequest
	ConsoleSocket string
	PidfdSocket   string // see CreateRequest
	PidFile       string
	PreserveFDs   int
	Detach        bool
	IgnorePaused  bool
	// Cgroup is a sub-cgroup path, or controller:path pairs (runc's --cgroup).
	Cgroup []string
}

// State is the runtime-spec state of a container plus what runc's list prints.
type State struct {
	specs.State
	Rootfs  string    `json:"rootfs"`
	Created time.Time `json:"created"`
	Owner   string    `json:"owner"`
}

// The verbs; each in the file of its name.
//
//	Create(ctx, CreateRequest) (*Process, error)            created, waiting for Start
//	Start(ctx, id) error
//	Run(ctx, RunRequest) (exit int, err error)             attached: exit code of the process, 128+n for a signal
//	Exec(ctx, ExecRequest) (exit int, err error)
//	Spawn(ctx, ExecRequest) (*Process, error)               as Exec, waiting for nothing: the parent takes the exit code
//	Kill(ctx, id, sig unix.Signal, all bool) error
//	Delete(ctx, id, force bool) error
//	State(id) (*State, error)
//	List() ([]State, error)                                 bad folders are skipped with a warning
//	Pause(ctx, id) error; Resume(ctx, id) error
//	Update(ctx, id, *specs.LinuxResources) error
//	Stats(id) (*Stats, error); OOMEvents(ctx, id) (<-chan struct{}, error)
//	PIDs(id) ([]int, error)
//	Resources(id) (*specs.LinuxResources, error)            what was asked for last, the base of an update
