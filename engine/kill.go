package engine

import (
	"context"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"berth/base/fault"
	"berth/container"
	"berth/sys/pidfd"
)

// KillRequest is kill.
type KillRequest struct {
	Container string
	Signal    string // name with or without SIG, or number; "" is KILL
	Wait      bool   // of KILL: return when the container has ended
	all       bool   // every process
	shutdown  bool   // it is the machine that goes down, not a user who ends it
}

// Kill sends a signal to a container's first process, and waits for its end if it
// is asked to.
func Kill(ctx context.Context, e *Engine, r KillRequest) error {
	if n, err := strconv.Atoi(r.Signal); err == nil && n > lastSignal {
		return fault.New(fault.Invalid, "Cannot kill container: %s: The linux daemon does not support signal %d", r.Container, n)
	}
	sig, err := parseSignal(r.Signal, unix.SIGKILL)
	if err != nil {
		return err
	}
	var ending *stopping
	err = change(ctx, e, r.Container, func(l *container.Locked, rec *container.Record, facts *container.Facts) (err error) {
		if !facts.State().Live() {
			return fault.New(fault.Conflict, "Cannot kill container: %s: Container %s is not running", r.Container, rec.ID)
		}
		if !r.shutdown && isEnd(rec, sig) {
			if err := l.Stopped(); err != nil {
				return err
			}
		}
		if r.all {
			e.tell(rec, "kill", map[string]string{"signal": strconv.Itoa(int(sig))})
			return killAll(ctx, e, rec.ID, facts)
		}
		if r.Wait && sig == unix.SIGKILL {
			ending = &stopping{rec: rec}
			if ending.watch, err = watch(e, rec.ID); err != nil {
				return err
			}
		}
		if err = sendSignal(ctx, e, l, rec, facts, sig); fault.Is(err, fault.Conflict) { // it has just ended
			return fault.New(fault.Conflict, "Cannot kill container: %s: Container %s is not running", r.Container, rec.ID)
		}
		return err
	})
	if ending == nil {
		return err
	}
	defer ending.Close()
	if err != nil {
		return err
	}
	if err := awaitEnd(ctx, e, ending.rec.ID, ending.watch); err != nil {
		return err
	}
	_, err = Exited(ctx, e, ending.rec.ID)
	return err
}

// isEnd reports whether a signal is meant to end the container.
func isEnd(rec *container.Record, sig unix.Signal) bool {
	stops, err := parseSignal(rec.Resolved.StopSignal, unix.SIGTERM)
	return sig == unix.SIGKILL || err == nil && sig == stops
}

// sendSignal signals the first process; a paused container is thawed for one
// that ends it.
func sendSignal(ctx context.Context, e *Engine, l *container.Locked, rec *container.Record, facts *container.Facts, sig unix.Signal) error {
	err := e.Runtime.Kill(ctx, string(rec.ID), sig, false)
	if err != nil {
		return err
	}
	if facts.Paused && isEnd(rec, sig) {
		if err := e.Runtime.Resume(ctx, string(rec.ID)); err != nil {
			return err
		}
		if err := l.Paused(false, nil); err != nil {
			return err
		}
	}
	e.tell(rec, "kill", map[string]string{"signal": strconv.Itoa(int(sig))})
	return nil
}

// killAll ends every process of a container.
func killAll(ctx context.Context, e *Engine, id container.ID, facts *container.Facts) error {
	err := e.Runtime.Kill(ctx, string(id), unix.SIGKILL, true)
	if facts.Paused {
		_ = e.Runtime.Resume(ctx, string(id)) // it may be gone by now
	}
	if fault.Is(err, fault.Conflict) || fault.Is(err, fault.NotFound) {
		return nil
	}
	return err
}

const lastSignal = 64

// parseSignal reads a signal as people type it.
func parseSignal(s string, none unix.Signal) (unix.Signal, error) {
	if s == "" {
		return none, nil
	}
	bad := func() (unix.Signal, error) { return 0, fault.New(fault.Invalid, "Invalid signal: %s", s) }
	if n, err := strconv.Atoi(s); err == nil {
		if n < 1 || n > lastSignal {
			return bad()
		}
		return unix.Signal(n), nil
	}
	name := strings.TrimPrefix(strings.ToUpper(s), "SIG")
	if sig := unix.SignalNum("SIG" + name); sig != 0 {
		return sig, nil
	}
	for prefix, first := range map[string]int{"RTMIN": 34, "RTMAX": 64} { // glibc's, which users count by
		rest, ok := strings.CutPrefix(name, prefix)
		if !ok {
			continue
		}
		n := 0
		if rest != "" {
			var err error
			if n, err = strconv.Atoi(rest); err != nil {
				return bad()
			}
		}
		if n += first; n >= 34 && n <= 64 {
			return unix.Signal(n), nil
		}
	}
	return bad()
}

// waitProcess waits for the end of a container's first process, which is not
// our child.
func waitProcess(ctx context.Context, s *container.Started) error {
	f, err := pidfd.Open(s.PID)
	if fault.Is(err, fault.NotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	defer f.Close()
	for {
		ended, err := pidfd.Wait(f, 200*time.Millisecond)
		if ended || err != nil {
			return err
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
	}
}
