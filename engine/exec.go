package engine

import (
	"cmp"
	"context"
	"errors"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"berth/base/fault"
	"berth/base/ids"
	"berth/container"
	"berth/engine/apparmor"
	"berth/monitor"
	"berth/runtime"
)

// ExecRequest is one more process in a running container.
type ExecRequest struct {
	Container  string
	Args       []string
	Env        []string // KEY=value
	User       string   // "" for the container's
	WorkDir    string   // "" for the container's
	Terminal   bool
	Stdin      bool
	Detach     bool
	Privileged bool
	Rows, Cols uint16 // the terminal's first size, 0 unknown
	merged     bool   // standard error goes where standard output does
}

// Session is a process that exec has started.
type Session struct {
	ID      string
	Conn    *monitor.Conn
	Streams *monitor.Streams // nil with a terminal
	Console *os.File         // the terminal's master, nil without one
	Watch   *monitor.Watch
	ended   func(code int) // tells it
}

// Wait waits for the end of the session.
func (s *Session) Wait(ctx context.Context) (*monitor.Exit, error) {
	exit, err := s.Watch.Wait(ctx)
	if err == nil {
		s.ended(exit.Code)
	}
	return exit, err
}

// Close leaves the session; the process goes on.
func (s *Session) Close() {
	if s.Streams != nil {
		s.Streams.Close()
	}
	if s.Console != nil {
		s.Console.Close()
	}
	if s.Watch != nil {
		s.Watch.Close()
	}
	s.Conn.Close()
}

// Exec starts one more process in a running container. It is the monitor's
// child, so it outlives the caller.
func Exec(ctx context.Context, e *Engine, r ExecRequest) (_ *Session, err error) {
	sum, err := e.Containers.Summary(ctx, r.Container)
	if err != nil {
		return nil, err
	}
	facts, err := e.facts(ctx, sum.ID)
	if err != nil {
		return nil, err
	}
	if err := enterable(r.Container, sum.ID, facts); err != nil {
		return nil, err
	}
	if facts.Started.AppArmor == apparmor.Default {
		if err := e.appArmor().Check(ctx); err != nil {
			return nil, err
		}
	}
	s := &Session{ID: string(ids.New())}
	if s.Conn, err = monitor.Dial(e.Containers.RunDir(sum.ID)); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			s.Close()
		}
	}()
	e.tellOfContainer(sum, "exec_create: "+strings.Join(r.Args, " "), map[string]string{"execID": s.ID})
	if err := spawn(ctx, e, sum, &r, s, facts.Started.Range); err != nil {
		return nil, metChange(ctx, e, r.Container, sum.ID, err)
	}
	e.tellOfContainer(sum, "exec_start: "+strings.Join(r.Args, " "), map[string]string{"execID": s.ID})
	s.ended = func(code int) {
		e.tellOfContainer(sum, "exec_die", map[string]string{"execID": s.ID, "exitCode": strconv.Itoa(code)})
	}
	return s, nil
}

// enterable refuses a container, called name, that takes no further process, in
// docker's words.
func enterable(name string, id container.ID, facts *container.Facts) error {
	switch facts.State() {
	case container.StateRunning:
		return nil
	case container.StatePaused:
		return fault.New(fault.Conflict, "Container %s is paused, unpause the container before exec", name)
	case container.StateRestarting:
		return fault.New(fault.Conflict, "Container %s is restarting, wait until the container is running", id)
	}
	return fault.New(fault.Conflict, "Container %s is not running", id)
}

// metChange words an error of an exec whose container was paused or ended under
// it: no lock is held meanwhile.
func metChange(ctx context.Context, e *Engine, name string, id container.ID, err error) error {
	facts, failed := e.Containers.Facts(ctx, id)
	if fault.Is(failed, fault.NotFound) {
		return failed
	}
	if failed != nil {
		return err
	}
	if changed := enterable(name, id, facts); changed != nil {
		return changed
	}
	if !facts.Alive || errors.Is(err, runtime.ErrStopped) { // its monitor is about to say how it ended
		return fault.New(fault.Conflict, "Container %s is not running", id)
	}
	return err
}

func spawn(ctx context.Context, e *Engine, sum *container.Summary, r *ExecRequest, s *Session, ids *container.Range) error {
	req := runtime.ExecRequest{
		ID: string(sum.ID), Parent: s.Conn, Change: func(p *specs.Process) error { return execProcess(p, r) },
		Account: &runtime.Account{User: cmp.Or(r.User, sum.User)},
	}
	if r.User == "" {
		req.Account.Groups = sum.Groups
	}
	var drain []*os.File
	if !r.Terminal {
		asked := [3]bool{r.Stdin && !r.Detach, true, !r.merged}
		uid, gid := hostRoot(ids)
		label, err := labeller(ctx, e, sum.ID)
		if err != nil {
			return err
		}
		theirs, ours, err := monitor.Pipes(asked, uid, gid, e.Containers.RunDir(sum.ID), label)
		if err != nil {
			return err
		}
		defer closeFiles(theirs[:])
		req.Stdio, s.Streams = theirs, ours
		if drain = []*os.File{ours.Stdout, ours.Stderr}; r.merged {
			theirs[2].Close()
			theirs[2], drain = theirs[1], drain[:1]
		}
	}
	p, err := e.Runtime.Spawn(ctx, req)
	if err != nil {
		return err
	}
	if r.Terminal {
		s.Console = p.Console
		drain = []*os.File{p.Console}
	}
	if err := s.Conn.Session(s.ID, p.PID, r.Terminal, drain...); err != nil {
		return err
	}
	s.Watch, err = s.Conn.Watch(s.ID, false)
	return err
}

// execProcess makes of the container's own process the one to run.
func execProcess(p *specs.Process, r *ExecRequest) error {
	p.Args, p.Terminal = r.Args, r.Terminal
	p.ConsoleSize = nil
	if r.Rows > 0 && r.Cols > 0 {
		p.ConsoleSize = &specs.Box{Height: uint(r.Rows), Width: uint(r.Cols)}
	}
	if r.WorkDir != "" {
		if !path.IsAbs(r.WorkDir) {
			return fault.New(fault.Invalid, "the working directory '%s' is invalid, it needs to be an absolute path", r.WorkDir)
		}
		p.Cwd = r.WorkDir
	}
	hasTerm := func(kv string) bool { return strings.HasPrefix(kv, "TERM=") }
	if !r.Terminal {
		p.Env = slices.DeleteFunc(slices.Clone(p.Env), func(kv string) bool { return kv == "TERM=xterm" })
	} else if !slices.ContainsFunc(p.Env, hasTerm) {
		p.Env = append(slices.Clip(p.Env), "TERM=xterm")
	}
	for _, kv := range r.Env {
		name, _, _ := strings.Cut(kv, "=")
		p.Env = slices.DeleteFunc(slices.Clone(p.Env), func(have string) bool { return strings.HasPrefix(have, name+"=") })
		p.Env = append(p.Env, kv)
	}
	if r.Privileged {
		all := runtime.Capabilities()
		p.Capabilities = &specs.LinuxCapabilities{Bounding: all, Effective: all, Permitted: all}
		p.NoNewPrivileges = false
	}
	return nil
}
