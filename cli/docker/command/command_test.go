package command

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/spf13/pflag"
)

// probe is a verb with one flag of docker's and one of podman's.
type probe struct {
	quiet, latest bool
	filters       Filters
	list          []string
}

func (p *probe) Flags(f *pflag.FlagSet) {
	f.BoolVarP(&p.quiet, "quiet", "q", false, "Say less")
	f.BoolVarP(&p.latest, "latest", "l", false, "The latest")
	FilterFlag(f, &p.filters, "f", "Filter output")
	ListFlag(f, &p.list, "add", "", "Add one")
	Extra(f, "latest")
}
func (p *probe) Run(context.Context, *Call, []string) error { return nil }

func table() *Table {
	return &Table{About: "A thing", Rows: []*Entry{
		{Path: "image", Use: "COMMAND", Short: "Manage images"},
		{Path: "image ls", Use: "[OPTIONS] [NAME]", Short: "List images", Aliases: []string{"list"}, Words: Count{0, 1}, New: func() Verb { return new(probe) }},
		{Path: "image tree", Use: "IMAGE", Short: "Draw a tree", Extra: true, Words: Count{1, 1}, New: func() Verb { return new(probe) }},
		{Path: "tag", Use: "SOURCE TARGET", Short: "Tag it", Words: Count{2, 2}, Podman: &Count{2, Many}, New: func() Verb { return new(probe) }},
		{Path: "hush", Short: "Never seen", Hidden: true, New: func() Verb { return new(probe) }},
	}}
}

func TestFind(t *testing.T) {
	for line, want := range map[string]string{
		"image ls a b":  "image ls|a b",
		"image list -q": "image ls|-q",
		"image":         "image|",
		"image nope x":  "image|nope x",
		"tag ls":        "tag|ls",
		"nope":          "|nope",
		"ls":            "|ls",
	} {
		e, rest := table().Find(strings.Fields(line))
		path := ""
		if e != nil {
			path = e.Path
		}
		if got := path + "|" + strings.Join(rest, " "); got != want {
			t.Errorf("%s: %s, want %s", line, got, want)
		}
	}
}

func TestCounts(t *testing.T) {
	for _, c := range []struct {
		d     Dialect
		path  string
		words string
		want  string // the first line on standard error
		code  int
	}{
		{Docker, "tag", "a", `"docker tag" requires exactly 2 arguments.`, 1},
		{Docker, "tag", "a b c", `"docker tag" requires exactly 2 arguments.`, 1},
		{Podman, "tag", "a", "Error: requires at least 2 arg(s), only received 1", 125},
		{Podman, "tag", "a b c", "", 0},
		{Berth, "tag", "a b c", "", 0},
		{Docker, "image ls", "a b", `"docker image ls" requires at most 1 argument.`, 1},
		{Podman, "image ls", "a b", "Error: accepts at most 1 arg(s), received 2", 125},
		{Podman, "image tree", "", "Error: accepts 1 arg(s), received 0", 125},
		{Docker, "hush", "x", `"docker hush" accepts no arguments.`, 1},
		{Docker, "image ls", "--nope", "unknown flag: --nope", 125},
		{Podman, "image ls", "--nope", "Error: unknown flag: --nope", 125},
		{Docker, "image ls", "-f x", `invalid argument "x" for "-f, --filter" flag: bad format of filter (expected name=value)`, 125},
	} {
		e, _ := table().Find(strings.Fields(c.path))
		_, _, err := e.Make().Parse(c.d, "docker "+c.path, strings.Fields(c.words))
		var b bytes.Buffer
		code := Report(&b, c.d, err)
		first, _, _ := strings.Cut(b.String(), "\n")
		if first != c.want || code != c.code {
			t.Errorf("%d %s %s: %q, exit %d", c.d, c.path, c.words, first, code)
		}
	}
}

func TestUsageTextIsDockers(t *testing.T) {
	e, _ := table().Find([]string{"tag"})
	_, _, err := e.Make().Parse(Docker, "docker tag", nil)
	want := "\"docker tag\" requires exactly 2 arguments.\nSee 'docker tag --help'.\n\nUsage:  docker tag SOURCE TARGET\n\nTag it"
	if err == nil || err.Error() != want {
		t.Errorf("%v", err)
	}
}

func TestReport(t *testing.T) {
	plain, deep := errors.New("no such thing"), errors.New("a \x1b[31mlie")
	for _, c := range []struct {
		d    Dialect
		err  error
		want string
		code int
	}{
		{Docker, nil, "", 0},
		{Docker, plain, "no such thing\n", 1},
		{Podman, plain, "Error: no such thing\n", 125},
		{Docker, FromEngine(deep), "Error response from daemon: a \\x1b[31mlie\n", 1},
		{Berth, FromEngine(deep), "Error: a \\x1b[31mlie\n", 1},
		{Podman, fmt.Errorf("Error: x"), "Error: x\n", 125},
		{Docker, errors.Join(plain, FromEngine(plain)), "no such thing\nError response from daemon: no such thing\n", 1},
		{Podman, &Exit{Code: 1}, "", 1},
		{Podman, &Exit{Code: 2, Err: errors.Join(plain, plain)}, "Error: no such thing\nError: no such thing\n", 2},
	} {
		var b bytes.Buffer
		if code := Report(&b, c.d, c.err); b.String() != c.want || code != c.code {
			t.Errorf("%d %v: %q exit %d", c.d, c.err, b.String(), code)
		}
	}
	if FromEngine(nil) != nil {
		t.Error("no error became one")
	}
}

func TestHelpLayout(t *testing.T) {
	var b bytes.Buffer
	e, _ := table().Find([]string{"image", "ls"})
	table().Help(&b, Docker, "docker", 0, e)
	want := `
Usage:  docker image ls [OPTIONS] [NAME]

List images

Aliases:
  ls, list

Options:
      --add list        Add one
  -f, --filter filter   Filter output
  -q, --quiet           Say less
`
	if b.String() != want {
		t.Errorf("got %s", b.String())
	}
	b.Reset()
	e, _ = table().Find([]string{"image"})
	table().Help(&b, Docker, "docker", 0, e)
	if s := b.String(); !strings.Contains(s, "  ls          List images\n") || strings.Contains(s, "tree") {
		t.Errorf("docker's group: %s", s)
	}
	b.Reset()
	table().Help(&b, Berth, "berth", 0, e)
	if s := b.String(); !strings.Contains(s, "  tree        Draw a tree\n") {
		t.Errorf("berth's group: %s", s)
	}
	b.Reset()
	table().RootHelp(&b, Berth, "berth", 0, pflag.NewFlagSet("", pflag.ContinueOnError))
	if s := b.String(); !strings.Contains(s, "Management Commands:\n  image       Manage images\n") || strings.Contains(s, "hush") {
		t.Errorf("the program's help: %s", s)
	}
}

func TestManual(t *testing.T) {
	var b bytes.Buffer
	e, _ := table().Find([]string{"image", "ls"})
	table().Man(&b, Berth, "berth", e)
	for _, want := range []string{".TH BERTH\\-IMAGE\\-LS 1", ".SH OPTIONS", `\fB\-q, \-\-quiet\fR`} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("%q is not in\n%s", want, b.String())
		}
	}
	if roff(".dot\n'quote \\-") != "\\&.dot\n\\&'quote \\e\\-" {
		t.Errorf("roff: %q", roff(".dot\n'quote \\-"))
	}
	if pages := table().Pages(Docker, "docker"); pages["docker-image-ls"] == nil || pages["docker-image-tree"] != nil {
		t.Errorf("pages: %v", pages)
	}
}

func TestCompletionOfFlagsAndVerbs(t *testing.T) {
	for line, want := range map[string]string{
		"__complete im":           "image\tManage images",
		"__complete image l":      "ls\tList images",
		"__complete image ls --q": "--quiet\tSay less",
	} {
		var b bytes.Buffer
		c := &Call{Program: "berth", Out: &b}
		if err := table().Complete(context.Background(), c, strings.Fields(line)); err != nil || !strings.HasPrefix(b.String(), want+"\n") {
			t.Errorf("%s: %v %q", line, err, b.String())
		}
	}
	for _, shell := range []string{"bash", "zsh", "fish"} {
		var b bytes.Buffer
		if err := table().CompletionScript(&Call{Program: "berth"}, shell, &b); err != nil || b.Len() < 1000 {
			t.Errorf("%s: %v, %d bytes", shell, err, b.Len())
		}
	}
	if err := table().CompletionScript(&Call{}, "csh", &bytes.Buffer{}); err == nil {
		t.Error("a script for csh")
	}
}
