package container

import (
	"fmt"
	"os"
	"path/filepath"
	"time"

	"berth/base/atomicfile"
	"berth/base/fault"
	"berth/container/config"
)

// Prepare makes the run folder for a start and forgets the last run. byUser
// tells that a verb, not the restart policy, starts it. Error: Conflict if it runs.
func (l *Locked) Prepare(byUser bool) (runDir string, err error) {
	f, err := l.s.facts(l.ID)
	if err != nil {
		return "", err
	}
	if st := f.State(); st.Live() || st == StateRemoving {
		return "", fault.New(fault.Conflict, "container %s is %s", l.ID, st)
	}
	runDir = l.s.RunDir(l.ID)
	if err := os.Mkdir(runDir, folderMode); err != nil && !os.IsExist(err) {
		return "", fmt.Errorf("start container %s: %w", l.ID, err)
	}
	now, err := l.s.readLife(l.ID)
	if err != nil {
		return "", err
	}
	// The exit moves into life.json before its file goes: a start that is killed
	// here leaves an ended container.
	now.Exit = f.Exit
	if e, ok := f.Ended(); ok {
		now.Exit = &e
	}
	if byUser {
		now.Restarts, now.Delay, now.Stopped = 0, 0, false
	}
	// Who holds it does so until it runs.
	now.Restarting, now.Paused, now.PausedBy, now.Health, now.Shutdown = nil, false, nil, nil, false
	if err := l.write(now); err != nil {
		return "", err
	}
	if err := removeFile(filepath.Join(runDir, exitFile)); err != nil {
		return "", err
	}
	return runDir, nil
}

// Started writes the fact of a start, before the process may run. Zero BootID
// and At are now's.
func (l *Locked) Started(st Started) error {
	f, err := l.s.readLife(l.ID)
	if err != nil {
		return err
	}
	if st.BootID == "" {
		st.BootID = l.s.boot
	}
	if st.At.IsZero() {
		st.At = time.Now().UTC()
	}
	f.Before, f.Started, f.Exit, f.Restarting, f.Paused, f.PausedBy, f.HeldBy = f.Started, &st, nil, nil, false, nil, nil
	var opts []atomicfile.Option
	if st.Durable && f.Restarts == 0 {
		opts = append(opts, atomicfile.Sync)
	}
	if err := l.writeBoth(f, opts...); err != nil {
		return fmt.Errorf("note the start of container %s: %w", l.ID, err)
	}
	return nil
}

// Runs notes that the program of one that waited runs, before it does.
func (l *Locked) Runs() error {
	f, err := l.s.readLife(l.ID)
	if err != nil {
		return err
	}
	if f.Started == nil {
		return fault.New(fault.Conflict, "container %s was not started", l.ID)
	}
	f.Started.Waits, f.Started.At = false, time.Now().UTC()
	if err := l.writeBoth(f); err != nil {
		return fmt.Errorf("note the start of container %s: %w", l.ID, err)
	}
	return nil
}

// Rewatched notes that another monitor has taken the run over.
func (l *Locked) Rewatched(monitor Process) error {
	f, err := l.s.readLife(l.ID)
	if err != nil {
		return err
	}
	if f.Started == nil {
		return nil
	}
	f.Started.Monitor = monitor
	if err := l.writeBoth(f); err != nil {
		return fmt.Errorf("note the new monitor of container %s: %w", l.ID, err)
	}
	return nil
}

// Rewired notes what the networks have given to a run since it began.
func Rewired(l *Locked, addresses []Address, ports []config.Port) error {
	f, err := l.s.readLife(l.ID)
	if err != nil {
		return err
	}
	if f.Started == nil {
		return fault.New(fault.Conflict, "container %s was not started", l.ID)
	}
	f.Started.Addresses, f.Started.Ports = addresses, ports
	if err := l.writeBoth(f); err != nil {
		return fmt.Errorf("note the networks of container %s: %w", l.ID, err)
	}
	return nil
}

// Failed notes that a start failed after Prepare, with or without Started:
// inspect shows the code (126, 127, 128) and the cause. One that never ran stays
// created, as with Docker.
func (l *Locked) Failed(code int, cause error) error {
	f, err := l.s.readLife(l.ID)
	if err != nil {
		return err
	}
	if f.Started != nil && f.Exit == nil {
		f.Started = f.Before
	}
	f.Before, f.Restarting, f.Paused, f.PausedBy = nil, nil, false, nil
	f.Exit = &Exit{Code: code, Error: cause.Error(), Time: time.Now().UTC()}
	return l.writeBoth(f)
}

// Paused notes that the container is frozen or was thawed: before the one and after
// the other. With by, it is to be thawed when that process has ended.
func (l *Locked) Paused(paused bool, by *Process) error {
	return change(l, func(f *life) { f.Paused, f.PausedBy = paused, by })
}

// Stopped notes that a user ended it, before the signal is sent: the restart
// policy rests. It is durable where a reboot has to know it.
func (l *Locked) Stopped() error {
	f, err := l.s.readLife(l.ID)
	if err != nil {
		return err
	}
	f.Stopped, f.Restarting = true, nil
	var opts []atomicfile.Option
	if rec, err := l.Record(); err == nil && rec.Config.Restart.Policy == config.RestartUnlessStopped {
		opts = append(opts, atomicfile.Sync)
	}
	return l.writeBoth(f, opts...)
}

// Hold notes that by starts it again after its end, before the signal is sent: a
// container with --rm stays till then, as long as by lives.
func Hold(l *Locked, by Process) error {
	return change(l, func(f *life) { f.HeldBy = &by })
}

// Shutdown notes that the machine goes down, before the signal is sent: the
// restart policy rests until the next boot, which asks AtBoot.
func (l *Locked) Shutdown() error {
	f, err := l.s.readLife(l.ID)
	if err != nil {
		return err
	}
	f.Shutdown, f.Restarting = true, nil
	return l.writeBoth(f)
}

// Removing marks the container: its removal has begun, with its anonymous volumes
// or without, and goes on with the next verb if this one dies.
func (l *Locked) Removing(volumes bool) error {
	f, err := l.s.readLife(l.ID)
	if err != nil || !f.remove(volumes) {
		return err
	}
	return l.writeBoth(f)
}

// remove marks the removal, and tells whether it was not marked so already.
func (f *life) remove(volumes bool) (news bool) {
	news = !f.Removing || volumes && !f.RemovingVolumes
	f.Removing, f.RemovingVolumes = true, f.RemovingVolumes || volumes
	return news
}

// Settled is the outcome of a run.
type Settled struct {
	Exit  Exit
	Again *Restarting // nil: it stays ended
	First bool        // this call settled it: the one that writes `die`
	// Record is the container's; nil, and Goes not looked at, for one that was settled
	// before and not asked for passing.
	Record *Record
	// Goes: it is removed now, as one with --rm that nobody holds.
	Goes bool
}

// Settle takes the exit that the monitor wrote, or 255 for one that nobody saw,
// into what is kept, and says whether to start again. With passing, the removal of
// one with --rm is marked along with it, as Removing does. Errors: Conflict while it
// runs or was never started.
func (l *Locked) Settle(passing bool) (*Settled, error) {
	seen, err := l.s.facts(l.ID)
	if err != nil {
		return nil, err
	}
	f, err := l.s.readLife(l.ID)
	if err != nil {
		return nil, err
	}
	if f.Exit != nil && !passing {
		return &Settled{Exit: *f.Exit, Again: f.Restarting}, nil
	}
	rec, err := l.Record()
	if err != nil {
		return nil, err
	}
	goes := rec.Config.Life.Remove && (f.HeldBy == nil || !f.HeldBy.alive())
	if f.Exit != nil {
		return &Settled{Exit: *f.Exit, Again: f.Restarting, Record: rec, Goes: goes && f.Restarting == nil}, nil
	}
	exit, ok := seen.Ended()
	if !ok {
		return nil, fault.New(fault.Conflict, "container %s is %s", l.ID, seen.State())
	}
	if exit.Error == MonitorLost && seen.ThisBoot {
		exit.Time = time.Now().UTC()
	}
	f.Exit, f.Before, f.Paused, f.PausedBy = &exit, nil, false, nil
	out := &Settled{Exit: exit, First: true, Record: rec}
	if restartRule(rec.Config.Restart, exit.Code, f.Stopped, f.Restarts) && !f.Removing && !f.Shutdown {
		f.Delay = backOff(f.Delay, exit.Time.Sub(f.Started.At))
		f.Restarts++
		f.Restarting = &Restarting{At: time.Now().UTC().Add(f.Delay), Delay: f.Delay}
		out.Again = f.Restarting
	}
	if out.Goes = goes && out.Again == nil; out.Goes && passing {
		f.remove(true)
	}
	if err := l.writeBoth(f); err != nil {
		return nil, fmt.Errorf("note the end of container %s: %w", l.ID, err)
	}
	return out, nil
}
