package containers

import (
	"context"

	"github.com/spf13/pflag"

	"berth/cli/docker/command"
)

// Stop is stop.
type Stop struct {
	chosen
	time   int
	signal string
	flags  *pflag.FlagSet
}

func (v *Stop) Flags(f *pflag.FlagSet) {
	v.flags, v.states = f, []string{"running", "paused", "restarting"}
	f.IntVarP(&v.time, "time", "t", defaultTime, "Seconds to wait for stop before killing it")
	f.StringVarP(&v.signal, "signal", "s", "", "Signal to send to the container")
	command.Extra(f, "signal")
	v.chosen.flags(f, true)
}

// defaultTime is shown in the help; a container's own time holds where the flag
// is not given.
const defaultTime = 10

func (v *Stop) request() StopOptions { return stopOptions(v.flags, v.time, v.signal) }

func stopOptions(f *pflag.FlagSet, seconds int, signal string) StopOptions {
	o := StopOptions{Signal: signal}
	if f.Changed("time") {
		o.Timeout = &seconds
	}
	return o
}

func (v *Stop) Run(ctx context.Context, c *command.Call, words []string) error {
	return v.each(ctx, c, words, func(e Engine, name string) error {
		return command.FromEngine(e.Stop(ctx, name, v.request()))
	})
}

// Restart is restart.
type Restart struct {
	chosen
	time    int
	signal  string
	running bool
	flags   *pflag.FlagSet
}

func (v *Restart) Flags(f *pflag.FlagSet) {
	v.flags = f
	f.IntVarP(&v.time, "time", "t", defaultTime, "Seconds to wait for stop before killing the container")
	f.StringVarP(&v.signal, "signal", "s", "", "Signal to send to the container")
	f.BoolVar(&v.running, "running", false, "Restart only running containers, with --all")
	command.Extra(f, "signal", "running")
	v.chosen.flags(f, true)
}

func (v *Restart) Run(ctx context.Context, c *command.Call, words []string) error {
	if v.running {
		v.all, v.states = true, []string{"running"}
	}
	return v.each(ctx, c, words, func(e Engine, name string) error {
		return command.FromEngine(e.Restart(ctx, name, stopOptions(v.flags, v.time, v.signal)))
	})
}
