package containers

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/pflag"

	"berth/cli/docker/attach"
	"berth/cli/docker/command"
	"berth/cli/docker/option"
	"berth/cli/term"
)

// Run is run: create, join, start, and pass everything on until the end.
type Run struct{ options option.Options }

func (v *Run) Flags(f *pflag.FlagSet) {
	v.options.Run = true
	v.options.Flags(f)
}

func (v *Run) Run(ctx context.Context, c *command.Call, words []string) error {
	asked, err := v.options.Read(c.Dialect, option.Here(), words)
	if err != nil {
		return wrongLine(c, "run", err)
	}
	s := asked.Config.Stdio
	if err := attach.CheckInput(c.In, s.AttachStdin, s.Terminal); err != nil && !asked.Detach {
		return err
	}
	keys, err := keysOf(asked.DetachKeys)
	if err != nil {
		return err
	}
	e, err := open(c)
	if err != nil {
		return command.Refuse(c, "run", exitRefused, err)
	}
	defer e.Ahead(ctx)()
	if keys, err = detachKeys(c, asked.DetachKeys, keys); err != nil {
		return err
	}
	if s.Terminal {
		asked.Config.Stdio.Height, asked.Config.Stdio.Width = term.Size(c.Out)
	}
	id, err := create(ctx, c, e, &asked)
	if err != nil {
		return command.Refuse(c, "run", exitRefused, err)
	}
	if asked.Detach {
		if err := e.Start(ctx, id, attach.Want{}, nil); err != nil {
			return notStarted(c, err)
		}
		fmt.Fprintln(c.Out, id)
		return nil
	}
	r := run{near: near(c, s.Terminal, keys, asked.SigProxy)}
	err = e.Start(ctx, id, attach.Want{Stdin: s.AttachStdin, Stdout: s.AttachStdout, Stderr: s.AttachStderr}, r.join(ctx))
	return r.end(ctx, c, err)
}

// run is a container under way, seen by its client.
type run struct {
	near attach.Near
	far  *attach.Far
	done chan error
}

// join begins to pass the streams on when they are there, before the program
// runs, so that nothing of its output is lost.
func (r *run) join(ctx context.Context) func(*attach.Far) error {
	return func(f *attach.Far) error {
		r.far, r.done = f, make(chan error, 1)
		go func() { r.done <- attach.Run(ctx, r.near, f) }()
		return nil
	}
}

// end waits for the end and makes the exit code of it.
func (r *run) end(ctx context.Context, c *command.Call, started error) error {
	if started != nil {
		if r.far != nil {
			r.far.Close()
			<-r.done
		}
		return notStarted(c, started)
	}
	err := <-r.done
	if errors.Is(err, attach.ErrDetached) {
		return nil
	}
	if err != nil {
		return err
	}
	if r.near.Signals {
		ctx = context.WithoutCancel(ctx)
	}
	code, err := r.far.Wait(ctx)
	if err != nil {
		return command.FromEngine(err)
	}
	return exited(code)
}

// exited is a container's own exit code.
func exited(code int) error {
	if code == 0 {
		return nil
	}
	return &command.Exit{Code: code, Kept: true}
}

// The exit codes of a program that could not be run.
const (
	exitNotExecutable = 126
	exitNotFound      = 127
)

// startCode tells by the text, as docker does, whether the program was not
// there, or could not be executed, or something else went wrong.
func startCode(err error) int {
	s := err.Error()
	switch {
	case strings.Contains(s, "executable file not found"), strings.Contains(s, "no such file or directory"):
		return exitNotFound
	case strings.Contains(s, "permission denied"):
		return exitNotExecutable
	}
	return exitRefused
}

func notStarted(c *command.Call, err error) error {
	return command.Fail(c, startCode(err), command.FromEngine(err))
}
