package cmdline

import (
	"fmt"
	"io"
	"strings"

	"berth/base/fault"
)

// Completion writes the completion script of a shell: bash, zsh or fish. The
// ids of containers are asked from the program itself (list -q).
func (p *Program) Completion(w io.Writer, shell string) error {
	switch shell {
	case "bash":
		p.bash(w)
	case "zsh":
		p.zsh(w)
	case "fish":
		p.fish(w)
	default:
		return fault.New(fault.Invalid, "completion for shell %q: there is bash, zsh and fish", shell)
	}
	return nil
}

// ident turns the program's name into a name that shells take for a function.
func (p *Program) ident() string { return "_" + strings.ReplaceAll(p.Name, "-", "_") }

// names lists the spellings of flags; those of one kind only if valued is set.
func names(list []Flag, keep func(Flag) bool) []string {
	var out []string
	for _, f := range visible(list) {
		if !keep(f) {
			continue
		}
		out = append(out, "--"+f.Long)
		if f.Short != "" {
			out = append(out, "-"+f.Short)
		}
	}
	return out
}

func all(Flag) bool { return true }

func valued(f Flag) bool { return f.Value != "" }

func files(f Flag) bool { return f.Files }

func (p *Program) bash(w io.Writer) {
	var verbs []string
	for _, v := range p.Shown() {
		verbs = append(verbs, v.Name)
	}
	fmt.Fprintf(w, "# bash completion for %s\n%s() {\n", p.Name, p.ident())
	fmt.Fprint(w, "\tlocal cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]} verb= root= i w\n")
	fmt.Fprint(w, "\tfor ((i = 1; i < COMP_CWORD; i++)); do\n\t\tw=${COMP_WORDS[i]}\n\t\tcase $w in\n")
	fmt.Fprintf(w, "\t\t--root) root=${COMP_WORDS[++i]} ;;\n\t\t%s) ((i++)) ;;\n\t\t-*) ;;\n\t\t*) verb=$w; break ;;\n\t\tesac\n\tdone\n",
		strings.Join(names(p.Flags, func(f Flag) bool { return valued(f) && f.Long != "root" }), "|"))
	fmt.Fprint(w, "\tlocal flags= values= paths=\n\tcase $verb in\n")
	fmt.Fprintf(w, "\t'') flags='%s --help --version' values='%s' paths='%s' ;;\n",
		strings.Join(names(p.Flags, all), " "), strings.Join(names(p.Flags, valued), " "), strings.Join(names(p.Flags, files), " "))
	for _, v := range p.Shown() {
		fmt.Fprintf(w, "\t%s) flags='%s' values='%s' paths='%s' ;;\n", v.Name, strings.Join(append(names(v.Flags, all), "--help"), " "),
			strings.Join(names(v.Flags, valued), " "), strings.Join(names(v.Flags, files), " "))
	}
	fmt.Fprint(w, "\tesac\n\tCOMPREPLY=()\n")
	fmt.Fprint(w, "\tif [[ \" $paths \" == *\" $prev \"* ]]; then mapfile -t COMPREPLY < <(compgen -f -- \"$cur\"); return; fi\n")
	fmt.Fprint(w, "\tif [[ \" $values \" == *\" $prev \"* ]]; then return; fi\n")
	fmt.Fprint(w, "\tif [[ $cur == -* ]]; then mapfile -t COMPREPLY < <(compgen -W \"$flags\" -- \"$cur\"); return; fi\n")
	fmt.Fprintf(w, "\tif [[ -z $verb ]]; then mapfile -t COMPREPLY < <(compgen -W '%s' -- \"$cur\"); return; fi\n", strings.Join(verbs, " "))
	fmt.Fprintf(w, "\tmapfile -t COMPREPLY < <(compgen -W \"$(%s ${root:+--root \"$root\"} list -q 2>/dev/null)\" -- \"$cur\")\n", p.Name)
	fmt.Fprintf(w, "}\ncomplete -F %s %s\n", p.ident(), p.Name)
}

// zshFlag is one line of _arguments.
func zshFlag(f Flag) string {
	esc := strings.NewReplacer("'", "'\\''", "[", "\\[", "]", "\\]", ":", "\\:")
	action := ""
	if f.Value != "" {
		action = ":" + strings.ToLower(f.Value) + ":"
		if f.Files {
			action += "_files"
		}
	}
	spell := "--" + f.Long
	if f.Short != "" {
		return fmt.Sprintf("'*'{-%s,%s}'[%s]%s'", f.Short, spell, esc.Replace(f.Usage), action)
	}
	return fmt.Sprintf("'*%s[%s]%s'", spell, esc.Replace(f.Usage), action)
}

func (p *Program) zsh(w io.Writer) {
	fmt.Fprintf(w, "#compdef %s\n%s_ids() { compadd -- ${(f)\"$(%s list -q 2>/dev/null)\"} }\n%s() {\n", p.Name, p.ident(), p.Name, p.ident())
	fmt.Fprint(w, "\tlocal line state\n\t_arguments -C \\\n")
	for _, f := range visible(p.Flags) {
		fmt.Fprintf(w, "\t\t%s \\\n", zshFlag(f))
	}
	fmt.Fprint(w, "\t\t'--help[show help]' '--version[print the version]' '1:command:->verb' '*::argument:->rest'\n\tcase $state in\n\tverb)\n\t\tlocal -a verbs=(\n")
	for _, v := range p.Shown() {
		fmt.Fprintf(w, "\t\t\t'%s:%s'\n", v.Name, strings.ReplaceAll(v.Summary, "'", "'\\''"))
	}
	fmt.Fprint(w, "\t\t)\n\t\t_describe command verbs ;;\n\trest)\n\t\tcase $line[1] in\n")
	for _, v := range p.Shown() {
		fmt.Fprintf(w, "\t\t%s) _arguments", v.Name)
		for _, f := range visible(v.Flags) {
			fmt.Fprintf(w, " \\\n\t\t\t%s", zshFlag(f))
		}
		fmt.Fprintf(w, " \\\n\t\t\t'1:container:%s_ids' '*:argument:_files' ;;\n", p.ident())
	}
	fmt.Fprintf(w, "\t\tesac ;;\n\tesac\n}\n%s \"$@\"\n", p.ident())
}

func (p *Program) fish(w io.Writer) {
	quote := func(s string) string {
		return "'" + strings.NewReplacer(`\`, `\\`, "'", `\'`).Replace(s) + "'"
	}
	line := func(cond string, f Flag) {
		fmt.Fprintf(w, "complete -c %s -n %s -l %s", p.Name, quote(cond), f.Long)
		if f.Short != "" {
			fmt.Fprintf(w, " -s %s", f.Short)
		}
		if f.Value != "" {
			fmt.Fprint(w, " -r")
		}
		if f.Files {
			fmt.Fprint(w, " -F")
		}
		fmt.Fprintf(w, " -d %s\n", quote(f.Usage))
	}
	fmt.Fprintf(w, "# fish completion for %s\ncomplete -c %s -f\n", p.Name, p.Name)
	for _, f := range visible(p.Flags) {
		line("__fish_use_subcommand", f)
	}
	for _, v := range p.Shown() {
		fmt.Fprintf(w, "complete -c %s -n __fish_use_subcommand -a %s -d %s\n", p.Name, v.Name, quote(v.Summary))
		in := "__fish_seen_subcommand_from " + v.Name
		if v.Args != "" {
			fmt.Fprintf(w, "complete -c %s -n %s -a '(%s list -q 2>/dev/null)'\n", p.Name, quote(in), p.Name)
		}
		for _, f := range visible(v.Flags) {
			line(in, f)
		}
	}
}
