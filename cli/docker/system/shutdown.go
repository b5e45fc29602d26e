package system

import (
	"context"

	"github.com/spf13/pflag"

	"berth/cli/docker/command"
	"berth/engine"
)

// Shutdown is system shutdown: what a machine does before it goes down.
type Shutdown struct {
	time  int
	flags *pflag.FlagSet
}

func (v *Shutdown) Flags(f *pflag.FlagSet) {
	v.flags = f
	f.IntVarP(&v.time, "time", "t", 0, "Seconds to wait for each container before killing it (default: its own stop timeout)")
	f.Lookup("time").DefValue = "" // each container has its own
}

func (v *Shutdown) Run(ctx context.Context, c *command.Call, _ []string) error {
	e, err := c.OpenContainers()
	if err != nil {
		return err
	}
	var timeout *int
	if v.flags.Changed("time") {
		timeout = &v.time
	}
	return each(c, "stop", func(tell func(string, error)) error {
		return engine.Shutdown(ctx, e, engine.ShutdownRequest{Timeout: timeout, Each: tell})
	})
}
