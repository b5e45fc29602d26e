// Package plan gathers what the first process of a container has to do: named
// steps, and the descriptors that they need. Making a plan is pure and needs
// no rights, so that it can be compared in tests; opening its files comes
// later, beside the waiting first process.
//
// It performs nothing: that is package initproc, in the helper. Row 2.
package plan

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"berth/base/fault"
	"berth/runtime/initproc"
)

// Host is what opening a file may need of the place where it is opened.
type Host struct {
	// Userns is the container's user namespace, nil if it is the caller's own;
	// its id maps are written. For id-mapped mounts.
	Userns *os.File
	// PID is the waiting first process, in the caller's pid namespace.
	PID int
}

// Opener opens one descriptor for the plan's table. Errors name the path.
type Opener func(*Host) (*os.File, error)

// Copy opens a copy of f, which stays the caller's.
func Copy(f *os.File) Opener {
	return func(*Host) (*os.File, error) {
		fd, err := unix.FcntlInt(f.Fd(), unix.F_DUPFD_CLOEXEC, 3)
		if err != nil {
			return nil, fmt.Errorf("pass %s: %w", f.Name(), err)
		}
		return os.NewFile(uintptr(fd), f.Name()), nil
	}
}

type file struct {
	name string
	open Opener
}

// Builder collects steps and files in order. The zero value is not ready: use New.
type Builder struct {
	steps []initproc.Step
	files []file
}

// New returns a builder whose table starts with the host's procfs (initproc.ProcFD).
func New() *Builder {
	b := &Builder{}
	b.File("host procfs", openProc)
	return b
}

// Add appends steps.
func (b *Builder) Add(steps ...initproc.Step) { b.steps = append(b.steps, steps...) }

// File adds an entry to the table and returns its index; name stands in listings.
func (b *Builder) File(name string, open Opener) initproc.FD {
	b.files = append(b.files, file{name, open})
	return initproc.FD(len(b.files) - 1)
}

// Check fails with kind Invalid when the helper would not take the plan.
func (b *Builder) Check() error {
	if n := max(len(b.steps), len(b.files)); n > initproc.MaxSteps {
		return fault.New(fault.Invalid, "config.json: mounts, devices, sysctls and hooks need %d steps, more than %d", n, initproc.MaxSteps)
	}
	return nil
}

// Encode returns the plan in the form the helper reads.
func (b *Builder) Encode() []byte { return initproc.Encode(&initproc.Plan{Steps: b.steps}) }

// Steps returns the steps added so far.
func (b *Builder) Steps() []initproc.Step { return b.steps }

// Lines describes the plan, one file or step a line, for golden tests and logs.
func (b *Builder) Lines() []string {
	lines := make([]string, 0, len(b.files)+len(b.steps))
	for i, f := range b.files {
		lines = append(lines, fmt.Sprintf("file %d: %s", i, f.name))
	}
	for _, s := range b.steps {
		lines = append(lines, fmt.Sprintf("%s %+v", s.Name(), s))
	}
	return lines
}

// Open opens all files, in order. On an error none stays open.
func (b *Builder) Open(h *Host) (files []*os.File, err error) {
	files = make([]*os.File, 0, len(b.files))
	defer func() {
		if err != nil {
			for _, f := range files {
				f.Close()
			}
			files = nil
		}
	}()
	for _, f := range b.files {
		o, err := f.open(h)
		if err != nil {
			return files, err
		}
		files = append(files, o)
	}
	return files, nil
}
