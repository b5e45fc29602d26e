package containers

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/pflag"

	"berth/base/fault"
	"berth/cli/docker/command"
	"berth/cli/term"
)

// Remove is rm.
type Remove struct {
	chosen
	RemoveOptions
	time  int
	flags *pflag.FlagSet
}

func (v *Remove) Flags(f *pflag.FlagSet) {
	v.flags = f
	f.BoolVarP(&v.Force, "force", "f", false, "Force the removal of a running container (uses SIGKILL)")
	f.BoolVarP(&v.Link, "link", "l", false, "Remove the specified link")
	f.BoolVarP(&v.Volumes, "volumes", "v", false, "Remove anonymous volumes associated with the container")
	v.chosen.flags(f, true)
	f.IntVarP(&v.time, "time", "t", defaultTime, "Seconds to wait for stop before killing the container, with --force")
	f.Bool("depend", false, "Remove also the containers that depend on it")
	command.Extra(f, "time", "depend")
}

func (v *Remove) Run(ctx context.Context, c *command.Call, words []string) error {
	return v.each(ctx, c, words, func(e Engine, name string) error {
		name = strings.Trim(name, "/")
		if name == "" && !v.all {
			return command.Line("Container name cannot be empty")
		}
		if v.Force && v.flags.Changed("time") {
			if err := e.Stop(ctx, name, stopOptions(v.flags, v.time, "")); err != nil && !fault.Is(err, fault.NotFound) {
				return command.FromEngine(err)
			}
		}
		err := e.Remove(ctx, name, v.RemoveOptions)
		if fault.Is(err, fault.NotFound) && !c.Podman() {
			if v.ignore {
				return errSaid
			}
			if v.Force { // said, and no failure
				fmt.Fprintln(c.Err, term.Clean(missing("container", name).Error()))
				return errSaid
			}
			return missing("container", name)
		}
		return command.FromEngine(err)
	})
}

// missing is the client's own line about a thing that is not there.
func missing(kind, name string) error { return command.Line("Error: No such %s: %s", kind, name) }
