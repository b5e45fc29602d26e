// Package manifest is the verbs on manifest lists in docker's and podman's
// words: create, annotate, add, remove, exists, inspect, push, rm. Row 6.
package manifest

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/opencontainers/go-digest"
	"github.com/spf13/pflag"

	"berth/cli/docker/command"
	"berth/engine"
	"berth/image"
)

func hexOf(d digest.Digest) string {
	_, s, ok := strings.Cut(string(d), ":")
	if !ok {
		return string(d)
	}
	return s
}

// member takes podman's transport off a name.
func member(word string) string { return strings.TrimPrefix(word, "docker://") }

func members(words []string) []string {
	var out []string
	for _, w := range words {
		out = append(out, member(w))
	}
	return out
}

// canonical is a name as docker repeats it in errors.
func canonical(e *engine.Engine, word string) string {
	if name, err := e.Images.Name(word); err == nil {
		return name
	}
	return word
}

// noManifest gives what is not found docker's words.
func noManifest(c *command.Call, word string, err error) error {
	var no *engine.NoImage
	if !errors.As(err, &no) {
		return command.FromEngine(err)
	}
	if c.Podman() {
		return fmt.Errorf("%s: image not known", word)
	}
	return command.Line("No such manifest: %s", word)
}

// Create is manifest create.
type Create struct {
	amend, all bool
	access     command.Access
}

func (v *Create) Flags(f *pflag.FlagSet) {
	f.BoolVarP(&v.amend, "amend", "a", false, "Amend an existing manifest list")
	v.access.InsecureFlag(f, "Allow communication with an insecure registry")
	f.BoolVar(&v.all, "all", false, "Add all images of a list that is added")
	v.access.Flags(f)
	command.Extra(f, "all")
}

// request has no effects.
func (v *Create) request(words []string) (image.ListRequest, error) {
	access, err := v.access.Value()
	return image.ListRequest{List: words[0], Members: members(words[1:]), Amend: v.amend, All: v.all, Access: access}, err
}

func (v *Create) Run(ctx context.Context, c *command.Call, words []string) error {
	r, err := v.request(words)
	if err != nil {
		return err
	}
	e, err := c.Open()
	if err != nil {
		return err
	}
	id, err := engine.ListCreate(ctx, e, r)
	if err != nil {
		return command.FromEngine(err)
	}
	if c.Podman() {
		fmt.Fprintln(c.Out, hexOf(id))
		return nil
	}
	name, err := e.Images.Name(words[0])
	if err != nil {
		return err
	}
	fmt.Fprintln(c.Out, "Created manifest list", name)
	return nil
}

// set is the flags that describe one member.
type set struct {
	image.Annotation
	annotations []string
}

func (s *set) flags(f *pflag.FlagSet) {
	f.StringVar(&s.Arch, "arch", "", "Set architecture")
	f.StringVar(&s.OS, "os", "", "Set operating system")
	f.StringSliceVar(&s.OSFeatures, "os-features", nil, "Set operating system feature")
	f.StringVar(&s.OSVersion, "os-version", "", "Set operating system version")
	f.StringVar(&s.Variant, "variant", "", "Set architecture variant")
	new(command.Ignored).String(f, "features", "Set features; the field is reserved in indexes")
	f.StringArrayVar(&s.annotations, "annotation", nil, "Set an annotation (KEY=VALUE)")
	command.Extra(f, "annotation")
}

// value has no effects.
func (s *set) value() (image.Annotation, error) {
	a := s.Annotation
	for _, kv := range s.annotations {
		k, v, ok := strings.Cut(kv, "=")
		if !ok || k == "" {
			return a, fmt.Errorf("no value given for annotation %q", kv)
		}
		if a.Annotations == nil {
			a.Annotations = map[string]string{}
		}
		a.Annotations[k] = v
	}
	return a, nil
}

// Annotate is manifest annotate.
type Annotate struct{ set set }

func (v *Annotate) Flags(f *pflag.FlagSet) { v.set.flags(f) }

func (v *Annotate) Run(ctx context.Context, c *command.Call, words []string) error {
	a, err := v.set.value()
	if err != nil {
		return err
	}
	e, err := c.Open()
	if err != nil {
		return err
	}
	id, err := engine.ListAnnotate(ctx, e, image.ListRequest{List: words[0], Members: members(words[1:]), Set: a})
	if err != nil {
		return command.FromEngine(err)
	}
	if c.Podman() {
		fmt.Fprintln(c.Out, hexOf(id))
	}
	return nil
}

// Add is podman's manifest add.
type Add struct {
	set    set
	all    bool
	access command.Access
}

func (v *Add) Flags(f *pflag.FlagSet) {
	v.set.flags(f)
	v.access.Flags(f)
	f.BoolVar(&v.all, "all", false, "Add all images of a list that is added")
}

// request has no effects.
func (v *Add) request(words []string) (image.ListRequest, error) {
	set, err := v.set.value()
	access, err2 := v.access.Value()
	return image.ListRequest{List: words[0], Members: members(words[1:]), All: v.all, Set: set, Access: access}, errors.Join(err, err2)
}

func (v *Add) Run(ctx context.Context, c *command.Call, words []string) error {
	r, err := v.request(words)
	if err != nil {
		return err
	}
	e, err := c.Open()
	if err != nil {
		return err
	}
	id, err := engine.ListAdd(ctx, e, r)
	if err != nil {
		return command.FromEngine(err)
	}
	fmt.Fprintln(c.Out, hexOf(id))
	return nil
}
