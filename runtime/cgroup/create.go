package cgroup

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"golang.org/x/sys/unix"
)

// needDelegation tells an ordinary user why there are no limits.
const needDelegation = "cgroup limits for an ordinary user need cgroup v2 delegation (a systemd user session, or Delegate=yes on its unit)"

// Create makes the directories and sets all limits; on failure whatever it made
// is removed again. A cgroup that exists is taken only when it is empty and not
// frozen; it is then not removed on failure, but is by Remove.
//
// pid is for the systemd driver alone: the process that the scope starts with.
// With the cgroupfs driver the first process joins through JoinFDs.
//
// An ordinary user who may not make cgroups gets none when no limit asks for
// one (Skipped then says why), else an error that names the limit.
func (c *Cgroup) Create(ctx context.Context, pid int) (err error) {
	if c.none != "" {
		return nil
	}
	if c.scope != nil {
		if err := c.startScope(ctx, pid); err != nil {
			return err
		}
		defer func() {
			if err != nil {
				err = errors.Join(err, c.scope.Stop(context.WithoutCancel(ctx)))
			}
		}()
	}
	var made []place
	defer func() {
		if err == nil && c.none == "" {
			return
		}
		for i := len(made) - 1; i >= 0; i-- {
			_ = made[i].h.rmdir(made[i].rel)
		}
	}()
	for i := range c.places {
		p := &c.places[i]
		new, err := c.makeDirs(p)
		made = append(made, new...)
		if err != nil {
			return c.refuse(p, err)
		}
	}
	if c.user && c.scope == nil && len(c.places) > 0 {
		if err := c.mayJoin(); err != nil {
			return c.refuse(c.v2(), err)
		}
	}
	if _, err := perform(c.writes); err != nil {
		return c.explainUser(err)
	}
	if err := c.rules.apply(len(made) < len(c.places)); err != nil {
		return err
	}
	return c.delegate(c.owner)
}

// refuse turns a directory that an ordinary user may not make into "no cgroup"
// when nothing was asked for.
func (c *Cgroup) refuse(p *place, err error) error {
	denied := errors.Is(err, unix.EACCES) || errors.Is(err, unix.EPERM) || errors.Is(err, unix.EROFS)
	if !c.user || !denied {
		return err
	}
	if c.limits != "" {
		return fmt.Errorf("%s: %s: %w", c.limits, needDelegation, err)
	}
	c.none = err.Error()
	return nil
}

// explainUser adds the usual cause to an ordinary user's failed write.
func (c *Cgroup) explainUser(err error) error {
	if c.user && (errors.Is(err, unix.EACCES) || errors.Is(err, unix.EPERM) || errors.Is(err, unix.ENOENT)) {
		return fmt.Errorf("%w; %s", err, needDelegation)
	}
	return err
}

// makeDirs makes the directory of p and prepares it for processes. It returns
// what it made, also with an error, parents first.
func (c *Cgroup) makeDirs(p *place) ([]place, error) {
	made, existed, err := p.mkdirAll()
	if err != nil {
		return made, err
	}
	if existed && c.scope == nil {
		if err := p.mustBeIdle(); err != nil {
			return made, err
		}
	}
	switch {
	case p.h == c.l.v2:
		err = c.enable(p, c.writes)
	case hasController(p.h, "cpuset"):
		err = inheritCpuset(p, made)
	}
	return made, err
}

// mkdirAll makes rel and the missing directories above it. The usual case, an
// existing parent, is one mkdirat(2).
func (p *place) mkdirAll() (made []place, existed bool, err error) {
	switch err := p.h.mkdir(p.rel); {
	case err == nil:
		return []place{*p}, false, nil
	case errors.Is(err, unix.EEXIST):
		return nil, true, nil
	case !errors.Is(err, unix.ENOENT):
		return nil, false, fmt.Errorf("mkdir %s/%s: %w", p.h.mount, p.rel, err)
	}
	for i := 0; i <= len(p.rel); i++ {
		if i < len(p.rel) && p.rel[i] != '/' {
			continue
		}
		switch err := p.h.mkdir(p.rel[:i]); {
		case err == nil:
			made = append(made, place{p.h, p.rel[:i]})
		case !errors.Is(err, unix.EEXIST):
			return made, false, fmt.Errorf("mkdir %s/%s: %w", p.h.mount, p.rel[:i], err)
		}
	}
	return made, false, nil
}

// mkdir makes one directory. The parent is opened first unless it is the mount
// itself, as mkdirat(2) knows no RESOLVE_ flags.
func (h *hierarchy) mkdir(rel string) error {
	dir, name, done, err := h.above(rel)
	if err != nil {
		return err
	}
	defer done()
	for {
		if err := unix.Mkdirat(dir, name, 0o755); err != unix.EINTR {
			return err
		}
	}
}

// rmdir removes one directory.
func (h *hierarchy) rmdir(rel string) error {
	dir, name, done, err := h.above(rel)
	if err != nil {
		return err
	}
	defer done()
	for {
		if err := unix.Unlinkat(dir, name, unix.AT_REMOVEDIR); err != unix.EINTR {
			return err
		}
	}
}

// above opens the directory that holds rel.
func (h *hierarchy) above(rel string) (dir int, name string, done func(), err error) {
	i := strings.LastIndexByte(rel, '/')
	if i < 0 {
		return h.fd, rel, func() {}, nil
	}
	fd, err := h.openAt(rel[:i], unix.O_PATH|unix.O_DIRECTORY)
	if err != nil {
		return -1, "", nil, err
	}
	return fd, rel[i+1:], func() { unix.Close(fd) }, nil
}

// mustBeIdle refuses a cgroup that somebody uses.
func (p *place) mustBeIdle() error {
	pids, err := p.h.pids(p.rel, true)
	if err != nil {
		return fmt.Errorf("cgroup %s/%s exists: %w", p.h.mount, p.rel, err)
	}
	if len(pids) > 0 {
		return fmt.Errorf("cgroup %s/%s already holds %d processes (of another container?)", p.h.mount, p.rel, len(pids))
	}
	if frozen, err := p.frozen(); err == nil && frozen {
		return fmt.Errorf("cgroup %s/%s exists and is frozen", p.h.mount, p.rel)
	}
	return nil
}

// inheritCpuset fills cpus and mems of new v1 cpusets, which start out empty
// and then take no process (cpusets.rst), from the parent. Directories that
// somebody else left empty are filled as well.
func inheritCpuset(p *place, made []place) error {
	todo := made
	if len(todo) == 0 {
		todo = []place{*p}
	}
	for _, file := range []string{"cpuset.cpus", "cpuset.mems"} {
		v := ""
		for _, d := range todo {
			now, err := "", error(nil)
			if len(made) == 0 {
				now, err = d.h.readString(d.rel, file)
			}
			if err == nil && now == "" && v == "" {
				v, err = parentSet(d.h, parent(d.rel), file)
			}
			if err == nil && now == "" {
				_, err = d.h.write(d.rel, file, v)
			}
			if err != nil {
				return fmt.Errorf("inherit %s of %s/%s: %w", file, d.h.mount, d.rel, err)
			}
		}
	}
	return nil
}

// parentSet reads the parent's cpuset file and fills the parent itself first if
// it is empty.
func parentSet(h *hierarchy, rel, file string) (string, error) {
	v, err := h.readString(rel, file)
	if err != nil || v != "" || rel == "" {
		return v, err
	}
	if v, err = parentSet(h, parent(rel), file); err != nil {
		return "", err
	}
	_, err = h.write(rel, file, v)
	return v, err
}
