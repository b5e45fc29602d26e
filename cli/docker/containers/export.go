package containers

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/spf13/pflag"

	"berth/cli/docker/command"
	"berth/cli/docker/images"
	"berth/cli/term"
)

// Export is export.
type Export struct{ output string }

func (v *Export) Flags(f *pflag.FlagSet) {
	f.StringVarP(&v.output, "output", "o", "", "Write to a file, instead of STDOUT")
}

func (v *Export) Run(ctx context.Context, c *command.Call, words []string) error {
	if v.output == "" && term.Is(c.Out) {
		return errors.New("cowardly refusing to save to a terminal. Use the -o flag or redirect")
	}
	if dir := filepath.Dir(v.output); v.output != "" {
		if _, err := os.Stat(dir); err != nil {
			return fmt.Errorf("failed to export container: invalid output path: directory %q does not exist", dir)
		}
	}
	e, err := open(c)
	if err != nil {
		return err
	}
	if v.output == "" {
		return command.FromEngine(e.Export(ctx, words[0], c.Out))
	}
	return images.WriteBeside(v.output, func(f *os.File) error { return command.FromEngine(e.Export(ctx, words[0], f)) })
}
