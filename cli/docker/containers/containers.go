// Package containers is the verbs on containers in docker's and podman's words,
// one file a verb: parse into a request, render its result. What it needs of
// the engine is in ports.go. The options of run are package option, the
// client's half of a run package attach. Row 6.
package containers

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"

	"berth/base/fault"
	"berth/cli/docker/attach"
	"berth/cli/docker/command"
	"berth/cli/docker/option"
	"berth/cli/term"
)

// wrongLine words a command line of run or create that asks for what cannot be.
// What docker's daemon would have said ends create as any error of its.
func wrongLine(c *command.Call, verb string, err error) error {
	if _, own := err.(*command.Exit); own || verb == "create" && command.IsFromEngine(err) {
		return err
	}
	return command.Refuse(c, verb, exitRefused, err)
}

// create makes the container that was asked for and gives its id.
func create(ctx context.Context, c *command.Call, e Engine, asked *option.Asked) (string, error) {
	p := &asked.Config.Process
	p.Env = option.WithProxies(p.Env, c.Settings.Client.Proxies["default"])
	told := Told{
		Warning:  func(s string) { fmt.Fprintln(c.Err, "WARNING:", term.CleanText(s)) },
		Missing:  func(name string) { fmt.Fprintf(c.Err, "Unable to find image '%s' locally\n", term.Clean(name)) },
		Progress: c.Err,
	}
	if asked.Quiet || c.Podman() {
		told.Missing = func(string) {}
	}
	if asked.Quiet {
		told.Progress = io.Discard
	}
	id, err := e.Create(ctx, *asked, told)
	if err == nil || slices.ContainsFunc(clients, func(s string) bool { return strings.HasPrefix(err.Error(), s) }) {
		return id, err
	}
	return id, command.FromEngine(err)
}

// clients are errors that docker's client finds by itself.
var clients = []string{"invalid reference format", "container ID file found"}

// detachKeys are those of the flag, else those of the settings, which are known
// only now.
func detachKeys(c *command.Call, flag string, keys []byte) ([]byte, error) {
	if flag != "" {
		return keys, nil
	}
	return keysOf(c.Settings.Client.DetachKeys)
}

// near is this side of an attach.
func near(c *command.Call, terminal bool, keys []byte, signals bool) attach.Near {
	return attach.Near{In: c.In, Out: c.Out, Err: c.Err, Terminal: terminal, Keys: keys, Signals: signals}
}

// notThere words the error of a verb whose client looks for the container
// itself: docker says so without the daemon's words.
func notThere(c *command.Call, name string, err error) error {
	if fault.Is(err, fault.NotFound) && !c.Podman() {
		return missing("container", name)
	}
	return command.FromEngine(err)
}

// keysOf reads --detach-keys; what is wrong with them docker's daemon says.
func keysOf(s string) ([]byte, error) {
	keys, err := attach.ParseKeys(s)
	if err != nil {
		return nil, command.FromEngine(command.Line("Invalid escape keys (%s) provided", s))
	}
	return keys, nil
}
