package container

import (
	"time"

	"berth/container/config"
)

// Facts is what was observed of a container's runs. Nothing here is a state:
// State derives that.
type Facts struct {
	Started    *Started    // the last start, nil for none
	Exit       *Exit       // of the last start, nil while it is not known
	Paused     bool        // its cgroup was frozen by a verb
	Restarting *Restarting // it ended and is to be started again
	Stopped    bool        // a user's verb ended it: the restart policy rests
	Restarts   int         // by the policy, since a user's verb started it
	Removing   bool        // its removal has begun
	// RemovingVolumes: its anonymous volumes go with it.
	RemovingVolumes bool
	Health          *HealthFact
	// Alive and Watched are looked up in the kernel: the first process, and the
	// monitor.
	Alive   bool
	Watched bool
	// Orphaned: the monitor of this boot's last run has died before it did all that
	// it had to; the next verb makes another one.
	Orphaned bool
	// Unfinished: its create is at work or was killed; if it was, the next verb takes it
	// away.
	Unfinished bool
	// Forgotten: it was frozen for a verb that was killed; the next one thaws it.
	Forgotten bool
	// Unheld: one with --rm has ended, and who was to start it again was killed.
	Unheld bool
	// ThisBoot tells whether Started is of this boot.
	ThisBoot bool
}

// Process names one process: of all boots, when BootID is given.
type Process struct {
	PID       int    `json:"pid"`
	StartTime uint64 `json:"startTime"` // clock ticks since boot, proc_pid_stat(5)
}

// Started is one start.
type Started struct {
	Process
	BootID  string    `json:"bootId"`
	At      time.Time `json:"at"`
	Monitor Process   `json:"monitor"`
	// Addresses and Ports are what the networks gave, for lists and inspect.
	Addresses []Address     `json:"addresses,omitempty"`
	Ports     []config.Port `json:"ports,omitempty"` // with the host's port filled in
	// Range is the ids of the host that it has, nil in the host's user namespace.
	Range *Range `json:"range,omitempty"`
	// Waits: the process waits for a verb to let the program run.
	Waits bool `json:"waits,omitempty"`
	// AppArmor is the profile, "unconfined" for none, "" where AppArmor is not active.
	AppArmor string `json:"appArmor,omitempty"`
	// Durable: a power cut must not forget this start, as a boot asks for it.
	Durable bool `json:"-"`
}

// Address is where a container is on one network.
type Address struct {
	Network string `json:"network"`
	IPv4    string `json:"ipv4,omitempty"` // with its prefix
	IPv6    string `json:"ipv6,omitempty"`
	MAC     string `json:"mac,omitempty"`
	Gateway string `json:"gateway,omitempty"`
}

// Exit is the end of a run: what the monitor writes into exit.json, and what is
// kept. Code is the process's, or 128 and the signal's number.
type Exit struct {
	Code   int       `json:"code"`
	Signal int       `json:"signal,omitempty"`
	OOM    bool      `json:"oom,omitempty"`
	Time   time.Time `json:"time"`
	// Error is why a start failed, or "monitor lost".
	Error string `json:"error,omitempty"`
}

// Restarting says when a container is started again.
type Restarting struct {
	At    time.Time     `json:"at"`
	Delay time.Duration `json:"delay"`
}

// MonitorLost is Exit.Error of a run whose exit code nobody saw.
const MonitorLost = "monitor lost"
