package cmdline

import (
	"fmt"
	"io"
	"strings"
)

// Verb is what documents say of one verb. Flags holds its declared flags.
type Verb struct {
	Name    string
	Summary string // one line without a full stop
	Args    string // "CONTAINER [SIGNAL]"
	About   string // paragraphs
	Hidden  bool
	Flags   []Flag
}

// Program is what documents say of the whole program.
type Program struct {
	Name    string
	Summary string
	About   string
	Flags   []Flag
	Verbs   []Verb
}

// visible returns the flags that documents show.
func visible(list []Flag) []Flag {
	var out []Flag
	for _, f := range list {
		if !f.Hidden {
			out = append(out, f)
		}
	}
	return out
}

// Shown returns the verbs that documents show.
func (p *Program) Shown() []Verb {
	var out []Verb
	for _, v := range p.Verbs {
		if !v.Hidden {
			out = append(out, v)
		}
	}
	return out
}

// usage is how a flag is written: "--bundle PATH, -b PATH".
func (f Flag) usage() string {
	value := ""
	if f.Value != "" {
		value = " " + f.Value
	}
	s := "--" + f.Long + value
	if f.Short != "" {
		s += ", -" + f.Short + value
	}
	return s
}

// says is the text beside a flag, with its default.
func (f Flag) says() string {
	if f.Default != "" {
		return f.Usage + " (default: " + f.Default + ")"
	}
	return f.Usage
}

// Help writes the help text of the whole program.
func (p *Program) Help(w io.Writer) {
	fmt.Fprintf(w, "NAME:\n   %s - %s\n\n", p.Name, p.Summary)
	fmt.Fprintf(w, "USAGE:\n   %s [global options] command [options] [arguments...]\n\n", p.Name)
	section(w, "DESCRIPTION", p.About)
	fmt.Fprintln(w, "COMMANDS:")
	for _, v := range p.Shown() {
		fmt.Fprintf(w, "   %-10s  %s\n", v.Name, v.Summary)
	}
	fmt.Fprintf(w, "   %-10s  %s\n\n", "help, h", "say how a command is used")
	flags(w, "GLOBAL OPTIONS", append(visible(p.Flags),
		Flag{Long: "help", Short: "h", Usage: "show this help"},
		Flag{Long: "version", Short: "v", Usage: "print the version"}))
}

// VerbHelp writes the help text of one verb.
func (p *Program) VerbHelp(w io.Writer, v *Verb) {
	fmt.Fprintf(w, "NAME:\n   %s %s - %s\n\n", p.Name, v.Name, v.Summary)
	fmt.Fprintf(w, "USAGE:\n   %s\n\n", p.synopsis(v))
	section(w, "DESCRIPTION", v.About)
	flags(w, "OPTIONS", append(visible(v.Flags), Flag{Long: "help", Short: "h", Usage: "show this help"}))
}

func (p *Program) synopsis(v *Verb) string {
	parts := []string{p.Name, v.Name}
	if len(visible(v.Flags)) > 0 {
		parts = append(parts, "[options]")
	}
	if v.Args != "" {
		parts = append(parts, v.Args)
	}
	return strings.Join(parts, " ")
}

func section(w io.Writer, title, text string) {
	if text != "" {
		fmt.Fprintf(w, "%s:\n%s\n\n", title, indent(text))
	}
}

func indent(text string) string {
	lines := strings.Split(text, "\n")
	for i, l := range lines {
		if l != "" {
			lines[i] = "   " + l
		}
	}
	return strings.Join(lines, "\n")
}

func flags(w io.Writer, title string, list []Flag) {
	width := 0
	for _, f := range list {
		width = max(width, len(f.usage()))
	}
	fmt.Fprintln(w, title+":")
	for _, f := range list {
		fmt.Fprintf(w, "   %-*s  %s\n", width, f.usage(), f.says())
	}
}
