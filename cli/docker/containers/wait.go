package containers

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/pflag"

	"berth/base/fault"
	"berth/cli/docker/command"
)

// Wait is wait: it prints the exit code of each container when it has ended.
type Wait struct {
	chosen
	conditions []string
	interval   string
}

func (v *Wait) Flags(f *pflag.FlagSet) {
	command.ListFlag(f, &v.conditions, "condition", "", "What to wait for: not-running, next-exit, removed")
	f.StringVarP(&v.interval, "interval", "i", "250ms", "Taken for podman's sake; nothing is polled")
	f.BoolVar(&v.ignore, "ignore", false, "Ignore names that are no containers")
	f.BoolVarP(&v.latest, "latest", "l", false, "Wait for the newest container")
	command.Extra(f, "condition", "interval", "ignore", "latest")
}

// condition is what the engine is to wait for; podman's stopped and exited are
// docker's not-running.
func (v *Wait) condition() (string, error) {
	if len(v.conditions) == 0 {
		return "not-running", nil
	}
	switch c := v.conditions[len(v.conditions)-1]; c {
	case "stopped", "exited", "not-running":
		return "not-running", nil
	case "next-exit", "removed":
		return c, nil
	default:
		return "", fmt.Errorf("invalid condition: %q", c)
	}
}

// noCode is podman's exit code of a container that is not there.
const noCode = -1

func (v *Wait) Run(ctx context.Context, c *command.Call, words []string) error {
	condition, err := v.condition()
	if err != nil {
		return err
	}
	if err := v.check(words); err != nil {
		return err
	}
	e, err := open(c)
	if err != nil {
		return err
	}
	names, err := v.names(ctx, e, words)
	if err != nil {
		return err
	}
	var failed []error
	for _, name := range names {
		code, err := e.Wait(ctx, name, condition, nil)
		if v.ignore && fault.Is(err, fault.NotFound) {
			fmt.Fprintln(c.Out, noCode)
			continue
		}
		if err != nil {
			failed = append(failed, command.FromEngine(err))
			continue
		}
		fmt.Fprintln(c.Out, code)
	}
	return errors.Join(failed...)
}
