package containers

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/pflag"

	"berth/base/fault"
	"berth/cli/docker/attach"
	"berth/cli/docker/command"
	"berth/cli/docker/option"
	"berth/cli/term"
)

// Exec is exec.
type Exec struct {
	detach, interactive, tty, privileged, latest bool
	keys, user, workDir                          string
	env, envFiles                                []string
}

func (v *Exec) Flags(f *pflag.FlagSet) {
	f.SetInterspersed(false)
	f.BoolVarP(&v.detach, "detach", "d", false, "Detached mode: run command in the background")
	f.StringVar(&v.keys, "detach-keys", "", "Override the key sequence for detaching a container")
	option.EnvFlags(f, &v.env, &v.envFiles)
	f.BoolVarP(&v.interactive, "interactive", "i", false, "Keep STDIN open even if not attached")
	f.BoolVar(&v.privileged, "privileged", false, "Give extended privileges to the command")
	f.BoolVarP(&v.tty, "tty", "t", false, "Allocate a pseudo-TTY")
	f.StringVarP(&v.user, "user", "u", "", "Username or UID (format: <name|uid>[:<group|gid>])")
	f.StringVarP(&v.workDir, "workdir", "w", "", "Working directory inside the container")
	f.BoolVarP(&v.latest, "latest", "l", false, "Use the newest container")
	command.Extra(f, "latest")
}

// request has no effects but reading the files of variables.
func (v *Exec) request(a option.Around, words []string) (ExecRequest, error) {
	env, err := a.Variables(v.envFiles, v.env)
	if err != nil {
		return ExecRequest{}, err
	}
	r := ExecRequest{
		Container: words[0], Args: words[1:], Env: env, User: v.user, WorkDir: v.workDir, Terminal: v.tty,
		Privileged: v.privileged, Detach: v.detach,
	}
	if !v.detach {
		r.Want = attach.Want{Stdin: v.interactive, Stdout: true, Stderr: !v.tty}
	}
	return r, nil
}

func (v *Exec) Run(ctx context.Context, c *command.Call, words []string) error {
	if v.latest {
		words = append([]string{""}, words...)
	}
	if len(words) < 2 {
		return fmt.Errorf("a container and a command are needed")
	}
	r, err := v.request(option.Here(), words)
	if err != nil {
		return err
	}
	keys, err := keysOf(v.keys)
	if err != nil {
		return err
	}
	e, err := open(c)
	if err != nil {
		return err
	}
	if v.latest {
		if r.Container, err = one(ctx, e, nil, true); err != nil {
			return err
		}
	}
	if !v.detach {
		if err := checkInput(ctx, c, e, r); err != nil {
			return err
		}
	}
	if keys, err = detachKeys(c, v.keys, keys); err != nil {
		return err
	}
	if v.tty {
		r.Want.Height, r.Want.Width = term.Size(c.Out)
	}
	return v.exec(ctx, c, e, r, keys)
}

// checkInput refuses a terminal that is none; that there is no such container is
// more worth saying.
func checkInput(ctx context.Context, c *command.Call, e Engine, r ExecRequest) error {
	err := attach.CheckInput(c.In, r.Want.Stdin, r.Terminal)
	if err == nil {
		return nil
	}
	if _, failed := e.Inspect(ctx, r.Container, false); failed != nil {
		return notThere(c, r.Container, failed)
	}
	return err
}

func (v *Exec) exec(ctx context.Context, c *command.Call, e Engine, r ExecRequest, keys []byte) error {
	far, err := e.Exec(ctx, r)
	if err != nil {
		return notExecuted(c, r, err)
	}
	if r.Detach {
		return nil
	}
	if err := attach.Run(ctx, near(c, r.Terminal, keys, false), far); err != nil {
		return err
	}
	code, err := far.Wait(ctx)
	if err != nil {
		return command.FromEngine(err)
	}
	return exited(code)
}

// notExecuted words an exec that did not come to running anything. A program
// that could not be run ends with 126, whatever the reason, as docker's does; a
// container that is not there or does not run is an error of the verb.
func notExecuted(c *command.Call, r ExecRequest, err error) error {
	switch {
	case fault.Is(err, fault.NotFound) && strings.HasPrefix(err.Error(), "No such container"):
		return notThere(c, r.Container, err)
	case fault.Is(err, fault.Conflict), r.Detach, c.Podman():
		if code := startCode(err); c.Podman() && code != exitRefused {
			return &command.Exit{Code: code, Err: command.FromEngine(err)}
		}
		return command.FromEngine(err)
	}
	return &command.Exit{Code: exitNotExecutable, Err: err}
}
