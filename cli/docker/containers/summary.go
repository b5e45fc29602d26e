package containers

import "time"

// Summary is what a list shows of a container.
type Summary struct {
	ID, Name, Image, ImageID string
	Command                  []string // as it runs, entrypoint and arguments
	Created                  time.Time
	State                    State
	Ports                    []PortBinding
	Exposed                  []PortBinding // without a host's side
	Labels                   map[string]string
	Mounts                   []string // names of volumes, or paths
	Networks                 []string
	Size, RootSize           int64 // bytes, of --size alone
	PID                      int   // 0 if it does not run
}

// State is how a container is.
type State struct {
	Status     string // created, running, paused, restarting, removing, exited, dead
	ExitCode   int
	StartedAt  time.Time
	FinishedAt time.Time
	Health     string // "", starting, healthy, unhealthy
}

// PortBinding is a range of ports, of a container alone or published.
type PortBinding struct {
	Protocol  string
	Container uint16
	Host      uint16 // 0: not published
	Count     uint16
	Address   string // of the host
}

// ListOptions of ps.
type ListOptions struct {
	All     bool
	Last    int // the newest ones, whatever their state; 0 no limit
	Size    bool
	Filters map[string][]string
}

// Change is one path that differs from the image.
type Change struct {
	Kind byte // A, C or D
	Path string
}

// StatsOptions of stats.
type StatsOptions struct {
	All  bool
	Once bool // two readings and no more
}

// Reading is one container's use of the machine at a moment.
type Reading struct {
	ID, Name                     string
	CPUPercent                   float64
	Memory, MemoryLimit          uint64 // bytes
	NetIn, NetOut, Read, Written uint64 // bytes
	Pids                         uint64
	CPUTime                      time.Duration // used since the start
	Up                           time.Duration
	Gone                         bool // it runs no more: dashes
}

// EventOptions of events.
type EventOptions struct {
	Since, Until time.Time // zero: from now on, for ever
	Filters      map[string][]string
}

// Event is one line of the journal.
type Event struct {
	Time       time.Time
	Type       string // container, image, network, volume
	Action     string
	ID         string
	Attributes map[string]string
}
