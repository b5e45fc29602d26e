package command

import (
	"context"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"berth/engine"
	"berth/image"
)

// Cobra is the whole table as commands, which completion scripts are made from.
// Nothing else needs all of it, so nothing else pays for it.
func (t *Table) Cobra(c *Call) *cobra.Command {
	root := &cobra.Command{Use: c.Program, Short: t.About, SilenceErrors: true, SilenceUsage: true}
	root.CompletionOptions.DisableDefaultCmd = true
	t.below(c, root, "")
	return root
}

func (t *Table) below(c *Call, parent *cobra.Command, path string) {
	for _, e := range t.Below(path) {
		if !e.listed(c.Dialect) {
			continue
		}
		cmd := &cobra.Command{Use: e.last() + " " + e.Use, Short: e.Short, Aliases: e.Aliases, Run: func(*cobra.Command, []string) {}}
		cmd.Flags().AddFlagSet(e.Make().Flags)
		if e.Images {
			cmd.ValidArgsFunction = c.completeImages
		}
		parent.AddCommand(cmd)
		t.below(c, cmd, e.Path)
	}
}

// completeImages offers the names of the images that are here.
func (c *Call) completeImages(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
	e, err := c.Open()
	if err != nil {
		return nil, cobra.ShellCompDirectiveError
	}
	list, err := engine.ImageList(context.Background(), e, image.ListOptions{})
	if err != nil {
		return nil, cobra.ShellCompDirectiveError
	}
	var out []string
	for _, img := range list {
		for _, n := range img.Names {
			out = append(out, e.Images.Familiar(n))
		}
	}
	return out, cobra.ShellCompDirectiveNoFileComp
}

// CompletionScript writes the script of a shell.
func (t *Table) CompletionScript(c *Call, shell string, w io.Writer) error {
	root := t.Cobra(c)
	switch shell {
	case "bash":
		return root.GenBashCompletionV2(w, true)
	case "zsh":
		return root.GenZshCompletion(w)
	case "fish":
		return root.GenFishCompletion(w, true)
	}
	return fmt.Errorf("no completion for the shell %q: there are bash, zsh and fish", shell)
}

// Complete answers the question that a completion script asks.
func (t *Table) Complete(ctx context.Context, c *Call, args []string) error {
	root := t.Cobra(c)
	root.SetArgs(args)
	root.SetOut(c.Out)
	root.SetErr(io.Discard)
	return root.ExecuteContext(ctx)
}
