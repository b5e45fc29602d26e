package cgroup

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// enable gives the v2 directory all controllers that the machine offers, by
// cgroup.subtree_control of every directory above it (cgroup-v2.rst, "Enabling
// and Disabling"). One read tells when that is so already. A controller that
// cannot be had is an error only if a limit needs it.
func (t *tree) enable(p *place, ws []write) error {
	want := t.l.unified()
	if len(want) == 0 {
		return nil
	}
	missing, err := missingIn(p, want)
	if err != nil || len(missing) == 0 {
		return err
	}
	var cause error
	for _, rel := range ancestors(p.rel) {
		if err := enableIn(p.h, rel, missing); err != nil && cause == nil {
			cause = err
		}
	}
	if missing, err = missingIn(p, want); err != nil {
		return err
	}
	for i := range ws {
		if w := &ws[i]; w.p == p && slices.Contains(missing, w.ctrl) {
			return fmt.Errorf("%s: the cgroup v2 controller %s cannot be had in %s/%s: %w", w.field, w.ctrl, p.h.mount, p.rel, orUnavailable(cause))
		}
	}
	return nil
}

// ancestors lists what lies above rel, the mount itself ("") first.
func ancestors(rel string) []string {
	out := []string{""}
	for i := range len(rel) {
		if rel[i] == '/' {
			out = append(out, rel[:i])
		}
	}
	return out
}

func orUnavailable(err error) error {
	if err == nil {
		return errNotAvailable
	}
	return err
}

// missingIn returns which of want the directory does not have.
func missingIn(p *place, want []string) ([]string, error) {
	b, err := p.h.read(p.rel, "cgroup.controllers", 4096)
	if err != nil {
		return nil, fmt.Errorf("read %s/%s/cgroup.controllers: %w", p.h.mount, p.rel, err)
	}
	have := strings.Fields(string(b))
	var out []string
	for _, w := range want {
		if !slices.Contains(have, w) {
			out = append(out, w)
		}
	}
	return out, nil
}

// enableIn switches controllers on for the children of rel: all at once, and
// when that fails one by one, as one bad one spoils the whole line. Not so where
// the directory itself is the obstacle: threaded controllers alone could be had
// there, but would turn it into a threaded domain whose children take no process.
func enableIn(h *hierarchy, rel string, names []string) error {
	now, err := h.readString(rel, "cgroup.subtree_control")
	if err != nil {
		return fmt.Errorf("read %s/%s: %w", h.mount, join(rel, "cgroup.subtree_control"), err)
	}
	have := strings.Fields(now)
	var need []string
	for _, n := range names {
		if !slices.Contains(have, n) {
			need = append(need, "+"+n)
		}
	}
	if len(need) == 0 {
		return nil
	}
	_, err = h.write(rel, "cgroup.subtree_control", strings.Join(need, " "))
	switch {
	case err == nil:
		return nil
	case errors.Is(err, unix.EBUSY), errors.Is(err, unix.EOPNOTSUPP):
		return explainEnable(h, rel, strings.Join(need, " "), err)
	}
	var first error
	for _, n := range need {
		if _, err := h.write(rel, "cgroup.subtree_control", n); err != nil && first == nil {
			first = explainEnable(h, rel, n, err)
		}
	}
	return first
}

// explainEnable says in one line why the kernel refused.
func explainEnable(h *hierarchy, rel, name string, err error) error {
	why := ""
	switch {
	case errors.Is(err, unix.EBUSY):
		why = " (a cgroup with processes of its own cannot control children; choose a cgroupsPath elsewhere)"
	case errors.Is(err, unix.EOPNOTSUPP):
		why = " (the cgroup is threaded or its type is \"domain invalid\", where domain controllers do not work)"
	case errors.Is(err, unix.ENOENT):
		why = " (the parent does not hand it on)"
	case errors.Is(err, unix.EACCES), errors.Is(err, unix.EPERM):
		why = " (not delegated)"
	}
	return fmt.Errorf("write %s to %s/%s: %w%s", name, h.mount, join(rel, "cgroup.subtree_control"), err, why)
}

// mayJoin checks that an ordinary user may move a process from the own cgroup
// to the container's: the kernel wants write access to cgroup.procs of their
// common ancestor (cgroup-v2.rst, "Delegation Containment").
func (t *tree) mayJoin() error {
	p := t.v2()
	if p == nil {
		return nil
	}
	own, err := t.l.ownPath(p.h)
	if err != nil {
		return nil // the join itself will tell
	}
	top := commonAncestor(own, p.rel)
	fd, err := p.h.openAt(join(top, "cgroup.procs"), unix.O_WRONLY)
	if err != nil {
		return fmt.Errorf("move a process from cgroup /%s to /%s: write access to /%s: %w", own, p.rel, join(top, "cgroup.procs"), err)
	}
	unix.Close(fd)
	return nil
}

func commonAncestor(a, b string) string {
	as, bs := strings.Split(a, "/"), strings.Split(b, "/")
	n := 0
	for n < len(as) && n < len(bs) && as[n] == bs[n] {
		n++
	}
	return strings.Join(as[:n], "/")
}
