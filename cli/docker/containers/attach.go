//house:allow package one file a verb, and docker has so many
package containers

import (
	"context"
	"errors"

	"github.com/spf13/pflag"

	"berth/cli/docker/attach"
	"berth/cli/docker/command"
)

// Attach is attach.
type Attach struct {
	keys    string
	noStdin bool
	proxy   bool
	latest  bool
}

func (v *Attach) Flags(f *pflag.FlagSet) {
	f.StringVar(&v.keys, "detach-keys", "", "Override the key sequence for detaching a container")
	f.BoolVar(&v.noStdin, "no-stdin", false, "Do not attach STDIN")
	f.BoolVar(&v.proxy, "sig-proxy", true, "Proxy all received signals to the process")
	f.BoolVarP(&v.latest, "latest", "l", false, "Attach to the newest container")
	command.Extra(f, "latest")
}

func (v *Attach) Run(ctx context.Context, c *command.Call, words []string) error {
	keys, err := keysOf(v.keys)
	if err != nil {
		return err
	}
	e, err := open(c)
	if err != nil {
		return err
	}
	name, err := one(ctx, e, words, v.latest)
	if err != nil {
		return err
	}
	doc, err := e.Inspect(ctx, name, false)
	if err != nil {
		return notThere(c, name, err)
	}
	switch s := doc.State; {
	case !s.Running:
		return command.Line("You cannot attach to a stopped container, start it first")
	case s.Paused:
		return command.Line("You cannot attach to a paused container, unpause it first")
	case s.Restarting:
		return command.Line("You cannot attach to a restarting container, wait until it is running")
	}
	w := attach.Want{Stdin: !v.noStdin && doc.Config.OpenStdin, Stdout: true, Stderr: true}
	if err := attach.CheckInput(c.In, w.Stdin, doc.Config.Tty); err != nil {
		return err
	}
	if keys, err = detachKeys(c, v.keys, keys); err != nil {
		return err
	}
	far, err := e.Attach(ctx, name, w)
	if err != nil {
		return command.FromEngine(err)
	}
	n := near(c, doc.Config.Tty, keys, v.proxy && !doc.Config.Tty)
	if err := attach.Run(ctx, n, far); err != nil {
		return err
	}
	if n.Signals {
		ctx = context.WithoutCancel(ctx)
	}
	code, err := far.Wait(ctx)
	if err != nil {
		return command.FromEngine(err)
	}
	return exited(code)
}

// one is the container that a command line means: the newest with latest.
func one(ctx context.Context, e Engine, words []string, latest bool) (string, error) {
	switch {
	case latest && len(words) > 0:
		return "", errors.New("--latest and containers cannot be used together")
	case len(words) > 0:
		return words[0], nil
	case !latest:
		return "", errors.New("you must provide at least one name or id")
	}
	s := chosen{latest: true}
	names, err := s.names(ctx, e, nil)
	if err == nil && len(names) == 0 {
		err = errors.New("there is no container")
	}
	if err != nil {
		return "", err
	}
	return names[0], nil
}
