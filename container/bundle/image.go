package bundle

import "time"

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
