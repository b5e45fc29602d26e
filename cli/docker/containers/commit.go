package containers

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/spf13/pflag"

	"berth/cli/docker/command"
)

// Commit is commit: it prints the new image's id.
type Commit struct {
	r       CommitRequest
	quiet   bool
	volumes bool
	idTo    string
}

var errIncludeVolumes = errors.New("--include-volumes is not served: what is in volumes is no part of an image; see berth volume export")

func (v *Commit) Flags(f *pflag.FlagSet) {
	f.StringVarP(&v.r.Author, "author", "a", "", `Author (e.g., "John Hannibal Smith <hannibal@a-team.com>")`)
	command.ListFlag(f, &v.r.Changes, "change", "c", "Apply Dockerfile instruction to the created image")
	f.StringVarP(&v.r.Message, "message", "m", "", "Commit message")
	f.BoolVarP(&v.r.Pause, "pause", "p", true, "Pause container during commit")
	f.BoolVarP(&v.quiet, "quiet", "q", false, "Suppress output; there is the id alone")
	f.StringVarP(&v.idTo, "iidfile", "i", "", "Write the image's id to the file")
	f.StringVarP(&v.r.Format, "format", "f", "", "Form of the image's manifest: oci or docker; without, the one of the image below")
	f.BoolVarP(&v.r.Squash, "squash", "s", false, "Make an image of one layer")
	f.BoolVar(&v.volumes, "include-volumes", false, "Not served: an image does not get what is in volumes")
	command.Extra(f, "quiet", "iidfile", "format", "squash", "include-volumes")
}

func (v *Commit) Run(ctx context.Context, c *command.Call, words []string) error {
	r := v.r
	r.Container = words[0]
	if v.volumes {
		return errIncludeVolumes
	}
	if len(words) > 1 {
		r.Name = words[1]
	}
	e, err := open(c)
	if err != nil {
		return err
	}
	id, err := e.Commit(ctx, r)
	switch {
	case err != nil && !c.Podman() && strings.HasPrefix(err.Error(), "invalid reference format"):
		return err // docker's client itself looks at the name
	case err != nil:
		return command.FromEngine(err)
	}
	if v.idTo != "" {
		if err := os.WriteFile(v.idTo, []byte(id), 0o644); err != nil {
			return err
		}
	}
	if c.Podman() {
		id = strings.TrimPrefix(id, "sha256:")
	}
	fmt.Fprintln(c.Out, id)
	return nil
}

// Rename is rename.
type Rename struct{}

func (v *Rename) Flags(*pflag.FlagSet) {}

func (v *Rename) Run(ctx context.Context, c *command.Call, words []string) error {
	if words[0] == "" || words[1] == "" {
		return command.Line("Error: Neither old nor new names may be empty")
	}
	e, err := open(c)
	if err != nil {
		return err
	}
	err = command.FromEngine(e.Rename(ctx, words[0], words[1]))
	if err != nil && !c.Podman() {
		return errors.Join(err, command.Line("Error: failed to rename container named %s", words[0]))
	}
	return err
}
