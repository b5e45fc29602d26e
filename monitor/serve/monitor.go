package serve

import (
	"errors"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"berth/monitor/logfile"
	"berth/monitor/wire"
	"berth/sys/oom"
)

// monitor is all that one monitor knows.
type monitor struct {
	loop     *loop
	cfg      *wire.Config // nil before OpConfigure
	dir      int          // the run folder
	listener int
	conns    int
	log      *logfile.Log
	forward  *forward // nil for a log that is sent nowhere
	streams  streams
	family   family
	words    words
	watches  watches
	first    first
	sessions []*session
	held     held
	due      due
	logged   uint64 // bytes of output
	dropped  uint64 // bytes that lossy clients did not get
	// dismissed: the engine wants nothing recorded. ending: nothing follows any
	// more; the monitor goes when its children and clients have.
	dismissed, ending bool
	chunk             [32 << 10]byte // what was just read from the container
}

// due is what comes by itself, nil what does not.
type due struct {
	health *timer // the next check
	again  *timer // the next start
	kill   *timer // the first process's time is up
	trim   *timer
	beside beside // the resolver of names
	relay  beside // of published ports
}

// first is the container's first process.
type first struct {
	run     int // counts the first processes that there were
	pid     int // 0 before Adopt
	pidfd   int // of one that is no child of ours
	running bool
	late    bool // killed because its time was up
	exit    wire.Exit
	oom     []int // files that tell of its OOM kills
	killed  bool  // one was seen
}

func newMonitor(l *loop) *monitor {
	m := &monitor{loop: l, dir: -1, listener: -1}
	m.first.pidfd = -1
	m.family = family{loop: l, kids: map[int]*kid{}, changed: func() { m.tidy(); m.settle() }}
	m.watches.m = m
	m.due.beside = beside{m: m, fd: -1, word: func() []string { return m.cfg.Beside.Names }}
	m.due.relay = beside{m: m, fd: -1, word: func() []string { return m.cfg.Beside.Relay }}
	m.streams = streams{m: m, terminal: noTerminal}
	return m
}

// fault is an error without package fmt.
type fault struct {
	what  string
	cause error
}

func (f *fault) Error() string { return f.what + ": " + f.cause.Error() }
func (f *fault) Unwrap() error { return f.cause }

func errnoOf(err error) int {
	var no syscall.Errno
	if errors.As(err, &no) {
		return int(no)
	}
	return 0
}

// configure takes over the work.
func (m *monitor) configure(cfg *wire.Config) error {
	if m.cfg != nil {
		return unix.EALREADY
	}
	fd, err := unix.Open(cfg.Dir, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return &os.PathError{Op: "open run folder", Path: cfg.Dir, Err: err}
	}
	m.dir = fd
	if cfg.OOMScoreAdj != cfg.ChildOOMScoreAdj {
		oom.TryAdjust(cfg.OOMScoreAdj) // where allowed
	}
	m.words = words{family: &m.family, cfg: cfg, dir: fd}
	pack := func(path string) bool { return m.words.compress(path, m.log.Packed) }
	l := &cfg.Log
	o := logfile.Options{Driver: l.Driver, Path: l.Path, MaxSize: l.MaxSize, MaxFile: l.MaxFile, Compress: l.Compress, Attrs: l.Attrs}
	if len(l.Send) > 0 {
		m.forward = &forward{m: m, fd: -1}
		o.Tee = m.forward.take
	}
	if m.log, err = logfile.Open(o, pack); err != nil {
		return err
	}
	m.cfg = cfg
	m.streams.begin()
	if err := m.listen(); err != nil {
		return err
	}
	if cfg.Lost.PID > 0 {
		return m.takeOver(cfg.Lost.PID, cfg.Lost.Start)
	}
	if cfg.AgainIn > 0 {
		m.obey(true, cfg.AgainIn)
	}
	return nil
}

// prepare opens the streams for a new first process.
func (m *monitor) prepare() error {
	switch {
	case m.first.running:
		return &fault{"prepare a start", unix.EBUSY}
	case m.ending:
		return &fault{"prepare a start", unix.ESHUTDOWN}
	}
	m.loop.stop(m.due.again)
	m.due.again = nil
	m.streams.terminal.close(m.loop)
	return m.streams.open()
}

// tidy gives memory back once things are quiet.
func (m *monitor) tidy() {
	if m.due.trim != nil {
		return
	}
	m.due.trim = m.loop.after(quiet, func() {
		m.due.trim = nil
		m.log.Rest()
		for _, o := range m.streams.out {
			if o != nil {
				o.stream.Rest()
			}
		}
		rest()
		forgetProgram()
	})
}

const quiet = 300 * time.Millisecond

// settle ends the monitor when nothing is left to wait for.
func (m *monitor) settle() {
	if !m.ending || len(m.family.kids) > 0 || m.first.running {
		return
	}
	if m.streams.clients() > 0 {
		return // one still reads what was written
	}
	m.log.Close()
	m.loop.done = true
}

// end is the beginning of the end: nothing follows.
func (m *monitor) end() {
	if m.ending {
		return
	}
	m.ending = true
	m.loop.stop(m.due.health)
	m.loop.stop(m.due.again)
	m.due.relay.release()
	m.held.drop()
	m.due.beside.drop()
	if m.forward != nil {
		m.forward.end()
	}
	if m.listener >= 0 {
		m.unlinkSocket()
		m.loop.close(&m.listener)
	}
	m.settle()
}

// idle reports whether nobody could ask for anything any more.
func (m *monitor) idle() bool {
	return m.conns == 0 && m.first.pid == 0 && m.due.again == nil && len(m.family.kids) == 0
}

func (m *monitor) status() *wire.Status {
	s := &wire.Status{
		Monitor: os.Getpid(), PID: m.first.pid, Running: m.first.running,
		Logged: m.logged, LogLost: m.log.Lost(), Dropped: m.dropped,
	}
	s.Clients = m.streams.clients()
	for _, one := range m.sessions {
		if one.running {
			s.Sessions = append(s.Sessions, one.id)
		}
	}
	return s
}
