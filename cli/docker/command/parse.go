package command

import (
	"fmt"
	"io"
	"strings"

	"github.com/spf13/pflag"
)

// Command is a row made into a verb with its flags.
type Command struct {
	Entry *Entry
	Verb  Verb
	Flags *pflag.FlagSet
	help  bool
}

// Make makes the row's verb.
func (e *Entry) Make() *Command {
	c := &Command{Entry: e, Flags: pflag.NewFlagSet(e.Path, pflag.ContinueOnError)}
	c.Flags.SetOutput(io.Discard)
	c.Flags.Usage = func() {}
	if e.New != nil {
		c.Verb = e.New()
		c.Verb.Flags(c.Flags)
	}
	if c.Flags.Lookup("help") == nil {
		c.Flags.BoolVar(&c.help, "help", false, "Print usage")
		c.Flags.Lookup("help").Hidden = !e.ShowHelp
	}
	return c
}

// Parse reads the words behind a verb's path. It has no effects. help is true
// if the help is asked for.
func (c *Command) Parse(d Dialect, path string, args []string) (words []string, help bool, err error) {
	if err := c.Flags.Parse(args); err != nil {
		if err == pflag.ErrHelp {
			return nil, true, nil
		}
		return nil, false, &flagError{path: path, err: err}
	}
	if c.help {
		return nil, true, nil
	}
	words = c.Flags.Args()
	n, want := len(words), c.Entry.count(d)
	if v, ok := c.Verb.(Counter); ok {
		want = v.Count()
	}
	if n < want.Min || n > want.Max {
		return nil, false, &countError{entry: c.Entry, path: path, got: n, want: want}
	}
	return words, false, nil
}

// flagError is a flag that the verb does not have or cannot read.
type flagError struct {
	path string
	err  error
}

func (e *flagError) Error() string { return fmt.Sprintf("%v\nSee '%s --help'.", e.err, e.path) }
func (e *flagError) Unwrap() error { return e.err }

// countError is a wrong number of words.
type countError struct {
	entry *Entry
	path  string
	got   int
	want  Count
}

// Error is docker's text.
func (e *countError) Error() string {
	var text string
	switch w := e.want; {
	case w.Max == 0:
		text = fmt.Sprintf("%q accepts no arguments.", e.path)
	case w.Min == w.Max:
		text = fmt.Sprintf("%q requires exactly %s.", e.path, arguments(w.Min))
	case w.Max == Many:
		text = fmt.Sprintf("%q requires at least %s.", e.path, arguments(w.Min))
	case w.Min == 0:
		text = fmt.Sprintf("%q requires at most %s.", e.path, arguments(w.Max))
	default:
		text = fmt.Sprintf("%q requires at least %d and at most %s.", e.path, w.Min, arguments(w.Max))
	}
	return fmt.Sprintf("%s\nSee '%s --help'.\n\nUsage:  %s\n\n%s", text, e.path, e.entry.useLine(e.path), e.entry.Short)
}

// podman is podman's text.
func (e *countError) podman() string {
	switch w := e.want; {
	case w.Min == w.Max:
		return fmt.Sprintf("accepts %d arg(s), received %d", w.Min, e.got)
	case w.Max == Many:
		return fmt.Sprintf("requires at least %d arg(s), only received %d", w.Min, e.got)
	case w.Min == 0:
		return fmt.Sprintf("accepts at most %d arg(s), received %d", w.Max, e.got)
	default:
		return fmt.Sprintf("accepts between %d and %d arg(s), received %d", w.Min, w.Max, e.got)
	}
}

func arguments(n int) string {
	if n == 1 {
		return "1 argument"
	}
	return fmt.Sprintf("%d arguments", n)
}

func (e *Entry) useLine(path string) string {
	program := strings.TrimSuffix(path, " "+e.Path)
	return strings.TrimRight(path+" "+strings.ReplaceAll(e.Use, "\tdocker ", "\t"+program+" "), " ")
}
