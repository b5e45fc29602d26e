package manifest

import (
	"context"
	"errors"
	"fmt"

	"github.com/opencontainers/go-digest"
	"github.com/spf13/pflag"

	"berth/cli/docker/command"
	"berth/cli/term"
	"berth/engine"
	"berth/image"
)

// Drop is podman's manifest remove: members leave a list.
type Drop struct{}

func (v *Drop) Flags(*pflag.FlagSet) {}

// digests has no effects.
func (v *Drop) digests(words []string) ([]digest.Digest, error) {
	var out []digest.Digest
	for _, w := range words {
		d, err := digest.Parse(w)
		if err != nil {
			return nil, fmt.Errorf("invalid image digest %q: %w", w, err)
		}
		out = append(out, d)
	}
	return out, nil
}

func (v *Drop) Run(ctx context.Context, c *command.Call, words []string) error {
	gone, err := v.digests(words[1:])
	if err != nil {
		return err
	}
	e, err := c.Open()
	if err != nil {
		return err
	}
	id, err := engine.ListDrop(ctx, e, words[0], gone)
	if err != nil {
		return command.FromEngine(err)
	}
	fmt.Fprintln(c.Out, hexOf(id))
	return nil
}

// Remove is manifest rm: whole lists go.
type Remove struct{}

func (v *Remove) Flags(*pflag.FlagSet) {}

func (v *Remove) Run(ctx context.Context, c *command.Call, words []string) error {
	e, err := c.Open()
	if err != nil {
		return err
	}
	var failed []error
	err = engine.ImageRemove(ctx, e, engine.RemoveImageRequest{Names: words, Each: func(word string, gone []image.Removed, err error) {
		if !c.Podman() {
			word = canonical(e, word)
		}
		if err != nil {
			failed = append(failed, noManifest(c, word, err))
		}
		if c.Podman() {
			printGone(c, gone)
		}
	}})
	if err != nil && len(failed) == 0 {
		return command.FromEngine(err)
	}
	if len(failed) == 0 {
		return nil
	}
	return &command.Exit{Code: 1, Err: errors.Join(failed...)}
}

func printGone(c *command.Call, gone []image.Removed) {
	for _, g := range gone {
		if g.Untagged != "" {
			fmt.Fprintln(c.Out, "Untagged:", term.Clean(g.Untagged))
		} else {
			fmt.Fprintln(c.Out, "Deleted:", hexOf(g.Deleted))
		}
	}
}

// Exists is podman's manifest exists.
type Exists struct{}

func (v *Exists) Flags(*pflag.FlagSet) {}

func (v *Exists) Run(ctx context.Context, c *command.Call, words []string) error {
	e, err := c.Open()
	if err != nil {
		return err
	}
	found, err := engine.ImageExists(ctx, e, words[0])
	if err != nil {
		return command.FromEngine(err)
	}
	if !found {
		return &command.Exit{Code: 1}
	}
	return nil
}
