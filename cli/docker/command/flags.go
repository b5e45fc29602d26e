package command

import (
	"fmt"
	"strings"

	"github.com/spf13/pflag"
)

// extra marks a flag that docker does not have.
const extra = "extra"

// Extra marks flags as not docker's: they work, its help does not list them.
func Extra(f *pflag.FlagSet, names ...string) {
	for _, n := range names {
		_ = f.SetAnnotation(n, extra, nil)
	}
}

// dockerOnly is the set without the flags that docker does not have.
func dockerOnly(f *pflag.FlagSet) *pflag.FlagSet {
	out := pflag.NewFlagSet("", pflag.ContinueOnError)
	f.VisitAll(func(flag *pflag.Flag) {
		if _, ok := flag.Annotations[extra]; !ok {
			out.AddFlag(flag)
		}
	})
	return out
}

// Filters is the value of --filter: name=value, as often as wanted. podman's
// name!=value becomes a filter "name!".
type Filters map[string][]string

func (f *Filters) String() string { return "" }
func (f *Filters) Type() string   { return "filter" }
func (f *Filters) Set(s string) error {
	if s == "" {
		return nil
	}
	name, value, ok := strings.Cut(s, "=")
	if !ok {
		return fmt.Errorf("bad format of filter (expected name=value)")
	}
	name = strings.ToLower(strings.TrimSpace(name))
	if *f == nil {
		*f = Filters{}
	}
	(*f)[name] = append((*f)[name], strings.TrimSpace(value))
	return nil
}

// FilterFlag adds --filter.
func FilterFlag(f *pflag.FlagSet, p *Filters, short, usage string) {
	f.VarP(p, "filter", short, usage)
}

// list is a flag that may be repeated, its values taken as they are.
type list []string

func (l *list) String() string     { return "" }
func (l *list) Type() string       { return "list" }
func (l *list) Set(s string) error { *l = append(*l, s); return nil }

// ListFlag adds a flag that may be repeated.
func ListFlag(f *pflag.FlagSet, p *[]string, name, short, usage string) {
	f.VarP((*list)(p), name, short, usage)
}

// Pairs is the value of a flag key=value, as often as wanted; of a word without
// a value the value is empty.
type Pairs map[string]string

func (p *Pairs) String() string { return "map[]" }
func (p *Pairs) Type() string   { return "map" }
func (p *Pairs) Set(s string) error {
	k, v, _ := strings.Cut(s, "=")
	if *p == nil {
		*p = Pairs{}
	}
	(*p)[k] = v
	return nil
}

// FormatFlag adds --format.
func FormatFlag(f *pflag.FlagSet, p *string, short, usage string) {
	f.StringVarP(p, "format", short, "", usage)
}

// Ignored holds flags that are taken and change nothing here; each of them is
// about a form or a daemon that does not exist in this engine.
type Ignored struct{}

// Bool adds a flag without a value.
func (i *Ignored) Bool(f *pflag.FlagSet, name, usage string) {
	f.Bool(name, false, usage)
	Extra(f, name)
}

// String adds a flag with a value.
func (i *Ignored) String(f *pflag.FlagSet, name, usage string) {
	f.String(name, "", usage)
	Extra(f, name)
}
