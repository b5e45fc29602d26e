package cgroup

import (
	"errors"
	"fmt"
	"strings"

	"golang.org/x/sys/unix"

	"berth/runtime/cgroup/counters"
)

// write is one setting: a file of one controller and what goes into it.
type write struct {
	ctrl  string   // controller, "" for a file that every v2 cgroup has
	file  string   //
	vals  []string // one write(2) each
	field string   // of the bundle
	// or is tried when the kernel has no such file.
	or *write
	// optional: fine when the kernel has no such file.
	optional bool
	// gone: fine when the kernel has the file but no longer supports it.
	gone bool
	// swap: the kernel refuses (EINVAL) a value that contradicts the next
	// write's old one; then the next goes first and this follows it.
	swap bool
	// guard: a file that must hold less than the value, else the write is
	// refused (linux.resources.memory.checkBeforeUpdate).
	guard string
	p     *place
}

// plan prints the write as lines of Plan.
func (w *write) plan() []string {
	var out []string
	for _, v := range w.vals {
		line := "write " + w.p.h.label + ":" + w.file + " " + v
		for o := w.or; o != nil; o = o.or {
			line += " | " + o.file
			if o.vals[0] != v {
				line += " " + o.vals[0]
			}
		}
		if w.optional {
			line += " (if it exists)"
		}
		out = append(out, line)
	}
	return out
}

// perform does the writes in order. With an error, the first touched of them
// may have taken effect.
func perform(ws []write) (touched int, err error) {
	for i := 0; i < len(ws); i++ {
		w := &ws[i]
		err := w.do()
		if errors.Is(err, unix.EINVAL) && w.swap && i+1 < len(ws) {
			if e := ws[i+1].do(); e != nil {
				return i, e
			}
			i++
			err = w.do()
		} else if err != nil && len(w.vals) < 2 {
			return i, err
		}
		if err != nil {
			return i + 1, err
		}
	}
	return len(ws), nil
}

// do performs one write. Errors name the field, the file and the reason.
func (w *write) do() error {
	if w.guard != "" {
		if err := w.checkGuard(); err != nil {
			return err
		}
	}
	n, err := w.p.h.write(w.p.rel, w.file, w.vals...)
	switch {
	case err == nil:
		return nil
	case errors.Is(err, unix.ENOENT) && w.or != nil:
		return w.or.do()
	case errors.Is(err, unix.ENOENT) && w.optional, errors.Is(err, unix.EOPNOTSUPP) && w.gone:
		return nil
	}
	v := ""
	if n < len(w.vals) {
		v = w.vals[n]
	}
	return w.explain(v, err)
}

// checkGuard refuses a limit below what is in use.
func (w *write) checkGuard() error {
	if w.vals[0] == "-1" || w.vals[0] == "max" {
		return nil
	}
	s, err := w.p.h.readString(w.p.rel, w.guard)
	if err != nil {
		return fmt.Errorf("%s: read %s:%s: %w", w.field, w.p.h.label, w.guard, err)
	}
	if counters.ParseUint(s) > counters.ParseUint(w.vals[0]) {
		return fmt.Errorf("%s: %s bytes are in use, more than the new limit %s (checkBeforeUpdate)", w.field, s, w.vals[0])
	}
	return nil
}

// explain makes the one line that a user sees.
func (w *write) explain(value string, err error) error {
	why := ""
	switch {
	case errors.Is(err, unix.ENOENT):
		return fmt.Errorf("%s: this kernel has no %s on cgroup %s: %w", w.field, w.file, w.p.h.label, err)
	case errors.Is(err, unix.EBUSY) && strings.HasPrefix(w.file, "memory."):
		why = " (more is in use than the new limit)"
	case errors.Is(err, unix.EBUSY):
		why = " (processes in it use what the new value takes away)"
	case errors.Is(err, unix.EACCES) && w.ctrl == "cpuset", errors.Is(err, unix.ENOSPC) && w.ctrl == "cpuset":
		why = " (not among those of the parent cgroup)"
	case errors.Is(err, unix.EPERM) && w.ctrl == "devices":
		why = " (the parent cgroup does not allow it)"
	case errors.Is(err, unix.EINVAL) && strings.HasPrefix(w.file, "cpu.cfs_"), errors.Is(err, unix.EINVAL) && w.file == "cpu.max":
		why = " (must be at least 1000 µs and no more than the parent cgroup allows)"
	case errors.Is(err, unix.EINVAL) && strings.HasPrefix(w.file, "cpu.rt_"):
		why = " (more realtime than the parent cgroup has, or none granted to it)"
	case errors.Is(err, unix.ENODEV):
		why = " (no such block device)"
	case errors.Is(err, unix.EOPNOTSUPP):
		why = " (this kernel no longer supports it)"
	}
	return fmt.Errorf("%s: write %.100q to %s:%s: %w%s", w.field, value, w.p.h.label, w.file, err, why)
}
