package system

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/pflag"

	"berth/cli/docker/command"
)

// Completion is completion: the script of a shell.
type Completion struct{}

func (v *Completion) Flags(*pflag.FlagSet) {}

func (v *Completion) Run(_ context.Context, c *command.Call, words []string) error {
	return c.Table.CompletionScript(c, words[0], c.Out)
}

// Man is man: manual pages made from the table of verbs.
type Man struct{ dir string }

func (v *Man) Flags(f *pflag.FlagSet) {
	f.StringVar(&v.dir, "dir", "", "Write all pages into this folder")
}

func (v *Man) Run(_ context.Context, c *command.Call, words []string) error {
	if v.dir != "" {
		return v.all(c)
	}
	if len(words) == 0 {
		c.Table.Man(c.Out, c.Dialect, c.Program, nil)
		return nil
	}
	e, rest := c.Table.Find(words)
	if e == nil || len(rest) > 0 {
		return fmt.Errorf("no manual page for %q: it is not a command", strings.Join(words, " "))
	}
	c.Table.Man(c.Out, c.Dialect, c.Program, e)
	return nil
}

func (v *Man) all(c *command.Call) error {
	pages := c.Table.Pages(c.Dialect, c.Program)
	pages[c.Program] = nil
	for name, e := range pages {
		f, err := os.Create(filepath.Join(v.dir, name+".1"))
		if err != nil {
			return err
		}
		c.Table.Man(f, c.Dialect, c.Program, e)
		if err := f.Close(); err != nil {
			return errors.Join(fmt.Errorf("write the manual page %s", name), err)
		}
	}
	return nil
}
