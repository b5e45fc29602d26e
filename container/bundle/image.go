package bundle

import (
	"cmp"
	"time"
)

// ImageDefaults is what a container gets from its image: the object "config" of
// an image's configuration, checked by the image room. Labels are those that it
// may inherit.
type ImageDefaults struct {
	User         string
	Env          []string
	Entrypoint   []string
	Cmd          []string
	WorkingDir   string
	Labels       map[string]string
	Volumes      []string // absolute paths
	ExposedPorts []string // 80/tcp, 8000-8010/udp
	StopSignal   string
	StopTimeout  *int // seconds
	Health       *Health
	Shell        []string
}

// Health is a healthcheck, merged: zero durations are the defaults.
type Health struct {
	Test          []string      `json:"test,omitempty"` // NONE | CMD args… | CMD-SHELL command
	Interval      time.Duration `json:"interval,omitempty"`
	Timeout       time.Duration `json:"timeout,omitempty"`
	StartPeriod   time.Duration `json:"startPeriod,omitempty"`
	StartInterval time.Duration `json:"startInterval,omitempty"`
	Retries       int           `json:"retries,omitempty"`
	OnFailure     string        `json:"onFailure,omitempty"` // podman's: none, kill, restart, stop
}

// Docker's defaults for healthchecks.
const (
	healthInterval      = 30 * time.Second
	healthTimeout       = 30 * time.Second
	healthStartInterval = 5 * time.Second
	healthRetries       = 3
)

// Limit is how long one check may take.
func (h *Health) Limit() time.Duration { return cmp.Or(h.Timeout, healthTimeout) }

// MaxFailures is how many failures in a row are unhealthy.
func (h *Health) MaxFailures() int {
	if h.Retries <= 0 {
		return healthRetries
	}
	return h.Retries
}

// Wait is the time to the next check of a container that was started so long
// ago: while it still starts, in its start period, checks come sooner.
func (h *Health) Wait(starting bool, since time.Duration) time.Duration {
	wait := cmp.Or(h.Interval, healthInterval)
	if starting && since < h.StartPeriod {
		if h.StartInterval > 0 {
			return h.StartInterval
		}
		return min(wait, healthStartInterval)
	}
	return wait
}
