package volumes

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/pflag"

	"berth/base/fault"
	"berth/cli/docker/command"
)

// Create is volume create: it prints the name.
type Create struct {
	driver, name string
	labels       []string
	options      command.Pairs
	ignore       bool
}

func (v *Create) Flags(f *pflag.FlagSet) {
	f.StringVarP(&v.driver, "driver", "d", "local", "Specify volume driver name")
	command.ListFlag(f, &v.labels, "label", "", "Set metadata for a volume")
	f.VarP(&v.options, "opt", "o", "Set driver specific options")
	f.StringVar(&v.name, "name", "", "Specify volume name")
	f.BoolVar(&v.ignore, "ignore", false, "Do not fail if the volume is there already")
	_ = f.MarkHidden("name")
	command.Extra(f, "ignore")
}

// request has no effects.
func (v *Create) request(words []string) (Volume, error) {
	r := Volume{Name: v.name, Driver: v.driver, Options: v.options}
	if len(words) == 1 {
		if v.name != "" {
			return r, command.Line("Conflicting options: either specify --name or provide positional arg, not both")
		}
		r.Name = words[0]
	}
	for _, l := range v.labels {
		k, value, _ := strings.Cut(l, "=")
		if k == "" {
			return r, fmt.Errorf("invalid label '%s': empty name", l)
		}
		if r.Labels == nil {
			r.Labels = map[string]string{}
		}
		r.Labels[k] = value
	}
	return r, nil
}

func (v *Create) Run(ctx context.Context, c *command.Call, words []string) error {
	r, err := v.request(words)
	if err != nil {
		return err
	}
	if r.Labels == nil { // inspect tells it from one that a container made
		r.Labels = map[string]string{}
	}
	if r.Options == nil {
		r.Options = map[string]string{}
	}
	e, err := open(c)
	if err != nil {
		return err
	}
	name, err := e.VolumeCreate(ctx, r)
	if err != nil {
		if v.ignore && fault.Is(err, fault.Exists) {
			name, err = r.Name, nil
		} else {
			return command.FromEngine(err)
		}
	}
	fmt.Fprintln(c.Out, name)
	return err
}
