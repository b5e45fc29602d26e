package containers

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"

	"github.com/spf13/pflag"

	"berth/cli/docker/command"
	"berth/cli/docker/transfer"
	"berth/cli/term"
)

// Copy is cp.
type Copy struct {
	archive, follow, quiet, overwrite bool
	given                             func() bool // that archive was asked for or not
}

func (v *Copy) Flags(f *pflag.FlagSet) {
	f.BoolVarP(&v.archive, "archive", "a", false, "Archive mode (copy all uid/gid information)")
	f.BoolVarP(&v.follow, "follow-link", "L", false, "Always follow symbol link in SRC_PATH")
	f.BoolVarP(&v.quiet, "quiet", "q", false, "Suppress progress output; there is none")
	f.BoolVar(&v.overwrite, "overwrite", false, "Let a folder and a file replace each other")
	command.Extra(f, "quiet", "overwrite")
	v.given = func() bool { return f.Changed("archive") }
}

// place reads CONTAINER:PATH, or a path on the host: one that is absolute or
// begins with a dot, or has no colon.
func place(word string) transfer.Place {
	name, path, ok := strings.Cut(word, ":")
	if filepath.IsAbs(word) || !ok || strings.HasPrefix(name, ".") {
		return transfer.Place{Path: word}
	}
	return transfer.Place{Container: name, Path: path}
}

// request has no effects.
func (v *Copy) request(c *command.Call, words []string) (transfer.Request, error) {
	r := transfer.Request{KeepIDs: v.archive, FollowLink: v.follow, Overwrite: v.overwrite, In: c.In, Out: c.Out,
		Warn: func(s string) { fmt.Fprintln(c.Err, "WARNING:", term.CleanText(s)) }}
	if c.Podman() { // where it is the default, and root's files are root's
		r.RootOwns, r.KeepIDs = true, v.archive || v.given == nil || !v.given()
	}
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
	var gone *transfer.Missing
	switch {
	case !errors.As(err, &gone):
		return err
	case !c.Podman():
		return missing("container:path", gone.Container+":"+gone.Path)
	}
	if found, ferr := e.Exists(ctx, gone.Container); ferr == nil && found {
		return fmt.Errorf("%q could not be found on container %s: no such file or directory", gone.Path, gone.Container)
	}
	return err
}
