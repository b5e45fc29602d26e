package engine

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"berth/base/fault"
	"berth/container"
	"berth/monitor"
	"berth/runtime"
	"berth/sys/proc"
)

// dialMonitor connects to the monitor of a running container; one that died is
// replaced.
func dialMonitor(ctx context.Context, e *Engine, id container.ID) (*monitor.Conn, error) {
	conn, err := monitor.Dial(e.Containers.RunDir(id))
	if !fault.Is(err, fault.NotFound) {
		return conn, err
	}
	l, err := e.Containers.Lock(ctx, id)
	if err != nil {
		return nil, err
	}
	defer l.Unlock()
	facts, err := l.Facts()
	if err != nil {
		return nil, err
	}
	if err := watchAgain(ctx, e, l, facts); err != nil {
		return nil, err
	}
	return monitor.Dial(e.Containers.RunDir(id))
}

// watchAgain starts a new monitor for a first process whose monitor died: what it
// wrote since waits in its pipes.
func watchAgain(ctx context.Context, e *Engine, l *container.Locked, facts *container.Facts) error {
	if !facts.Alive || facts.Started.Monitor.Alive() {
		return nil
	}
	rec, err := l.Record()
	if err != nil {
		return err
	}
	cfg := monitorConfig(e, rec, e.Containers.RunDir(rec.ID))
	cfg.Lost = &monitor.Process{PID: facts.Started.PID, StartTime: facts.Started.StartTime}
	conn, err := startMonitor(ctx, e, cfg)
	if err != nil {
		return fmt.Errorf("replace the monitor of container %s: %w", rec.Name, err)
	}
	defer conn.Close()
	if _, err := conn.Status(); err != nil { // it has its configuration, or says what is wrong
		return fmt.Errorf("replace the monitor of container %s: %w", rec.Name, err)
	}
	own, err := identify(conn)
	if err != nil {
		return err
	}
	return l.WatchedBy(own)
}

// startMonitor starts a monitor in the cgroup of all monitors.
func startMonitor(ctx context.Context, e *Engine, cfg monitor.Config) (*monitor.Conn, error) {
	helper, err := runtime.Helper()
	if err != nil {
		return nil, err
	}
	defer helper.Close()
	place, err := runtime.MonitorPlace(ctx, e.Runtime)
	if err != nil {
		return nil, err
	}
	defer place.Close()
	return monitor.Start(helper, cfg, monitor.Place{Tasks: place.Tasks, Dir: place.Dir})
}

// identify names a monitor's process. It is asked only if another verb started it.
func identify(conn *monitor.Conn) (container.Process, error) {
	pid := conn.PID()
	if pid == 0 {
		status, err := conn.Status()
		if err != nil {
			return container.Process{}, err
		}
		pid = status.Monitor
	}
	st, err := proc.ReadStat(pid)
	if err != nil {
		return container.Process{}, fmt.Errorf("look at the monitor: %w", err)
	}
	return container.Process{PID: pid, StartTime: st.StartTime}, nil
}

// dropHalf takes away what a start that was killed before it was written down has
// left: a first process that waits, and its monitor. The monitor of the last run,
// whose word may be at work, is not waited for.
func dropHalf(ctx context.Context, e *Engine, id container.ID) error {
	dismiss(e.Containers.RunDir(id), 0)
	if _, err := os.Lstat(filepath.Join(e.Runtime.Root, string(id))); err != nil {
		return nil
	}
	return e.Runtime.Delete(ctx, string(id), true)
}
