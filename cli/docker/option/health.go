package option

import (
	"time"

	"github.com/spf13/pflag"

	"berth/cli/docker/command"
	"berth/container/config"
)

// health is the healthcheck's flags.
type health struct {
	none bool
	want config.Health
}

func (h *health) flags(f *pflag.FlagSet) {
	w := &h.want
	f.StringVar(&w.Command, "health-cmd", "", "Command to run to check health")
	f.DurationVar(&w.Interval, "health-interval", 0, "Time between running the check (ms|s|m|h) (default 0s)")
	f.IntVar(&w.Retries, "health-retries", 0, "Consecutive failures needed to report unhealthy")
	f.DurationVar(&w.StartPeriod, "health-start-period", 0, "Start period for the container to initialize before starting health-retries countdown (ms|s|m|h) (default 0s)")
	f.DurationVar(&w.StartInterval, "health-start-interval", 0, "Time between running the check during the start period (ms|s|m|h) (default 0s)")
	f.DurationVar(&w.Timeout, "health-timeout", 0, "Maximum time to allow one check to run (ms|s|m|h) (default 0s)")
	f.StringVar(&w.OnFailure, "health-on-failure", "", "What to do when the container turns unhealthy (none|kill|restart|stop)")
	f.BoolVar(&h.none, "no-healthcheck", false, "Disable any container-specified HEALTHCHECK")
	command.Extra(f, "health-start-interval", "health-on-failure")
}

func (o *Options) readHealth(Around) error {
	h := o.health.want
	asked := h != config.Health{}
	if o.health.none {
		if asked {
			return command.Line("--no-healthcheck conflicts with --health-* options")
		}
		o.config.Health = &config.Health{None: true}
		return nil
	}
	for _, d := range []struct {
		flag  string
		value time.Duration
	}{
		{"interval", h.Interval}, {"timeout", h.Timeout}, {"retries", time.Duration(h.Retries)},
		{"start-period", h.StartPeriod}, {"start-interval", h.StartInterval},
	} {
		if d.value < 0 {
			return command.Line("--health-%s cannot be negative", d.flag)
		}
	}
	if asked {
		o.config.Health = &h
	}
	if asked && h.Command == "none" && o.config.Image.Dialect == "podman" {
		o.config.Health = &config.Health{None: true}
	}
	return nil
}
