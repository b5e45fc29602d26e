package wire

import "time"

// SecurityLabels are AppArmor's profile and SELinux's labels, "" without.
type SecurityLabels struct{ AppArmor, Process, Mount string }

// Facts are what is known of a container beside what was asked for.
type Facts struct {
	ID, Name, ImageID string
	Created           time.Time
	// Process is what runs, after the image's part was added.
	Process Process
	State   Life
	Paths   Paths
	Mounts  []MountPoint
	// Ports are the published ones as they are, by container port ("80/tcp").
	Ports    map[string][]PortBinding
	Networks map[string]*Endpoint
	// Primary is the network whose addresses stand at the top.
	Primary      string
	SandboxKey   string
	RestartCount int
	Driver       string
	GraphData    map[string]string
	Size         *Size
	Masked       []string
	ReadOnly     []string
	Labels       SecurityLabels
}

// Process is the first process as it runs.
type Process struct {
	Path            string
	Args            []string
	Entrypoint, Cmd []string
	Env             []string
	User, WorkDir   string
	Hostname        string
	Labels          map[string]string
	Volumes         []string // of the image and of -v without a source
	Exposed         []string // 80/tcp
	StopSignal      string
	Health          *Healthcheck // as it holds
}

// Life is how a container is, as facts tell.
type Life struct {
	Status                string // created, running, paused, restarting, removing, exited, dead
	OOMKilled             bool
	PID, ExitCode         int
	Error                 string
	StartedAt, FinishedAt time.Time
	Health                *Health
}

// Paths are files of a container on the host.
type Paths struct{ ResolvConf, Hostname, Hosts, Log string }

// Size is what --size asks for, in bytes.
type Size struct{ Own, Root int64 }
