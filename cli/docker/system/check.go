package system

import (
	"context"
	"fmt"

	"github.com/spf13/pflag"

	"berth/cli/docker/command"
	"berth/cli/term"
	"berth/engine"
)

// Check is check, podman's system check: the whole store is verified. Exit 1 is
// for harm that stays; what only takes space is told of.
type Check struct{ repair, quiet bool }

func (v *Check) Flags(f *pflag.FlagSet) {
	f.BoolVar(&v.repair, "repair", false, "Mend what can be mended")
	f.BoolVarP(&v.quiet, "quiet", "q", false, "Say nothing, the exit code tells")
}

func (v *Check) Run(ctx context.Context, c *command.Call, _ []string) error {
	e, err := c.Open()
	if err != nil {
		return err
	}
	findings, err := engine.Check(ctx, e, v.repair)
	if err != nil {
		return command.FromEngine(err)
	}
	harm := false
	for _, f := range findings {
		text := term.Clean(f.Object + ": " + f.Trouble)
		switch {
		case f.Repaired != "":
			text += " (mended: " + term.Clean(f.Repaired) + ")"
		case f.Harm:
			harm = true
		default:
			text += " (left over: a prune takes it)"
		}
		if !v.quiet {
			fmt.Fprintln(c.Out, text)
		}
	}
	if harm {
		return &command.Exit{Code: 1}
	}
	if len(findings) == 0 && !v.quiet {
		fmt.Fprintln(c.Out, "The store is whole.")
	}
	return nil
}
