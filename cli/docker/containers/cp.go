package containers

import (
	"context"
	"errors"
	"path/filepath"
	"strings"

	"github.com/spf13/pflag"

	"berth/base/fault"
	"berth/cli/docker/command"
	"berth/cli/term"
)

// Copy is cp.
type Copy struct{ archive, follow, quiet bool }

func (v *Copy) Flags(f *pflag.FlagSet) {
	f.BoolVarP(&v.archive, "archive", "a", false, "Archive mode (copy all uid/gid information)")
	f.BoolVarP(&v.follow, "follow-link", "L", false, "Always follow symbol link in SRC_PATH")
	f.BoolVarP(&v.quiet, "quiet", "q", false, "Suppress progress output; there is none")
	f.Bool("overwrite", false, "Let a folder and a file replace each other")
	command.Extra(f, "quiet", "overwrite")
}

// place reads CONTAINER:PATH, or a path on the host: one that is absolute or
// begins with a dot, or has no colon.
func place(word string) Place {
	name, path, ok := strings.Cut(word, ":")
	if filepath.IsAbs(word) || !ok || strings.HasPrefix(name, ".") {
		return Place{Path: word}
	}
	return Place{Container: name, Path: path}
}

// request has no effects.
func (v *Copy) request(c *command.Call, words []string) (CopyRequest, error) {
	r := CopyRequest{KeepIDs: v.archive, FollowLink: v.follow, In: c.In, Out: c.Out}
	switch {
	case words[0] == "":
		return r, errors.New("source can not be empty")
	case words[1] == "":
		return r, errors.New("destination can not be empty")
	}
	r.From, r.To = place(words[0]), place(words[1])
	if r.From.Container == "" && r.To.Container == "" {
		return r, errors.New("must specify at least one container source")
	}
	if r.To.Container == "" && r.To.Path == "-" && term.Is(c.Out) {
		return r, errors.New("cowardly refusing to save to a terminal. Use the -o flag or redirect")
	}
	return r, nil
}

func (v *Copy) Run(ctx context.Context, c *command.Call, words []string) error {
	r, err := v.request(c, words)
	if err != nil {
		return err
	}
	e, err := open(c)
	if err != nil {
		return err
	}
	err = e.Copy(ctx, r)
	if fault.Is(err, fault.NotFound) && !c.Podman() {
		for _, p := range []Place{r.From, r.To} {
			if p.Container != "" {
				return missing("container:path", p.Container+":"+p.Path)
			}
		}
	}
	return command.FromEngine(err)
}
