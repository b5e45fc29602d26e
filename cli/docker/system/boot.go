package system

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/pflag"

	"berth/cli/docker/command"
	"berth/cli/term"
	"berth/engine"
)

// Boot is system boot: what a machine does when it has started.
type Boot struct{}

func (v *Boot) Flags(*pflag.FlagSet) {}

func (v *Boot) Run(ctx context.Context, c *command.Call, _ []string) error {
	e, err := c.OpenContainers()
	if err != nil {
		return err
	}
	return each(c, "start", func(tell func(string, error)) error {
		return engine.Boot(ctx, e, engine.BootRequest{Each: tell})
	})
}

// each prints the names of the containers to which something was done; one that
// fails does not keep the others from it.
func each(c *command.Call, verb string, do func(tell func(name string, err error)) error) error {
	var failed []error
	err := do(func(name string, err error) {
		if err != nil {
			failed = append(failed, command.FromEngine(fmt.Errorf("%s container %s: %w", verb, name, err)))
			return
		}
		fmt.Fprintln(c.Out, term.Clean(name))
	})
	return errors.Join(append(failed, command.FromEngine(err))...)
}
