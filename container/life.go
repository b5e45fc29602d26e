package container

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"berth/base/atomicfile"
	"berth/base/fault"
	"berth/sys/proc"
)

// life is the file life.json of this boot and its copy last.json, which tells
// after a reboot what was. The exit in it was settled: exit.json is the monitor's.
type life struct {
	Version    int         `json:"version"`
	Started    *Started    `json:"started,omitempty"`
	Before     *Started    `json:"before,omitempty"` // the run before, for a start that fails
	Exit       *Exit       `json:"exit,omitempty"`
	Paused     bool        `json:"paused,omitempty"`
	Restarting *Restarting `json:"restarting,omitempty"`
	Stopped    bool        `json:"stopped,omitempty"`
	Shutdown   bool        `json:"shutdown,omitempty"` // the machine's shutdown ended it: the restart policy rests until the next boot
	Restarts   int         `json:"restarts,omitempty"`
	// Delay is the last one of the restart policy.
	Delay    time.Duration `json:"delay,omitempty"`
	Removing bool          `json:"removing,omitempty"`
	// RemovingVolumes: with its anonymous volumes.
	RemovingVolumes bool `json:"removingVolumes,omitempty"`
	// PausedBy is who thaws it again, nil for a person.
	PausedBy *Process `json:"pausedBy,omitempty"`
	// HeldBy is who starts it again after its end: with --rm too it stays till then.
	HeldBy *Process    `json:"heldBy,omitempty"`
	Health *HealthFact `json:"health,omitempty"`
}

// readLife reads what is known of a container's runs: this boot's, else the last's.
func (s *disk) readLife(id ID) (*life, error) {
	var f life
	err := readJSON(filepath.Join(s.RunDir(id), lifeFile), maxFacts, &f)
	if err == nil {
		return &f, nil
	}
	if !gone(err) {
		return nil, err
	}
	err = readJSON(filepath.Join(s.kept(), string(id), lastFile), maxFacts, &f)
	if err != nil {
		// Never started; or torn by a power cut, since nobody waits for it to be
		// on the disk.
		return &life{}, nil
	}
	return &f, nil
}

// write keeps the facts for this boot.
func (l *Locked) write(f *life) error {
	f.Version = recordVersion
	dir := l.s.RunDir(l.ID)
	err := writeJSON(filepath.Join(dir, lifeFile), f)
	if gone(err) {
		if err = os.Mkdir(dir, folderMode); err == nil || os.IsExist(err) {
			err = writeJSON(filepath.Join(dir, lifeFile), f)
		}
	}
	return err
}

// writeBoth keeps the facts for the time after a reboot, too; durably if asked.
func (l *Locked) writeBoth(f *life, opts ...atomicfile.Option) error {
	if err := l.write(f); err != nil {
		return err
	}
	kept := filepath.Join(l.s.kept(), string(l.ID))
	err := writeJSON(filepath.Join(kept, lastFile), f, opts...)
	if gone(err) {
		return nil // a --rm container's
	}
	return err
}

// change reads, changes and writes this boot's facts.
func change(l *Locked, do func(*life)) error {
	f, err := l.s.readLife(l.ID)
	if err != nil {
		return err
	}
	do(f)
	if err := l.write(f); err != nil {
		return fmt.Errorf("note a fact of container %s: %w", l.ID, err)
	}
	return nil
}

// Facts reads what was observed of a container.
func (s *Store) Facts(ctx context.Context, id ID) (*Facts, error) {
	if !s.exists(id) {
		return nil, noSuch(string(id))
	}
	return s.facts(id)
}

func (s *disk) facts(id ID) (*Facts, error) {
	kept, err := s.readLife(id)
	if err != nil {
		return nil, err
	}
	return s.derive(id, kept, nil)
}

// derive looks up what the facts on file do not tell. A list gives what it has
// looked up before, and gets what is new; it does not ask whether a process lives
// that its monitor watches.
func (s *disk) derive(id ID, kept *life, was *looked) (f *Facts, err error) {
	list := was != nil
	if !list {
		was = &looked{}
	}
	f = &Facts{
		Started: kept.Started, Exit: kept.Exit, Paused: kept.Paused, Restarting: kept.Restarting,
		Stopped: kept.Stopped, Restarts: kept.Restarts, Removing: kept.Removing, RemovingVolumes: kept.RemovingVolumes, Health: kept.Health,
	}
	f.Unfinished = f.Started == nil && f.Exit == nil && !was.finished && s.unfinished(id)
	was.finished = !f.Unfinished
	f.ThisBoot = f.Started != nil && f.Started.BootID == s.boot
	if !f.ThisBoot {
		f.Restarting, f.Paused, f.Health = nil, false, nil // nobody of that boot is there to go on with it
	}
	f.Unheld = f.ThisBoot && f.Exit != nil && kept.HeldBy != nil && !kept.HeldBy.alive()
	if !f.ThisBoot || f.Removing || f.Exit != nil && f.Restarting == nil {
		return f, nil
	}
	// Looked at first: a monitor does what it has to before it ends itself.
	f.Watched = f.Started.Monitor.alive()
	f.Orphaned = !f.Watched
	if f.Exit != nil {
		return f, nil
	}
	f.Alive = list && f.Watched && kept.PausedBy == nil || f.Started.Process.alive()
	f.Forgotten = f.Paused && f.Alive && kept.PausedBy != nil && !kept.PausedBy.alive()
	if !was.running || !f.Watched {
		f.Exit, err = s.readExit(id)
		was.running = f.Exit == nil && err == nil
	}
	return f, err
}

// readExit reads what the monitor wrote, nil for nothing.
func (s *disk) readExit(id ID) (*Exit, error) {
	var e Exit
	err := readJSON(filepath.Join(s.RunDir(id), exitFile), maxFacts, &e)
	if gone(err) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return &e, nil
}

// alive reports whether the process is still that one and has not ended.
func (p Process) alive() bool {
	if p.PID <= 0 {
		return false
	}
	st, err := proc.ReadStat(p.PID)
	return err == nil && st.StartTime == p.StartTime && !st.Dead()
}

// Identify names a process of this boot by its pid.
func Identify(pid int) (Process, error) {
	st, err := proc.ReadStat(pid)
	if err != nil {
		return Process{}, err
	}
	return Process{PID: pid, StartTime: st.StartTime}, nil
}

// exitLife is how long an exit is known after the removal.
const exitLife = 5 * time.Minute

// keepExit keeps an exit beyond the container, and drops old ones.
func (s *disk) keepExit(id ID, e Exit) error {
	if err := writeJSON(filepath.Join(s.exits(), string(id)), e); err != nil {
		return err
	}
	s.dropExits()
	return nil
}

// dropExits removes exits that are too old. It looks once a minute at most.
func (s *disk) dropExits() {
	mark := filepath.Join(s.exits(), ".looked")
	now := time.Now()
	if st, err := os.Stat(mark); err == nil && now.Sub(st.ModTime()).Abs() < time.Minute {
		return
	}
	if atomicfile.Write(mark, nil, 0o600) != nil {
		return
	}
	entries, err := os.ReadDir(s.exits())
	if err != nil {
		return
	}
	for _, e := range entries {
		if st, err := e.Info(); err == nil && now.Sub(st.ModTime()) > exitLife {
			_ = os.Remove(filepath.Join(s.exits(), e.Name()))
		}
	}
}

// Ended returns how a container's last run ended, also within five minutes after
// its removal: for wait and attach. NotFound if it has not, or is not known.
func (s *Store) Ended(ctx context.Context, id ID) (Exit, error) {
	if s.exists(id) {
		f, err := s.facts(id)
		if err != nil {
			return Exit{}, err
		}
		if e, ok := f.Ended(); ok {
			return e, nil
		}
		if s.exists(id) { // it was not removed meanwhile
			return Exit{}, fault.New(fault.NotFound, "container %s has not ended", id)
		}
	}
	var e Exit
	path := filepath.Join(s.exits(), string(id))
	if st, err := os.Stat(path); err == nil && time.Since(st.ModTime()) > exitLife {
		return Exit{}, noSuch(string(id))
	}
	if err := readJSON(path, maxFacts, &e); err != nil {
		if gone(err) {
			return Exit{}, noSuch(string(id))
		}
		return Exit{}, err
	}
	return e, nil
}
