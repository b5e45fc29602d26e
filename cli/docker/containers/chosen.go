package containers

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/pflag"

	"berth/base/fault"
	"berth/cli/docker/command"
	"berth/cli/term"
)

// errSaid is a failure that was told of and does not count.
var errSaid = errors.New("told of already")

// chosen is podman's ways to say which containers a verb is about, beside their
// names.
type chosen struct {
	all, latest, ignore bool
	cidFiles            []string
	filters             command.Filters
	// states are those that --all means; none: every one.
	states []string
}

// flags adds --all and --latest, and with more the other three.
func (s *chosen) flags(f *pflag.FlagSet, more bool) {
	f.BoolVarP(&s.all, "all", "a", false, "Act on all containers")
	f.BoolVar(&s.latest, "latest", false, "Act on the newest container")
	if f.ShorthandLookup("l") == nil {
		f.Lookup("latest").Shorthand = ""
	}
	command.Extra(f, "all", "latest")
	if !more {
		return
	}
	f.BoolVar(&s.ignore, "ignore", false, "Ignore names that are no containers")
	command.ListFlag(f, &s.cidFiles, "cidfile", "", "Read the container ID from the file")
	f.Var(&s.filters, "filter", "Act on the containers that a filter lets through")
	command.Extra(f, "ignore", "cidfile", "filter")
}

// check refuses words that go badly together; it has no effects.
func (s *chosen) check(words []string) error {
	ways := 0
	for _, asked := range []bool{s.all, s.latest, len(s.filters) > 0} {
		if asked {
			ways++
		}
	}
	switch {
	case ways > 1:
		return errors.New("--all, --latest and --filter cannot be used together")
	case ways == 1 && len(words) > 0:
		return errors.New("--all, --latest and --filter take no container names")
	case ways == 0 && len(words) == 0 && len(s.cidFiles) == 0:
		return errors.New("you must provide at least one name or id")
	}
	return nil
}

// maxCID is how much of a file with an id is read.
const maxCID = 4096

// names are the containers that a command line means.
func (s *chosen) names(ctx context.Context, e Engine, words []string) ([]string, error) {
	for _, path := range s.cidFiles {
		f, err := os.Open(path)
		if err != nil {
			return nil, fmt.Errorf("read the container's id: %w", err)
		}
		data, err := io.ReadAll(io.LimitReader(f, maxCID))
		_ = f.Close()
		if err != nil {
			return nil, fmt.Errorf("read the container's id from %s: %w", path, err)
		}
		line, _, _ := strings.Cut(string(data), "\n")
		words = append(words, line)
	}
	if !s.all && !s.latest && len(s.filters) == 0 {
		return words, nil
	}
	o := ListOptions{All: true, Filters: map[string][]string(s.filters)}
	if s.latest {
		o.Last = 1
	}
	if s.all && len(s.states) > 0 {
		o.Filters = map[string][]string{"status": s.states}
	}
	list, err := e.List(ctx, o)
	if err != nil {
		return nil, command.FromEngine(err)
	}
	for _, one := range list {
		words = append(words, one.ID)
	}
	return words, nil
}

// each does something to every container that is meant and prints its name as it
// was typed; one that fails does not keep the others from it.
func (s *chosen) each(ctx context.Context, c *command.Call, words []string, do func(Engine, string) error) error {
	if err := s.check(words); err != nil {
		return err
	}
	e, err := open(c)
	if err != nil {
		return err
	}
	names, err := s.names(ctx, e, words)
	if err != nil {
		return err
	}
	var failed []error
	for _, name := range names {
		err := do(e, name)
		switch {
		case err == nil:
			fmt.Fprintln(c.Out, term.Clean(name))
		case errors.Is(err, errSaid), s.ignore && fault.Is(err, fault.NotFound):
		default:
			failed = append(failed, err)
		}
		if ctx.Err() != nil {
			break
		}
	}
	return errors.Join(failed...)
}
