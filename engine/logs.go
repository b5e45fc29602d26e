package engine

import (
	"context"
	"time"

	"berth/base/fault"
	"berth/monitor"
)

// LogsRequest says which lines of a container's log are wanted.
type LogsRequest struct {
	Container    string
	Tail         int // lines, -1 all
	Since, Until time.Time
	Follow       bool // new ones too, until the container has ended
}

// LogLine is one entry of a log.
type LogLine struct {
	*monitor.Line
	Err bool // written to standard error
}

// Logs calls each for the lines of a container's log.
func Logs(ctx context.Context, e *Engine, r LogsRequest, each func(LogLine) error) error {
	rec, err := e.Containers.Get(ctx, r.Container)
	if err != nil {
		return err
	}
	log, kept := e.keptLog(rec)
	if !kept {
		return fault.New(fault.Unsupported, "configured logging driver does not support reading")
	}
	read := monitor.Reading{Tail: r.Tail, Since: r.Since, Until: r.Until}
	facts, err := e.facts(ctx, rec.ID)
	if err != nil {
		return err
	}
	if r.Follow && facts.State().Live() {
		ended := make(chan struct{})
		read.Follow, read.Ended = true, ended
		w, err := watch(e, rec.ID)
		if err != nil {
			return err
		}
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		go func() {
			defer close(ended)
			_ = awaitEnd(ctx, e, rec.ID, w)
			if w != nil {
				w.Close()
			}
		}()
	}
	err = monitor.ReadLog(ctx, log, read, func(l *monitor.Line) error {
		return each(LogLine{Line: l, Err: l.Stream == "stderr"})
	})
	if fault.Is(err, fault.NotFound) { // it never ran
		return nil
	}
	return err
}
