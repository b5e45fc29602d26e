package cgroup

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// JoinFDs returns descriptors through which a freshly cloned, single-threaded
// child moves itself: it writes "0" to each of v1tasks, and is born in v2dir by
// clone3(2) with CLONE_INTO_CGROUP. The caller closes them.
//
// That way no one takes the write side of cgroup_threadgroup_rwsem: its first
// use after a pause waits for an RCU grace period, 7–15 ms measured, where a
// task's write of its own "0" to v1's tasks takes some 10–30 µs. A thread moves
// alone through tasks, which is why the child must not have started others.
//
// v2dir is nil where the machine has no unified hierarchy, and with the systemd
// driver, which has moved the process already. All are nil when Skipped.
func (c *Cgroup) JoinFDs() (v1tasks []*os.File, v2dir *os.File, err error) {
	return c.openAll(c.scope == nil, func(p *place) string { return p.rel })
}

// JoinFDsOf is JoinFDs for the cgroups that process pid of the container is in
// now: an init inside may have moved to a child cgroup, and on v2 the
// container's own then no longer takes processes (clone3 says EBUSY). Errors:
// pid is not inside this cgroup.
func (c *Cgroup) JoinFDsOf(pid int) (v1tasks []*os.File, v2dir *os.File, err error) {
	text, err := readCapped("/proc/" + strconv.Itoa(pid) + "/cgroup")
	if err != nil {
		return nil, nil, err
	}
	where, err := parseProcCgroup(text)
	if err != nil {
		return nil, nil, err
	}
	outside := ""
	v1tasks, v2dir, err = c.openAll(true, func(p *place) string {
		key := ""
		if p.h != c.l.v2 {
			key = p.h.controllers[0]
		}
		// Everything above rel is the host's business and may be cut off by a
		// cgroup namespace or a bound mount; what counts is the part from rel.
		full := where[key] + "/"
		if i := strings.Index(full, "/"+p.rel+"/"); i >= 0 {
			return strings.Trim(full[i:], "/")
		}
		outside = p.h.label
		return p.rel
	})
	if err == nil && outside != "" {
		closeFiles(v1tasks, v2dir)
		return nil, nil, fmt.Errorf("join cgroup of process %d: it has left the container's in %s", pid, outside)
	}
	return v1tasks, v2dir, err
}

// openAll opens what the rel of each place names; the unified hierarchy's only
// if asked for.
func (t *tree) openAll(unified bool, rel func(*place) string) (v1tasks []*os.File, v2dir *os.File, err error) {
	defer func() {
		if err != nil {
			closeFiles(v1tasks, v2dir)
			v1tasks, v2dir = nil, nil
		}
	}()
	if t.none != "" {
		return nil, nil, nil
	}
	v1tasks = make([]*os.File, 0, len(t.places))
	for i := range t.places {
		p := &t.places[i]
		r := rel(p)
		if p.h == t.l.v2 {
			if !unified {
				continue
			}
			fd, err := p.h.openAt(r, unix.O_PATH|unix.O_DIRECTORY)
			if err != nil {
				return v1tasks, nil, fmt.Errorf("open cgroup %s/%s: %w", p.h.mount, r, err)
			}
			v2dir = os.NewFile(uintptr(fd), p.h.mount+"/"+r)
			continue
		}
		fd, err := p.h.openAt(join(r, "tasks"), unix.O_WRONLY)
		if err != nil {
			return v1tasks, v2dir, fmt.Errorf("open cgroup %s/%s/tasks: %w", p.h.mount, r, err)
		}
		v1tasks = append(v1tasks, os.NewFile(uintptr(fd), p.h.mount+"/"+r+"/tasks"))
	}
	return v1tasks, v2dir, nil
}

func closeFiles(fs []*os.File, f *os.File) {
	for _, g := range fs {
		g.Close()
	}
	if f != nil {
		f.Close()
	}
}

const (
	depthCap    = 64       // nested cgroups that are followed
	childrenCap = 1 << 16  // of one cgroup
	procsCap    = 64 << 20 // bytes of one cgroup.procs
)

// PIDs returns the host's numbers of the processes inside, with recursive also
// those of nested cgroups. The list may be out of date when it arrives.
func (c *Cgroup) PIDs(recursive bool) ([]int, error) { return c.list(recursive) }

func (t *tree) list(recursive bool) ([]int, error) {
	p := t.census()
	if p == nil {
		return nil, nil
	}
	pids, err := p.h.pids(p.rel, recursive)
	if err != nil {
		return nil, fmt.Errorf("list processes of cgroup %s/%s: %w", p.h.mount, p.rel, err)
	}
	return pids, nil
}

// census is the place whose processes are all of the container's: the unified
// one, else a v1 hierarchy that every runtime uses.
func (t *tree) census() *place {
	if p := t.v2(); p != nil {
		return p
	}
	for _, name := range []string{"devices", "freezer", "pids", "memory"} {
		if p := t.at(name); p != nil {
			return p
		}
	}
	if len(t.places) > 0 {
		return &t.places[0]
	}
	return nil
}

// pids walks rel. A nested cgroup that vanishes meanwhile is no error, nor is
// a threaded one, whose processes its domain lists.
func (h *hierarchy) pids(rel string, recursive bool) ([]int, error) {
	var out []int
	err := h.walk(rel, recursive, 0, func(rel string) error {
		b, err := h.read(rel, "cgroup.procs", procsCap)
		if errors.Is(err, unix.EOPNOTSUPP) {
			return nil
		}
		if err != nil {
			return err
		}
		for line := range bytes.Lines(b) {
			// 0 is a process of an outer pid namespace.
			if n, err := strconv.Atoi(string(bytes.TrimSpace(line))); err == nil && n > 0 {
				out = append(out, n)
			}
		}
		return nil
	})
	return out, err
}

// walk calls f for rel and, with recursive, for all below, parents first.
func (h *hierarchy) walk(rel string, recursive bool, depth int, f func(string) error) error {
	err := f(rel)
	if gone(err) && depth > 0 {
		return nil
	}
	if err != nil || !recursive {
		return err
	}
	if depth >= depthCap {
		return fmt.Errorf("more than %d nested cgroups", depthCap)
	}
	names, err := h.subdirs(rel, childrenCap)
	if gone(err) && depth > 0 {
		return nil
	}
	if err != nil {
		return err
	}
	for _, name := range names {
		if err := h.walk(join(rel, name), true, depth+1, f); err != nil {
			return err
		}
	}
	return nil
}

// gone says that a cgroup was removed: before the open, or after.
func gone(err error) bool {
	return errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENODEV)
}
