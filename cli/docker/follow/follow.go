// Package follow is the hidden words by which a container's monitor starts
// berth: after the first process has ended, when a restart or a healthcheck
// is due, after the resolver of names was lost, when ports are to be relayed, to compress an old log, to
// send a log elsewhere. Their answer is a line that the monitor understands. People do not
// type them, and nothing happens if they do. Row 6.
package follow

import (
	"context"
	"fmt"
	"io"

	"github.com/spf13/pflag"

	"berth/base/ids"
	"berth/cli/docker/command"
	"berth/cli/term"
	"berth/engine"
	"berth/monitor"
)

// Exited is container-exited ID: what follows the end of a container. It
// answers "end", or "again MS" if the container is to be started again.
type Exited struct{}

// Flags has none.
func (*Exited) Flags(*pflag.FlagSet) {}

// Run does it.
func (*Exited) Run(ctx context.Context, c *command.Call, words []string) error {
	id, e, err := open(c, words)
	if err != nil {
		return err
	}
	again, err := engine.Exited(context.WithoutCancel(ctx), e, id)
	if err != nil {
		return err
	}
	answer(c.Out, again)
	return nil
}

func answer(w io.Writer, again *engine.Again) {
	if again == nil {
		fmt.Fprintln(w, "end")
		return
	}
	fmt.Fprintf(w, "again %d\n", again.After.Milliseconds())
}

// Again is container-again ID: the restart that was due.
type Again struct{}

// Flags has none.
func (*Again) Flags(*pflag.FlagSet) {}

// Run does it.
func (*Again) Run(ctx context.Context, c *command.Call, words []string) error {
	id, e, err := open(c, words)
	if err != nil {
		return err
	}
	ctx = context.WithoutCancel(ctx)
	if err := engine.Restarted(ctx, e, id); err == nil {
		answer(c.Out, nil)
		return nil
	}
	// A start that failed counts as a run: the policy says whether to try again.
	again, err := engine.Exited(ctx, e, id)
	if err != nil {
		return err
	}
	answer(c.Out, again)
	return nil
}

// Health is container-health ID: one healthcheck. It answers when the next one
// is due.
type Health struct{}

// Flags has none.
func (*Health) Flags(*pflag.FlagSet) {}

// Run does it.
func (*Health) Run(ctx context.Context, c *command.Call, words []string) error {
	id, e, err := open(c, words)
	if err != nil {
		return err
	}
	again, err := engine.HealthDue(context.WithoutCancel(ctx), e, id)
	if err != nil {
		return err
	}
	answer(c.Out, again)
	return nil
}

// Beside is container-names ID and container-relay ID: what serves a container from outside
// of it is there again, after it was lost, or as somebody has come to be served. It
// answers "end".
type Beside struct {
	Due func(context.Context, *engine.Engine, ids.ID) error
}

// Flags has none.
func (*Beside) Flags(*pflag.FlagSet) {}

// Run does it.
func (v *Beside) Run(ctx context.Context, c *command.Call, words []string) error {
	id, e, err := open(c, words)
	if err != nil {
		return err
	}
	if err := v.Due(context.WithoutCancel(ctx), e, id); err != nil {
		return err
	}
	answer(c.Out, nil)
	return nil
}

func open(c *command.Call, words []string) (ids.ID, *engine.Engine, error) {
	id, err := ids.Parse(words[0])
	if err != nil {
		return "", nil, err
	}
	e, err := c.Open()
	return id, e, err
}

// Compress is log-compress: gzip from standard input to standard output.
type Compress struct{}

// Flags has none.
func (*Compress) Flags(*pflag.FlagSet) {}

// Run does it.
func (*Compress) Run(_ context.Context, c *command.Call, _ []string) error {
	if err := monitor.CompressLog(c.Out, c.In); err != nil {
		return fmt.Errorf("compress a log: %w", err)
	}
	return nil
}

// Send is log-send: a container's output from standard input to where its log
// driver sends it.
type Send struct{}

// Flags has none.
func (*Send) Flags(*pflag.FlagSet) {}

// Run does it.
func (*Send) Run(_ context.Context, c *command.Call, _ []string) error {
	return monitor.SendLog(c.In, func(err error) { fmt.Fprintln(c.Err, term.Clean(err.Error())) })
}
