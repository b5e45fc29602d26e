package format

import (
	"bytes"
	"testing"

	"berth/cli/term"
)

type loud string

func (l loud) String() string { return string(l) + "!" }

type inner struct{ Deep string }

// strange is a row of which only Name and Deep are plain.
type strange struct {
	Name string
	Loud loud
	Size int
	inner
	*row
}

func (s *strange) Made() string { return "made of " + s.Name }

// Rows prints the same whether a template has a plain form or not.
func TestPlain(t *testing.T) {
	rows := []strange{{Name: "a", Loud: "b", Size: 7, inner: inner{"c"}, row: &row{ID: "d"}}}
	for _, c := range []struct {
		source, want string
		plain        bool
	}{
		{"<{{.Name}} {{.Deep}}>", "<a c>\n", true},
		{"{{- .Name -}} |", "a|\n", true},
		{"{{.Loud}}", "b!\n", false},
		{"{{.Size}}", "7\n", false},
		{"{{.Made}}", "made of a\n", false},
		{"{{.ID}}", "d\n", false},
		{"{{.Name | upper}}", "A\n", false},
		{"{{$x := .Name}}{{$x}}", "a\n", false},
		{"{{if .Name}}{{.Deep}}{{end}}", "c\n", false},
	} {
		var b bytes.Buffer
		if err := Rows(&b, Form{Source: c.source, Style: term.DockerStyle}, strange{}, rows); err != nil || b.String() != c.want {
			t.Errorf("%s: %v, %q, want %q", c.source, err, b.String(), c.want)
		}
		parsed, err := parse(c.source, functions())
		if err != nil {
			t.Fatal(err)
		}
		if _, ok := plainOf[strange](parsed); ok != c.plain {
			t.Errorf("%s: plain %v, want %v", c.source, ok, c.plain)
		}
	}
}
