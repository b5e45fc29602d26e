package container

// State is what a container is doing, in Docker's words.
//
//	    create
//	      │   ──init──► initialized ──start──► running
//	   created ──start──► running ◄──unpause── paused
//	                       ▲  │  ────pause────►
//	start, or the delay is │  │ the process ends
//	                  over │  ▼
//	    restarting ◄──── policy? ───no──► exited ──rm──► removing ──► (gone)
//
// It is derived each time from facts: a pid counts only with its start time and
// boot id, so after a reboot nothing runs and no foreign process is taken for a
// container's.
type State string

// The states.
const (
	StateCreated    State = "created"
	StateRunning    State = "running"
	StatePaused     State = "paused"
	StateRestarting State = "restarting"
	StateExited     State = "exited"
	// StateInitialized is podman's: all is there, and the program waits for start.
	StateInitialized State = "initialized"
	StateRemoving    State = "removing"
)

// State derives the state.
func (f *Facts) State() State {
	live := f.Started != nil && f.ThisBoot && f.Exit == nil && (f.Alive || f.Watched)
	switch {
	case f.Removing:
		return StateRemoving
	case live && f.Started.Waits:
		return StateInitialized
	case live && f.Paused:
		return StatePaused
	case live:
		// The process may have ended a moment ago: its monitor is about to say how.
		return StateRunning
	case f.Restarting != nil:
		return StateRestarting
	case f.Started == nil:
		return StateCreated
	}
	return StateExited
}

// Ended is how the last run ended: an exit that nobody saw is 255.
func (f *Facts) Ended() (Exit, bool) {
	switch {
	case f.Exit != nil:
		return *f.Exit, true
	case f.Started == nil || f.ThisBoot && (f.Alive || f.Watched):
		return Exit{}, false
	}
	return Exit{Code: 255, Time: f.Started.At, Error: MonitorLost}, true
}

// Live reports whether its first process exists.
func (s State) Live() bool {
	return s == StateRunning || s == StatePaused || s == StateInitialized
}
