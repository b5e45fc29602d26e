package containers

import (
	"context"
	"fmt"

	"github.com/spf13/pflag"

	"berth/base/fault"
	"berth/cli/docker/command"
)

// Kill is kill.
type Kill struct {
	chosen
	signal string
}

func (v *Kill) Flags(f *pflag.FlagSet) {
	v.states = []string{"running"}
	f.StringVarP(&v.signal, "signal", "s", "KILL", "Signal to send to the container")
	v.chosen.flags(f, true)
}

func (v *Kill) Run(ctx context.Context, c *command.Call, words []string) error {
	return v.each(ctx, c, words, func(e Engine, name string) error {
		err := e.Kill(ctx, name, v.signal)
		if fault.Is(err, fault.NotFound) && !c.Podman() {
			//lint:ignore ST1005 Docker's words
			err = fmt.Errorf("Cannot kill container: %s: %w", name, err)
		}
		return command.FromEngine(err)
	})
}

// Freeze is pause, and with Thaw unpause.
type Freeze struct {
	chosen
	Thaw bool
}

func (v *Freeze) Flags(f *pflag.FlagSet) {
	v.states = []string{"running"}
	if v.Thaw {
		v.states = []string{"paused"}
	}
	v.chosen.flags(f, true)
}

func (v *Freeze) Run(ctx context.Context, c *command.Call, words []string) error {
	return v.each(ctx, c, words, func(e Engine, name string) error {
		return command.FromEngine(e.Pause(ctx, name, !v.Thaw))
	})
}
