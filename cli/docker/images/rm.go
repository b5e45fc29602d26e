package images

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/pflag"

	"berth/base/fault"
	"berth/cli/docker/command"
	"berth/cli/term"
	"berth/engine"
	"berth/image"
)

// Remove is rmi and image rm.
type Remove struct{ force, noPrune, all, ignore bool }

func (v *Remove) Flags(f *pflag.FlagSet) {
	f.BoolVarP(&v.force, "force", "f", false, "Force removal of the image")
	f.BoolVar(&v.noPrune, "no-prune", false, "Do not delete untagged parents")
	f.BoolVarP(&v.all, "all", "a", false, "Remove all images")
	f.BoolVarP(&v.ignore, "ignore", "i", false, "Ignore names that are no images")
	command.Extra(f, "all", "ignore")
}

// podman's exit codes of rmi.
const (
	exitNoSuchImage = 1
	exitImageInUse  = 2
)

// check has no effects.
func (v *Remove) check(words []string) error {
	switch {
	case v.all && len(words) > 0:
		return errors.New("when using the --all switch, you may not pass any images names or IDs")
	case !v.all && len(words) == 0:
		return errors.New("image name or ID must be specified")
	}
	return nil
}

func (v *Remove) Run(ctx context.Context, c *command.Call, words []string) error {
	if err := v.check(words); err != nil {
		return err
	}
	e, err := c.Open()
	if err != nil {
		return err
	}
	if v.all {
		list, err := engine.ImageList(ctx, e, image.ListOptions{All: true})
		if err != nil {
			return command.FromEngine(err)
		}
		for _, img := range list {
			words = append(words, string(img.ID))
		}
	}
	if len(words) == 0 {
		return nil
	}
	var failed []error
	code := 0
	r := engine.RemoveImageRequest{Names: words, Force: v.force || v.all, NoPrune: v.noPrune}
	r.Each = func(word string, gone []image.Removed, err error) {
		printRemoved(c, gone)
		if err = v.forgive(c, word, err); err != nil {
			failed = append(failed, unknownImage(c, err, plainUnknown))
			code = max(code, removeCode(c, err))
		}
	}
	err = engine.ImageRemove(ctx, e, r)
	if err != nil && code == 0 && !isNoImage(err) {
		return command.FromEngine(err) // the sweep at the end
	}
	if len(failed) == 0 {
		return nil
	}
	return &command.Exit{Code: code, Err: errors.Join(failed...)}
}

// forgive takes away the error of a name that is no image where it is not to
// count; docker's --force still says it.
func (v *Remove) forgive(c *command.Call, word string, err error) error {
	if !isNoImage(err) {
		return err
	}
	switch {
	case v.ignore || v.all:
		return nil
	case v.force && !c.Podman():
		fmt.Fprintln(c.Err, term.Clean(plainUnknown(word).Error()))
		return nil
	}
	return err
}

func isNoImage(err error) bool {
	var no *engine.NoImage
	return errors.As(err, &no) || fault.Is(err, fault.NotFound)
}

func removeCode(c *command.Call, err error) int {
	if !c.Podman() {
		return exitNoSuchImage
	}
	var no *engine.NoImage
	switch {
	case errors.As(err, &no):
		return exitNoSuchImage
	case fault.Is(err, fault.Conflict):
		return exitImageInUse
	}
	return 125
}

// printRemoved prints docker's Untagged and Deleted lines; podman's have no
// algorithm before the id.
func printRemoved(c *command.Call, gone []image.Removed) {
	for _, g := range gone {
		switch {
		case c.Podman() && strings.Contains(g.Untagged, "@"):
			// podman does not count a name by digest as one.
		case g.Untagged != "":
			fmt.Fprintf(c.Out, "Untagged: %s\n", term.Clean(g.Untagged))
		case c.Podman():
			fmt.Fprintf(c.Out, "Deleted: %s\n", hexOf(g.Deleted))
		default:
			fmt.Fprintf(c.Out, "Deleted: %s\n", g.Deleted)
		}
	}
}
