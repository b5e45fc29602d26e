package engine

import (
	"context"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"berth/base/fault"
	"berth/container"
	"berth/monitor"
)

// StopRequest is stop.
type StopRequest struct {
	Container string
	Signal    string // "" for the container's own
	Timeout   *int   // seconds, -1 for ever; nil for the container's own
	shutdown  bool   // the machine's, not a user's
	again     bool   // it is started again then
}

// defaultStop is how long a container has after its stop signal, in seconds.
const defaultStop = 10

// Stop ends a container: its stop signal, and after the timeout SIGKILL. Of one
// that does not run it does nothing.
func Stop(ctx context.Context, e *Engine, r StopRequest) (container.ID, error) {
	id, err := e.Containers.Find(ctx, r.Container)
	if err != nil {
		return "", err
	}
	return id, stop(ctx, e, id, r)
}

func stop(ctx context.Context, e *Engine, id container.ID, r StopRequest) error {
	s, err := beginStop(ctx, e, id, r)
	if err != nil || s == nil {
		return err
	}
	defer s.Close()
	if err := s.wait(ctx, e); err != nil {
		return err
	}
	return s.settle(ctx, e)
}

// stopping is one stop under way.
type stopping struct {
	rec      *container.Record
	watch    *monitor.Watch // nil without a monitor
	seconds  int            // until it is killed, -1 for ever
	shutdown bool
}

// Close ends the watch.
func (s *stopping) Close() {
	if s.watch != nil {
		s.watch.Close()
	}
}

// beginStop notes that the container is ended and sends its signal. It returns
// nil for one that does not run. The lock is not held while it ends.
func beginStop(ctx context.Context, e *Engine, id container.ID, r StopRequest) (_ *stopping, err error) {
	l, err := e.Containers.Lock(ctx, id)
	if err != nil {
		return nil, err
	}
	defer l.Unlock()
	rec, err := l.Record()
	if err != nil {
		return nil, err
	}
	if _, err := settleLocked(ctx, e, l); err != nil {
		return nil, err
	}
	facts, err := l.Facts()
	if err != nil {
		return nil, err
	}
	note := l.Stopped
	if r.shutdown {
		note = l.Shutdown
	}
	if s := facts.State(); !s.Live() {
		if s == container.StateRestarting {
			return nil, endLocked(ctx, e, l, rec, note)
		}
		return nil, nil
	}
	if err := note(); err != nil {
		return nil, err
	}
	if r.again && rec.Config.Life.Remove {
		self, err := container.Identify(os.Getpid())
		if err == nil {
			err = container.Hold(l, self)
		}
		if err != nil {
			return nil, err
		}
	}
	s := &stopping{rec: rec, seconds: stopTime(rec, &r), shutdown: r.shutdown}
	if s.watch, err = watch(e, id); err != nil {
		return nil, err
	}
	signal := r.Signal
	if signal == "" {
		signal = rec.Resolved.StopSignal
	}
	sig, err := parseSignal(signal, unix.SIGTERM)
	if facts.State() == container.StateInitialized {
		sig = unix.SIGKILL // there is no program yet that could take another
	}
	if err == nil {
		// One that has ended in this moment is what was wanted.
		if err = sendSignal(ctx, e, l, rec, facts, sig); fault.Is(err, fault.Conflict) {
			err = nil
		}
	}
	if err != nil {
		s.Close()
		return nil, err
	}
	return s, nil
}

// stopTime is how long a container has after its stop signal, in seconds.
func stopTime(rec *container.Record, r *StopRequest) int {
	seconds := defaultStop
	for _, t := range []*int{rec.Resolved.StopTimeout, r.Timeout} {
		if t != nil {
			seconds = *t
		}
	}
	if r.shutdown && seconds < 0 {
		return longestStop
	}
	return seconds
}

// wait waits for the end, and kills the container when its time is over.
func (s *stopping) wait(ctx context.Context, e *Engine) error {
	id := s.rec.ID
	if s.seconds < 0 {
		return awaitEnd(ctx, e, id, s.watch)
	}
	grace, cancel := context.WithTimeout(ctx, time.Duration(s.seconds)*time.Second)
	err := awaitEnd(grace, e, id, s.watch)
	over := grace.Err() != nil
	cancel()
	if !over || ctx.Err() != nil {
		return err
	}
	err = Kill(ctx, e, KillRequest{Container: string(id), Signal: "KILL", all: true, shutdown: s.shutdown})
	if err != nil && !fault.Is(err, fault.Conflict) && !fault.Is(err, fault.NotFound) {
		return err
	}
	if s.shutdown {
		ctx, cancel = context.WithTimeout(ctx, afterKill)
		defer cancel()
	}
	return awaitEnd(ctx, e, id, s.watch)
}

// settle does what follows the end.
func (s *stopping) settle(ctx context.Context, e *Engine) error {
	if _, err := Exited(ctx, e, s.rec.ID); err != nil {
		return err
	}
	e.tell(s.rec, "stop", nil)
	return nil
}

// watch registers for the next exit with the container's monitor; nil without
// one.
func watch(e *Engine, id container.ID) (*monitor.Watch, error) {
	conn, err := monitor.Dial(e.Containers.RunDir(id))
	if fault.Is(err, fault.NotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	w, err := conn.Watch("", false)
	if fault.Is(err, fault.Unavailable) { // it has ended since
		return nil, nil
	}
	return w, err
}

// awaitEnd waits for the end of a container's first process. Without a monitor
// it looks at the process itself.
func awaitEnd(ctx context.Context, e *Engine, id container.ID, w *monitor.Watch) error {
	if w != nil {
		_, err := w.Wait(ctx)
		if err == nil || !fault.Is(err, fault.Unavailable) {
			return err
		}
	}
	for {
		facts, err := e.Containers.Facts(ctx, id)
		if fault.Is(err, fault.NotFound) {
			return nil
		}
		if err != nil {
			return err
		}
		switch {
		case !facts.State().Live():
			return nil
		case !facts.Alive: // its monitor is about to say how it ended
			err = waitChange(ctx)
		default:
			err = waitProcess(ctx, facts.Started)
		}
		if err != nil {
			return fmt.Errorf("wait for the end of container %s: %w", id, err)
		}
	}
}
