package wire

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

	// Lost is the first process of a monitor that died.
	Lost      int
	LostStart uint64 // its start time, see proc_pid_stat(5)
}

func (m *Config) wire(c *coder) {
	c.u64(&m.Version)
	c.str(&m.ID)
	c.str(&m.Dir)
	c.bool(&m.Stdin)
	c.bool(&m.StdinOnce)
	c.bool(&m.Terminal)
	c.bool(&m.Passthrough)
	m.Log.wire(c)
	for _, argv := range []*[]string{&m.Exited, &m.Again, &m.Health, &m.Compress, &m.Env} {
		list(c, argv, c.str)
	}
	c.u64(&m.HealthAfter)
	c.int(&m.OOMScoreAdj)
	c.int(&m.ChildOOMScoreAdj)
	c.int(&m.Lost)
	c.u64(&m.LostStart)
}

// Log says where the output is kept.
type Log struct {
	Driver   string // json-file, local, none
	Path     string
	MaxSize  int64 // bytes, 0 unlimited
	MaxFile  int
	Compress bool
	Attrs    string // a JSON object that stands in each line, "" none
}

func (m *Log) wire(c *coder) {
	c.str(&m.Driver)
	c.str(&m.Path)
	c.i64(&m.MaxSize)
	c.int(&m.MaxFile)
	c.bool(&m.Compress)
	c.str(&m.Attrs)
}

// Clone asks for a child: Attr is a clone.Attr as its Marshal makes it.
type Clone struct{ Attr string }

func (m *Clone) wire(c *coder) { c.str(&m.Attr) }

// Cloned answers Clone.
type Cloned struct {
	PID      int
	TwoStage bool
}

func (m *Cloned) wire(c *coder) { c.int(&m.PID); c.bool(&m.TwoStage) }

// Child names the newest child of a connection by its last known pid.
type Child struct{ PID int }

func (m *Child) wire(c *coder) { c.int(&m.PID) }

// Adopt makes a child the container's first process.
type Adopt struct {
	PID      int
	Terminal bool // the first descriptor is the terminal's master
}

func (m *Adopt) wire(c *coder) { c.int(&m.PID); c.bool(&m.Terminal) }

// Session makes a child an exec session.
type Session struct {
	ID       string
	PID      int
	Terminal bool
}

func (m *Session) wire(c *coder) { c.str(&m.ID); c.int(&m.PID); c.bool(&m.Terminal) }

// Attach joins streams to the first process's: pipes or sockets.
type Attach struct {
	Stdin, Stdout, Stderr bool
	Lossy                 bool
}

func (m *Attach) wire(c *coder) {
	c.bool(&m.Stdin)
	c.bool(&m.Stdout)
	c.bool(&m.Stderr)
	c.bool(&m.Lossy)
}

// Watch asks for the next exit of the first process, or of a session.
type Watch struct {
	Session string // "" the first process
	Follow  bool   // the watcher does what follows and sends a Verdict
}

func (m *Watch) wire(c *coder) { c.str(&m.Session); c.bool(&m.Follow) }

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
	c.int(&m.PID)
	c.int(&m.Code)
	c.int(&m.Signal)
	c.bool(&m.OOM)
	c.bool(&m.Lost)
	c.i64(&m.Time)
	c.bool(&m.Yours)
	c.bool(&m.Incomplete)
}

// Verdict says what follows an exit.
type Verdict struct {
	Again bool
	After uint64 // ms
}

func (m *Verdict) wire(c *coder) { c.bool(&m.Again); c.u64(&m.After) }

// Resize sets the size of a terminal.
type Resize struct {
	Session    string
	Rows, Cols uint16
}

func (m *Resize) wire(c *coder) { c.str(&m.Session); c.u16(&m.Rows); c.u16(&m.Cols) }

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
	c.int(&m.Monitor)
	c.int(&m.PID)
	c.bool(&m.Running)
	list(c, &m.Sessions, c.str)
	c.int(&m.Clients)
	c.u64(&m.Logged)
	c.u64(&m.LogLost)
	c.u64(&m.Dropped)
}
