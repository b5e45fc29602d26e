package containers

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/pflag"

	"berth/cli/docker/attach"
	"berth/cli/docker/command"
	"berth/cli/term"
)

// Start is start.
type Start struct {
	chosen
	attach, interactive, proxy bool
	keys                       string
}

func (v *Start) Flags(f *pflag.FlagSet) {
	v.states = []string{"created", "exited"}
	f.BoolVarP(&v.attach, "attach", "a", false, "Attach STDOUT/STDERR and forward signals")
	f.BoolVarP(&v.interactive, "interactive", "i", false, "Attach container's STDIN")
	f.StringVar(&v.keys, "detach-keys", "", "Override the key sequence for detaching a container")
	f.BoolVar(&v.proxy, "sig-proxy", true, "Proxy received signals to the process, with --attach")
	f.BoolVar(&v.all, "all", false, "Start all containers that do not run")
	f.BoolVar(&v.latest, "latest", false, "Start the newest container")
	f.Var(&v.filters, "filter", "Start the containers that a filter lets through")
	command.Extra(f, "sig-proxy", "all", "latest", "filter")
}

func (v *Start) Run(ctx context.Context, c *command.Call, words []string) error {
	if v.attach || v.interactive {
		return v.joined(ctx, c, words)
	}
	if err := v.check(words); err != nil {
		return err
	}
	e, err := open(c)
	if err != nil {
		return err
	}
	defer e.Ahead(ctx)()
	names, err := v.names(ctx, e, words)
	if err != nil {
		return err
	}
	var failed []string
	var errs []error
	for _, name := range names {
		if err := e.Start(ctx, name, attach.Want{}, nil); err != nil {
			failed, errs = append(failed, name), append(errs, command.FromEngine(err))
			continue
		}
		fmt.Fprintln(c.Out, term.Clean(name))
	}
	if len(failed) > 0 && !c.Podman() {
		errs = append(errs, command.Line("Error: failed to start containers: %s", strings.Join(failed, ", ")))
	}
	return errors.Join(errs...)
}

// joined starts one container and passes its streams on until it ends.
func (v *Start) joined(ctx context.Context, c *command.Call, words []string) error {
	if len(words) != 1 {
		return errors.New("you cannot start and attach multiple containers at once")
	}
	keys, err := keysOf(v.keys)
	if err != nil {
		return err
	}
	e, err := open(c)
	if err != nil {
		return err
	}
	defer e.Ahead(ctx)()
	doc, err := e.Inspect(ctx, words[0], false)
	if err != nil {
		return notThere(c, words[0], err)
	}
	if keys, err = detachKeys(c, v.keys, keys); err != nil {
		return err
	}
	terminal := doc.Config.Tty
	w := attach.Want{Stdin: v.interactive && doc.Config.OpenStdin, Stdout: true, Stderr: true}
	r := run{near: near(c, terminal, keys, v.proxy && !terminal)}
	if doc.State.Running {
		return v.running(ctx, c, e, words[0], w, &r)
	}
	err = e.Start(ctx, words[0], w, r.join(ctx))
	if err != nil {
		if r.far != nil {
			r.far.Close()
			<-r.done
		}
		return command.FromEngine(err)
	}
	return r.end(ctx, c, nil)
}

// running joins a container that runs already.
func (v *Start) running(ctx context.Context, c *command.Call, e Engine, name string, w attach.Want, r *run) error {
	far, err := e.Attach(ctx, name, w)
	if err != nil {
		return command.FromEngine(err)
	}
	_ = r.join(ctx)(far)
	return r.end(ctx, c, nil)
}
