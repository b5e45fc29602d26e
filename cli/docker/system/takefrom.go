package system

import (
	"context"
	"fmt"

	"github.com/spf13/pflag"

	"berth/cli/docker/command"
	"berth/cli/term"
	"berth/engine"
	"berth/image"
)

// TakeFrom is import-from: images of another engine on this machine.
type TakeFrom struct{ root string }

func (v *TakeFrom) Flags(f *pflag.FlagSet) {
	f.StringVar(&v.root, "root", "", "The other engine's data folder, if it is not the usual one")
}

// request has no effects.
func (v *TakeFrom) request(words []string) (image.TakeOver, error) {
	if words[0] != "docker" && words[0] != "podman" {
		return image.TakeOver{}, fmt.Errorf("import from %q: want docker or podman", words[0])
	}
	return image.TakeOver{Engine: words[0], Root: v.root}, nil
}

func (v *TakeFrom) Run(ctx context.Context, c *command.Call, words []string) error {
	t, err := v.request(words)
	if err != nil {
		return err
	}
	e, err := c.Open()
	if err != nil {
		return err
	}
	loaded, err := engine.TakeFrom(ctx, e, t)
	for _, l := range loaded {
		if l.Name == "" {
			fmt.Fprintln(c.Out, "Loaded image ID:", l.ID)
		} else {
			fmt.Fprintln(c.Out, "Loaded image:", term.Clean(e.Images.Familiar(l.Name)))
		}
	}
	return command.FromEngine(err)
}
