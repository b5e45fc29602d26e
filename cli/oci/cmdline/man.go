package cmdline

import (
	"fmt"
	"io"
	"strings"
)

// Man writes the manual page, section 8, in the man(7) macros.
func (p *Program) Man(w io.Writer) {
	fmt.Fprintf(w, ".TH %s 8\n.SH NAME\n%s \\- %s\n", strings.ToUpper(roff(p.Name)), roff(p.Name), roff(p.Summary))
	fmt.Fprintf(w, ".SH SYNOPSIS\n.B %s\n[\\fIglobal options\\fR] \\fIcommand\\fR [\\fIoptions\\fR] [\\fIarguments\\fR...]\n", roff(p.Name))
	fmt.Fprintln(w, ".SH DESCRIPTION")
	manText(w, p.About)
	fmt.Fprintln(w, ".SH GLOBAL OPTIONS")
	manFlags(w, p.Flags)
	fmt.Fprintln(w, ".SH COMMANDS")
	for _, v := range p.Shown() {
		fmt.Fprintf(w, ".SS %s\n.B %s\n.PP\n%s.\n", roff(v.Name), roff(p.synopsis(&v)), roff(upper(v.Summary)))
		manText(w, v.About)
		manFlags(w, v.Flags)
	}
	fmt.Fprintln(w, ".SH EXIT STATUS")
	manText(w, "run and exec end with the exit status of the process, or 128 and the number of the signal that ended it; "+
		"exec ends with 255 if the process could not be started. Everything else ends with 0, or with 1 and one line on standard error.")
}

func manText(w io.Writer, text string) {
	for _, par := range strings.Split(text, "\n\n") {
		if par == "" {
			continue
		}
		if strings.HasPrefix(par, "   ") {
			fmt.Fprintf(w, ".PP\n.nf\n%s\n.fi\n", roff(par))
			continue
		}
		fmt.Fprintf(w, ".PP\n%s\n", roff(par))
	}
}

func manFlags(w io.Writer, list []Flag) {
	for _, f := range visible(list) {
		fmt.Fprintf(w, ".TP\n.B %s\n%s.\n", roff(f.usage()), roff(upper(f.says())))
	}
}

// roff escapes what roff would read as a command or another character.
func roff(s string) string {
	s = strings.ReplaceAll(s, `\`, `\e`)
	s = strings.ReplaceAll(s, "-", `\-`)
	lines := strings.Split(s, "\n")
	for i, l := range lines {
		if strings.HasPrefix(l, ".") || strings.HasPrefix(l, "'") {
			lines[i] = `\&` + l
		}
	}
	return strings.Join(lines, "\n")
}

func upper(s string) string {
	if s == "" {
		return s
	}
	return strings.ToUpper(s[:1]) + s[1:]
}
