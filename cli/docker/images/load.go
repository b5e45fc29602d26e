package images

import (
	"context"
	"errors"
	"os"

	"github.com/spf13/pflag"

	"berth/cli/docker/command"
	"berth/cli/term"
	"berth/engine"
	"berth/image"
)

// Load is load.
type Load struct {
	input, platform string
	quiet           bool
}

func (v *Load) Flags(f *pflag.FlagSet) {
	f.StringVarP(&v.input, "input", "i", "", "Read from tar archive file, instead of STDIN")
	f.BoolVarP(&v.quiet, "quiet", "q", false, "Suppress the load output")
	f.StringVar(&v.platform, "platform", "", "Load only this platform of a multi-platform image")
	command.Extra(f, "platform")
}

// request has no effects; From is left to Run.
func (v *Load) request(words []string) engine.LoadRequest {
	r := engine.LoadRequest{Path: v.input}
	r.Platform = v.platform
	if len(words) == 1 {
		r.Name = words[0]
	}
	return r
}

func (v *Load) Run(ctx context.Context, c *command.Call, words []string) error {
	r := v.request(words)
	if r.Path == "" {
		if term.Is(c.In) {
			return errors.New("requested load from stdin, but stdin is empty")
		}
		r.From = c.In
	} else if _, err := os.Stat(r.Path); err != nil {
		if c.Podman() {
			return err
		}
		return &os.PathError{Op: "open", Path: r.Path, Err: errors.Unwrap(err)}
	}
	e, err := c.Open()
	if err != nil {
		return err
	}
	r.Name = ownName(c, r.Name)
	lines := term.NewLines(c.Out, c.Width)
	if !v.quiet && c.Width > 0 && !c.Podman() {
		r.Progress = func(p image.Progress) {
			if p.Total > 0 {
				lines.Amount(shortID(p.Digest), "Loading layer", p.Current, p.Total)
			}
		}
	}
	loaded, err := engine.ImageLoad(ctx, e, r)
	if err != nil {
		return command.FromEngine(err)
	}
	for _, l := range loaded {
		switch {
		case l.Name != "":
			lines.Text("Loaded image: %s", e.Images.Familiar(l.Name))
		case c.Podman():
			lines.Text("Loaded image: %s", l.ID)
		default:
			lines.Text("Loaded image ID: %s", l.ID)
		}
	}
	return nil
}
