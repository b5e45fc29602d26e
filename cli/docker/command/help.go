package command

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/pflag"
)

// helpWidth is where help text is broken if no terminal says otherwise.
const helpWidth = 80

// Help writes the help of a verb or a group in docker's layout.
func (t *Table) Help(w io.Writer, d Dialect, program string, width int, e *Entry) {
	path := program + " " + e.Path
	fmt.Fprintf(w, "\nUsage:  %s\n\n", e.useLine(path))
	if e.Long != "" {
		fmt.Fprintln(w, e.Long)
	} else {
		fmt.Fprintln(w, e.Short)
	}
	if len(e.Aliases) > 0 {
		fmt.Fprintf(w, "\nAliases:\n  %s\n", strings.Join(append([]string{e.last()}, e.Aliases...), ", "))
	}
	if e.Examples != "" {
		fmt.Fprintf(w, "\nExamples:\n%s\n", e.Examples)
	}
	if e.New == nil {
		commands(w, "Commands", d, t.Below(e.Path))
		fmt.Fprintf(w, "\nRun '%s COMMAND --help' for more information on a command.\n", path)
		return
	}
	options(w, d, width, e.Make().Flags)
}

func options(w io.Writer, d Dialect, width int, flags *pflag.FlagSet) {
	if width == 0 {
		width = helpWidth
	}
	if d == Docker {
		flags = dockerOnly(flags)
	}
	if text := flags.FlagUsagesWrapped(width - 1); text != "" {
		fmt.Fprintf(w, "\nOptions:\n%s", text)
	}
}

func commands(w io.Writer, title string, d Dialect, rows []*Entry) {
	rows = slices.DeleteFunc(slices.Clone(rows), func(e *Entry) bool { return !e.listed(d) })
	if len(rows) == 0 {
		return
	}
	slices.SortFunc(rows, func(a, b *Entry) int { return strings.Compare(a.last(), b.last()) })
	pad := 11
	for _, e := range rows {
		pad = max(pad, len(e.last()))
	}
	fmt.Fprintf(w, "\n%s:\n", title)
	for _, e := range rows {
		fmt.Fprintf(w, "  %-*s %s\n", pad, e.last(), e.Short)
	}
}

// RootHelp writes the help of the program itself.
func (t *Table) RootHelp(w io.Writer, d Dialect, program string, width int, global *pflag.FlagSet) {
	fmt.Fprintf(w, "\nUsage:  %s [OPTIONS] COMMAND\n\n%s\n", program, t.About)
	options(w, d, width, global)
	var groups, verbs []*Entry
	for _, e := range t.Below("") {
		if e.New == nil {
			groups = append(groups, e)
		} else {
			verbs = append(verbs, e)
		}
	}
	commands(w, "Management Commands", d, groups)
	commands(w, "Commands", d, verbs)
	fmt.Fprintf(w, "\nRun '%s COMMAND --help' for more information on a command.\n", program)
}
