package engine

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"berth/base/fault"
	"berth/container"
)

// healthOutput bounds in bytes what is kept of a healthcheck's output.
const healthOutput = 4096

// HealthDue runs the healthcheck of a container once, keeps its result, and does
// what is to be done about one that is unhealthy. It tells when the next check
// is due; nil if the container does not run any more.
func HealthDue(ctx context.Context, e *Engine, id container.ID) (*Again, error) {
	rec, err := e.Containers.Get(ctx, string(id))
	if fault.Is(err, fault.NotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	h := rec.Resolved.Health
	facts, err := e.Containers.Facts(ctx, id)
	if err != nil || h == nil || !facts.State().Live() {
		return nil, err
	}
	since := func() time.Duration { return time.Since(facts.Started.At) }
	if facts.Paused || facts.Started.Waits {
		return &Again{h.Wait(false, since())}, nil
	}
	now, _, err := checkHealth(ctx, e, rec, facts.Started)
	if fault.Is(err, fault.NotFound) {
		return nil, nil
	}
	if err != nil { // a full run folder: the next check may be kept
		e.warn(err)
		return &Again{h.Wait(false, since())}, nil
	}
	if now.Status == container.HealthUnhealthy {
		if err := onUnhealthy(ctx, e, rec); err != nil && !fault.Is(err, fault.Conflict) {
			return nil, err
		}
	}
	return &Again{h.Wait(now.Status == container.HealthStarting, since())}, nil
}

// HealthRun is podman's healthcheck run: one check out of turn, whose result
// counts like any other.
func HealthRun(ctx context.Context, e *Engine, name string) (healthy bool, err error) {
	rec, err := e.Containers.Get(ctx, name)
	if err != nil {
		return false, err
	}
	if rec.Resolved.Health == nil {
		return false, fault.New(fault.Invalid, "container %s has no defined healthcheck", rec.ID)
	}
	facts, err := e.facts(ctx, rec.ID)
	if err != nil {
		return false, err
	}
	if facts.State() != container.StateRunning {
		return false, fault.New(fault.Conflict, "container %s is not running", rec.ID)
	}
	now, code, err := checkHealth(ctx, e, rec, facts.Started)
	if err == nil && now.Status == container.HealthUnhealthy {
		err = onUnhealthy(ctx, e, rec)
	}
	return code == 0, err
}

// checkHealth runs the check and keeps what came of it.
func checkHealth(ctx context.Context, e *Engine, rec *container.Record, run *container.Started) (container.HealthFact, int, error) {
	r := container.HealthResult{Start: time.Now().UTC()}
	r.Code, r.Output = probe(ctx, e, rec)
	r.End = time.Now().UTC()
	l, err := e.Containers.Lock(ctx, rec.ID)
	if err != nil {
		return container.HealthFact{}, r.Code, err
	}
	defer l.Unlock()
	before, after, ok, err := l.Checked(rec.Resolved.Health, run.At, r)
	if err != nil || !ok {
		return container.HealthFact{}, r.Code, err
	}
	if before.Status != after.Status {
		e.tell(rec, "health_status: "+after.Status, nil)
	}
	return after, r.Code, nil
}

// onUnhealthy does what podman's --health-on-failure says.
func onUnhealthy(ctx context.Context, e *Engine, rec *container.Record) error {
	switch rec.Resolved.Health.OnFailure {
	case "kill":
		return Kill(ctx, e, KillRequest{Container: string(rec.ID)})
	case "stop":
		_, err := Stop(ctx, e, StopRequest{Container: string(rec.ID)})
		return err
	case "restart":
		_, err := Restart(ctx, e, StopRequest{Container: string(rec.ID)})
		return err
	}
	return nil
}

// probe runs the check's command in the container. Where it cannot be run, or
// runs too long, the code is -1 and the output says why.
func probe(ctx context.Context, e *Engine, rec *container.Record) (code int, output string) {
	h := rec.Resolved.Health
	args := h.Test[1:]
	if h.Test[0] == "CMD-SHELL" {
		shell := rec.Resolved.Shell
		if len(shell) == 0 {
			shell = []string{"/bin/sh", "-c"}
		}
		args = append(append([]string{}, shell...), strings.Join(args, " "))
	}
	s, err := Exec(ctx, e, ExecRequest{Container: string(rec.ID), Args: args, merged: true})
	if err != nil {
		return -1, cutOutput(err.Error())
	}
	defer s.Close()
	said := make(chan string, 1)
	go func() { said <- gather(s.Streams.Stdout) }()
	grace, cancel := context.WithTimeout(ctx, h.Limit())
	defer cancel()
	exit, err := s.Wait(grace)
	late := errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil
	if late {
		err = s.Conn.Signal(s.ID, unix.SIGKILL)
		if err == nil || errors.Is(err, unix.ESRCH) {
			_, err = s.Wait(ctx)
		}
	}
	_ = s.Streams.Stdout.SetReadDeadline(time.Now()) // a child of its may have it open
	output = <-said
	switch {
	case late:
		why := fmt.Sprintf("Health check exceeded timeout (%v)", h.Limit())
		if output != "" {
			why += ": " + output
		}
		return -1, why
	case err != nil:
		return -1, cutOutput(err.Error())
	}
	return exit.Code, output
}

// gather reads until the end, or the deadline and what is there then, and keeps
// the beginning.
func gather(f *os.File) string {
	var kept []byte
	more := false
	take := func(b []byte) {
		n := min(len(b), healthOutput-len(kept))
		kept, more = append(kept, b[:n]...), more || n < len(b)
	}
	b := make([]byte, 8<<10)
	for {
		n, err := f.Read(b)
		take(b[:n])
		if err == nil {
			continue
		}
		if !errors.Is(err, io.EOF) {
			takeRest(f, b, take)
		}
		break
	}
	return mark(kept, more)
}

// takeRest reads what a pipe holds without waiting.
func takeRest(f *os.File, b []byte, take func([]byte)) {
	raw, err := f.SyscallConn()
	if err != nil {
		return
	}
	_ = raw.Control(func(fd uintptr) {
		for range 64 { // its writer may be alive
			n, err := unix.Read(int(fd), b)
			if err == unix.EINTR {
				continue
			}
			if err != nil || n <= 0 {
				return
			}
			take(b[:n])
		}
	})
}

func cutOutput(s string) string {
	return mark([]byte(s[:min(len(s), healthOutput)]), len(s) > healthOutput)
}

func mark(kept []byte, more bool) string {
	s := strings.ToValidUTF8(string(kept), "\uFFFD")
	if more {
		s += "..."
	}
	return s
}
