package container

import (
	"time"

	"berth/container/config"
)

// Docker's back-off.
const (
	firstDelay = 100 * time.Millisecond
	lastDelay  = time.Minute
	// steady is how long a run must have lasted for the delay to begin anew.
	steady = 10 * time.Second
)

// restartRule decides what follows an exit.
//
//	no               it stays ended
//	always           again, unless a user ended it
//	unless-stopped   again, unless a user ended it
//	on-failure[:n]   again after a code that is not 0, n times at most, unless a user ended it
func restartRule(p config.Restart, code int, stopped bool, restarts int) bool {
	if stopped {
		return false
	}
	switch p.Policy {
	case config.RestartAlways, config.RestartUnlessStopped:
		return true
	case config.RestartOnFailure:
		return code != 0 && (p.Retries == 0 || restarts < p.Retries)
	}
	return false
}

// backOff is the delay before the next start, from the last one (0: none) and
// how long the run lasted: 100 ms, doubled while runs are shorter than ten
// seconds, a minute at most.
func backOff(last, ran time.Duration) time.Duration {
	if ran >= steady || last < firstDelay {
		return firstDelay
	}
	return min(2*last, lastDelay)
}

// AtBoot reports whether a container is started at boot, by the rule by which
// dockerd does so for those that it finds when it starts:
//
//	no               never
//	always           if it was ever started, even if a user had ended it
//	unless-stopped   the same, but not if a user had ended it
//	on-failure[:n]   after a code that is not 0, unless the policy had started it n
//	                 times; even if a user had ended it
func AtBoot(p config.Restart, f *Facts) bool {
	if f.Started == nil || f.State() != StateExited {
		return false
	}
	exit, _ := f.Ended()
	return restartRule(p, exit.Code, f.Stopped && p.Policy == config.RestartUnlessStopped, f.Restarts)
}
