package wire

import "berth/base/codec"

// Config is the whole of what a monitor is told about its work.
type Config struct {
	Version uint64
	ID      string
	Dir     string // the container's run folder, absolute
	// How the first process's standard streams are held.
	Stdin, StdinOnce, Terminal, Passthrough bool

	Log Log

	// Programs are started by their pinned path: argv each, nil for none.
	Exited, Again, Health, Compress []string
	Env                             []string
	HealthAfter                     uint64 // ms from the start to the first Health

	OOMScoreAdj      int // the monitor's own
	ChildOOMScoreAdj int // what its children have

	Lost Lost
	// AgainIn: there is no first process; Again runs in so many ms, 0 not.
	AgainIn uint64
	Life    Life
	Beside  Beside
}

// Beside are programs, argv each, for what serves the container from outside of it.
type Beside struct{ Names, Relay []string }

// Lost is the first process of a monitor that died: 0 none.
type Lost struct {
	PID   int
	Start uint64 // its start time, see proc_pid_stat(5)
}

// Life is how long a first process may live, in ms, 0 for ever; the lost one may
// for what is Left.
type Life struct{ Whole, Left uint64 }

func (m *Config) wire(c *coder) {
	c.U64(&m.Version)
	c.Str(&m.ID)
	c.Str(&m.Dir)
	c.Bool(&m.Stdin)
	c.Bool(&m.StdinOnce)
	c.Bool(&m.Terminal)
	c.Bool(&m.Passthrough)
	m.Log.wire(c)
	for _, argv := range []*[]string{&m.Exited, &m.Again, &m.Health, &m.Compress, &m.Env} {
		codec.List(c, argv, (*coder).Str)
	}
	c.U64(&m.HealthAfter)
	c.Int(&m.OOMScoreAdj)
	c.Int(&m.ChildOOMScoreAdj)
	c.Int(&m.Lost.PID)
	c.U64(&m.Lost.Start)
	c.U64(&m.AgainIn)
	c.U64(&m.Life.Whole)
	c.U64(&m.Life.Left)
	codec.List(c, &m.Beside.Names, (*coder).Str)
	codec.List(c, &m.Beside.Relay, (*coder).Str)
}

// Log says where the output is kept.
type Log struct {
	Driver   string // json-file, local, none
	Path     string
	MaxSize  int64 // bytes, 0 unlimited
	MaxFile  int
	Compress bool
	Attrs    string // a JSON object that stands in each line, "" none
	// Send is a program, by its pinned path, that reads Head and the entries from
	// standard input and sends them elsewhere; nil for none. Path may be "" then.
	Send []string
	Head string
}

func (m *Log) wire(c *coder) {
	c.Str(&m.Driver)
	c.Str(&m.Path)
	c.I64(&m.MaxSize)
	c.Int(&m.MaxFile)
	c.Bool(&m.Compress)
	c.Str(&m.Attrs)
	codec.List(c, &m.Send, (*coder).Str)
	c.Str(&m.Head)
}

// Clone asks for a child: Attr is a clone.Attr as its Marshal makes it.
type Clone struct{ Attr string }

func (m *Clone) wire(c *coder) { c.Str(&m.Attr) }

// Cloned answers Clone.
type Cloned struct {
	PID      int
	TwoStage bool
}

func (m *Cloned) wire(c *coder) { c.Int(&m.PID); c.Bool(&m.TwoStage) }

// Child names the newest child of a connection by its last known pid.
type Child struct{ PID int }

func (m *Child) wire(c *coder) { c.Int(&m.PID) }

// Adopt makes a child the container's first process.
type Adopt struct {
	PID      int
	Terminal bool // the first descriptor is the terminal's master
}

func (m *Adopt) wire(c *coder) { c.Int(&m.PID); c.Bool(&m.Terminal) }

// Session makes a child an exec session.
type Session struct {
	ID       string
	PID      int
	Terminal bool
}

func (m *Session) wire(c *coder) { c.Str(&m.ID); c.Int(&m.PID); c.Bool(&m.Terminal) }

// Attach joins streams to the first process's: pipes or sockets.
type Attach struct {
	Stdin, Stdout, Stderr bool
	Lossy                 bool
}

func (m *Attach) wire(c *coder) {
	c.Bool(&m.Stdin)
	c.Bool(&m.Stdout)
	c.Bool(&m.Stderr)
	c.Bool(&m.Lossy)
}

// Watch asks for the next exit of the first process, or of a session.
type Watch struct {
	Session string // "" the first process
	Follow  bool   // the watcher does what follows and sends a Verdict
}

func (m *Watch) wire(c *coder) { c.Str(&m.Session); c.Bool(&m.Follow) }

// Exit is how a process ended; it comes on the socket of a Watch.
type Exit struct {
	PID        int
	Code       int // 0–255; 128+n for signal n
	Signal     int
	OOM        bool
	Lost       bool  // nobody saw the exit code
	Time       int64 // Unix time in ns
	Yours      bool  // a Verdict is awaited
	Incomplete bool  // output was lost: the log could not be written
}

func (m *Exit) wire(c *coder) {
	c.Int(&m.PID)
	c.Int(&m.Code)
	c.Int(&m.Signal)
	c.Bool(&m.OOM)
	c.Bool(&m.Lost)
	c.I64(&m.Time)
	c.Bool(&m.Yours)
	c.Bool(&m.Incomplete)
}

// Verdict says what follows an exit.
type Verdict struct {
	Again bool
	After uint64 // ms
}

func (m *Verdict) wire(c *coder) { c.Bool(&m.Again); c.U64(&m.After) }

// Resize sets the size of a terminal.
type Resize struct {
	Session    string
	Rows, Cols uint16
}

func (m *Resize) wire(c *coder) { c.Str(&m.Session); c.U16(&m.Rows); c.U16(&m.Cols) }

// Signal sends a signal to the processes of a session.
type Signal struct {
	Session string
	Number  int
}

func (m *Signal) wire(c *coder) { c.Str(&m.Session); c.Int(&m.Number) }

// Held answers OpHeld.
type Held struct{ Count int }

func (m *Held) wire(c *coder) { c.Int(&m.Count) }

// Status answers OpStatus.
type Status struct {
	Monitor  int // pid
	PID      int // of the first process, 0 none
	Running  bool
	Sessions []string
	Clients  int
	Logged   uint64 // bytes of output since the monitor began
	LogLost  uint64 // bytes that could not be logged
	Dropped  uint64 // bytes that lossy clients did not get
}

func (m *Status) wire(c *coder) {
	c.Int(&m.Monitor)
	c.Int(&m.PID)
	c.Bool(&m.Running)
	codec.List(c, &m.Sessions, (*coder).Str)
	c.Int(&m.Clients)
	c.U64(&m.Logged)
	c.U64(&m.LogLost)
	c.U64(&m.Dropped)
}
