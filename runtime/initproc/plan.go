// Package initproc is what the first process of a container does before the
// user's program: it performs a plan, a list of named steps made by the parent
// side (package runtime), and then replaces itself by that program.
//
// Life of a plan:
//
//	parent (berth-oci, berth)            helper (berth-helper, this package)
//	  spec → []Step                        started by execveat(2) on an fd, inside
//	  Encode ──── socket, fds ──────────▶   its namespaces and cgroups
//	                                       Decode → for each step: do
//	  ◀──── sync point N ───────────────   Sync
//	  hooks, …
//	  ───── continue ──────────────────▶
//	  ◀──── error: step, errno ─────────   (the first failure ends the process)
//	  ◀──── end of file ────────────────   execve succeeded (the socket is CLOEXEC)
//
// The step list is data: it can be printed and compared without root. Steps
// address files by index into the table of descriptors that came with the plan.
//
// Row 2, and a second door of room runtime: the monitor and cmd/berth-helper
// may import it. It links neither fmt nor encoding/json, so that the helper
// starts quickly, and holds nothing of the parent side.
package initproc

// FD is an index into the table of descriptors passed along with a plan.
type FD int32

// NoFD is the absent descriptor.
const NoFD FD = -1

// ProcFD is the first entry of every table: an O_PATH descriptor of the host's
// procfs, opened by the parent. All writes to /proc go through it, whatever
// the container has mounted on its own /proc (security class V4).
const ProcFD FD = 0

// A Step is one named action of the first process.
//
// Each step type lists its fields in wire, in a fixed order, for both
// directions, and acts in do. Steps run in the main thread of a process that
// is already inside its namespaces and cgroups.
type Step interface {
	// Name says what is tried and on what, e.g. "mount proc on /proc"; it stands
	// before the cause in the error that a user sees.
	Name() string
	op() op
	wire(*coder)
	do(*process) error
}

// Plan is all that the helper needs to know.
type Plan struct {
	Steps []Step
}

// op numbers a step type on the wire. Parent and helper are always of one
// build, so numbers may change freely.
type op uint16
