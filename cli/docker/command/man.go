package command

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/pflag"
)

// Man writes the manual page of the program, or of one verb, in man(7).
func (t *Table) Man(w io.Writer, d Dialect, program string, e *Entry) {
	m := manual{w}
	if e != nil {
		m.verb(t, d, program, e)
		return
	}
	m.title(program, t.About)
	m.section("SYNOPSIS")
	m.text(program + " [OPTIONS] COMMAND [ARGUMENTS]")
	m.section("COMMANDS")
	for _, row := range t.sorted(d) {
		if row.New == nil {
			continue
		}
		m.item(program+" "+row.Path, row.Short)
	}
	m.section("SEE ALSO")
	m.text("Each command has a page of its own: " + program + "-COMMAND(1).")
}

// Pages are the rows that have a manual page of their own, and its name.
func (t *Table) Pages(d Dialect, program string) map[string]*Entry {
	out := map[string]*Entry{}
	for _, e := range t.sorted(d) {
		out[program+"-"+strings.ReplaceAll(e.Path, " ", "-")] = e
	}
	return out
}

func (t *Table) sorted(d Dialect) []*Entry {
	rows := slices.DeleteFunc(slices.Clone(t.Rows), func(e *Entry) bool { return !e.listed(d) })
	slices.SortFunc(rows, func(a, b *Entry) int { return strings.Compare(a.Path, b.Path) })
	return rows
}

// manual writes man(7) macros.
type manual struct{ w io.Writer }

// roff escapes what troff would act on.
func roff(s string) string {
	s = strings.NewReplacer(`\`, `\e`, "-", `\-`).Replace(s)
	lines := strings.Split(s, "\n")
	for i, l := range lines {
		if strings.HasPrefix(l, ".") || strings.HasPrefix(l, "'") {
			lines[i] = `\&` + l
		}
	}
	return strings.Join(lines, "\n")
}

func (m manual) title(name, short string) {
	fmt.Fprintf(m.w, ".TH %s 1 \"\" \"berth\" \"User commands\"\n", strings.ToUpper(strings.ReplaceAll(name, " ", "\\-")))
	m.section("NAME")
	fmt.Fprintf(m.w, "%s \\- %s\n", roff(strings.ReplaceAll(name, " ", "-")), roff(short))
}

func (m manual) section(name string) { fmt.Fprintf(m.w, ".SH %s\n", name) }
func (m manual) text(s string)       { fmt.Fprintln(m.w, roff(s)) }
func (m manual) item(head, text string) {
	fmt.Fprintf(m.w, ".TP\n\\fB%s\\fR\n%s\n", roff(head), roff(text))
}

func (m manual) verb(t *Table, d Dialect, program string, e *Entry) {
	path := program + " " + e.Path
	m.title(path, e.Short)
	m.section("SYNOPSIS")
	m.text(e.useLine(path))
	if e.Long != "" {
		m.section("DESCRIPTION")
		m.text(e.Long)
	}
	if e.New == nil {
		m.section("COMMANDS")
		for _, row := range t.Below(e.Path) {
			if row.listed(d) {
				m.item(program+" "+row.Path, row.Short)
			}
		}
		return
	}
	flags := e.Make().Flags
	if d == Docker {
		flags = dockerOnly(flags)
	}
	if !flags.HasAvailableFlags() {
		return
	}
	m.section("OPTIONS")
	flags.VisitAll(func(f *pflag.Flag) {
		if f.Hidden {
			return
		}
		kind, usage := pflag.UnquoteUsage(f)
		head := "--" + f.Name
		if f.Shorthand != "" {
			head = "-" + f.Shorthand + ", " + head
		}
		if kind != "" {
			head += " " + kind
		}
		m.item(head, usage)
	})
}
