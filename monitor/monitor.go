// Package monitor is the engine's side of the process that stands beside one
// container: it starts monitors, speaks with them, and reads what they keep.
//
//	engine                              monitor                         container
//	  Start ───────────────────────────▶ own session, own cgroup
//	  Stdio: FIFOs in the run folder      opens their other ends
//	  Prepare, Clone, Spoken ───────────▶ parent of ────────────────────▶ first process
//	  Adopt ────────────────────────────▶ keeps it; log, clients
//	  Attach, Watch, Resize, Session ───▶
//	                                      reaps it, exit.json, watchers
//	  `berth` by its pinned path ◀─────── what follows; its answer on stdout:
//	                                      "end" or "again MS"
//
// A Conn is the runtime's parent for the processes that it makes (see
// runtime.Parent). What is not adopted when its Conn ends is killed.
//
// The monitor's own half is package serve, in the helper; what they say is
// package wire. The engine decides all: a monitor copies bytes, keeps time and
// starts what it was told to. Row 4.
package monitor

import (
	"os"
	"time"

	"berth/monitor/wire"
)

// Config says what one monitor is to do. It is given once.
type Config struct {
	ID  string
	Dir string // the container's run folder: absolute, made, closed to others

	// Terminal: the first process has one, its master comes with Adopt. Else,
	// unless Passthrough, its streams are FIFOs in Dir, see Stdio.
	Terminal    bool
	Passthrough bool // the streams are none of the monitor's business
	Stdin       bool // standard input is open, else /dev/null
	StdinOnce   bool // and ends when the first client's does

	Log   Log
	Words Words

	// OOMScoreAdj is the monitor's own; what it may not set it leaves.
	OOMScoreAdj int

	// Lost, if set, is the running first process of a monitor that died: the new
	// one takes over its streams. Its exit code is known if the kernel tells it to
	// others than the parent: always since Linux 6.15.
	Lost *Process
	// AgainIn, if set, is when a monitor without a first process has Words.Again
	// make one: the rest of a delay in which its predecessor died.
	AgainIn time.Duration
	// Timeout, if set, is how long a first process may live, from Adopt: then it is
	// killed, and its exit code is 255. Left is what the lost one has of it.
	Timeout, Left time.Duration
}

// Process names one process of this boot.
type Process struct {
	PID       int
	StartTime uint64 // proc_pid_stat(5)
}

// Log says where the output of the first process is kept.
type Log struct {
	Driver   string // json-file, local; none and what the monitor does not write: ""
	Path     string
	MaxSize  int64 // bytes; 0: no limit, no rotation
	MaxFile  int   // files in all
	Compress bool
	Attrs    string // a JSON object for each line, "" none
	// Send is a word of the engine's like those of Words, which reads Head and the
	// entries, in the form of the driver local, from standard input and sends them
	// elsewhere. Path may be "" then. The container waits for it while it is slow.
	Send []string
	Head string // see LogHead
}

// Words are programs that the monitor starts: each a complete argv whose first
// element is the pinned path, a file that only root, or the monitor's user, may
// write to.
//
// Their answer is the last line of what they print: "end", or "again MS" to be
// asked again after so many milliseconds; anything else is "end".
type Words struct {
	Exited   []string // after the first process has ended; "again MS": Again runs then
	Again    []string // starts the container again through this monitor
	Health   []string // runs one health check
	Compress []string // reads a log on stdin, writes it compressed on stdout
	Beside   []string // after what Beside watches was lost; "again MS" if it could not be helped
	Relay    []string // after what Relay watches was lost, or became readable; the same
	// Env is their whole environment.
	Env []string
	// HealthAfter is the time from Adopt to the first Health.
	HealthAfter time.Duration
}

// Place is where a new monitor or sibling lives: entered before it runs.
type Place struct {
	Tasks []*os.File // v1 `tasks` files
	Dir   *os.File   // a v2 directory
	Net   *os.File   // a network namespace; nil: the caller's
}

// Exit is how a process ended.
type Exit = wire.Exit

// Status is what a monitor says of itself.
type Status = wire.Status

func (c *Config) wire() *wire.Config {
	m := &wire.Config{
		Version: wire.Version, ID: c.ID, Dir: c.Dir,
		Stdin: c.Stdin, StdinOnce: c.StdinOnce, Terminal: c.Terminal, Passthrough: c.Passthrough,
		Log:    wire.Log(c.Log),
		Exited: c.Words.Exited, Again: c.Words.Again, Health: c.Words.Health, Compress: c.Words.Compress,
		Env: c.Words.Env, HealthAfter: uint64(c.Words.HealthAfter.Milliseconds()),
		OOMScoreAdj: c.OOMScoreAdj, ChildOOMScoreAdj: ownOOMScoreAdj(),
	}
	m.Beside = wire.Beside{Names: c.Words.Beside, Relay: c.Words.Relay}
	if c.AgainIn > 0 {
		m.AgainIn = uint64(max(c.AgainIn.Milliseconds(), 1))
	}
	if c.Timeout > 0 {
		m.Life = wire.Life{Whole: uint64(max(c.Timeout.Milliseconds(), 1)), Left: uint64(max(c.Left.Milliseconds(), 1))}
	}
	if c.Lost != nil {
		m.Lost = wire.Lost{PID: c.Lost.PID, Start: c.Lost.StartTime}
	}
	return m
}
