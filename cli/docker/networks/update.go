package networks

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/pflag"

	"berth/cli/docker/command"
	"berth/cli/term"
)

// Update is network update, podman's verb with more that can be changed: it prints
// the network's name.
type Update struct {
	options                  command.Pairs
	labels                   labels
	drop, servers, noServers []string
}

func (v *Update) Flags(f *pflag.FlagSet) {
	f.Var(&v.labels, "label-add", "Set metadata on the network")
	f.StringSliceVar(&v.drop, "label-drop", nil, "Remove metadata, by key")
	f.StringSliceVar(&v.servers, "dns-add", nil, "Add DNS servers")
	f.StringSliceVar(&v.noServers, "dns-drop", nil, "Remove DNS servers")
	f.VarP(&v.options, "opt", "o", "Set driver specific options")
}

func (v *Update) Run(ctx context.Context, c *command.Call, words []string) error {
	r := Changes{Network: words[0], Labels: v.labels.Pairs, Options: v.options, DropLabels: v.drop, AddServers: v.servers, DropServers: v.noServers}
	if len(r.Labels)+len(r.Options)+len(r.DropLabels)+len(r.AddServers)+len(r.DropServers) == 0 {
		return command.Line("network update: say what to change: --label-add, --label-drop, --dns-add, --dns-drop or --opt")
	}
	for _, k := range r.DropLabels {
		if k, _, ok := strings.Cut(k, "="); ok {
			return command.Line("--label-drop takes the key alone: %s", k)
		}
	}
	e, err := open(c)
	if err != nil {
		return err
	}
	if c.Podman() && len(r.Options) > 0 {
		n, err := e.NetworkInspect(ctx, r.Network)
		if err != nil {
			return command.FromEngine(err)
		}
		r.Options = dockerOptions(n.Driver, r.Options)
	}
	n, err := e.NetworkUpdate(ctx, r)
	if err != nil {
		return command.FromEngine(err)
	}
	fmt.Fprintln(c.Out, term.Clean(n.Name))
	return nil
}
