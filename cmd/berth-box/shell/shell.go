// Package shell is the built-in image's sh: a POSIX and bash shell by
// mvdan.cc/sh, with line editing on a terminal. Job control is not in it.
// Row 7.
package shell

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"golang.org/x/term"
	"mvdan.cc/sh/v3/expand"
	"mvdan.cc/sh/v3/interp"
	"mvdan.cc/sh/v3/syntax"
)

// options of sh's command line.
type options struct {
	command     string // -c
	hasCommand  bool
	interactive bool
	set         []string // -e -x -u …, for the interpreter
	args        []string // script and its arguments, or $0 and arguments of -c
}

// parse reads sh's words: single-letter options may stand together.
func parse(args []string) (options, error) {
	var o options
	for len(args) > 0 && len(args[0]) > 1 && (args[0][0] == '-' || args[0][0] == '+') {
		word := args[0]
		args = args[1:]
		if word == "--" {
			break
		}
		if word == "--login" {
			continue
		}
		for _, c := range word[1:] {
			switch c {
			case 'c':
				o.hasCommand = true
			case 'i':
				o.interactive = true
			case 'l', 's':
			case 'e', 'u', 'x', 'n', 'f', 'a':
				o.set = append(o.set, word[:1]+string(c))
			case 'o':
				if len(args) == 0 {
					return o, errors.New("-o: which option?")
				}
				o.set = append(o.set, word[:1]+"o", args[0])
				args = args[1:]
			default:
				return o, fmt.Errorf("%s: invalid option", word)
			}
		}
	}
	if o.hasCommand {
		if len(args) == 0 {
			return o, errors.New("-c: option requires an argument")
		}
		o.command, args = args[0], args[1:]
	}
	o.args = args
	return o, nil
}

// Main is sh; it gives the exit code.
func Main(args []string) int {
	o, err := parse(args)
	if err != nil {
		fmt.Fprintln(os.Stderr, "sh:", err)
		return 2
	}
	params := append([]string{}, o.set...)
	params = append(params, "--")
	switch {
	case o.hasCommand && len(o.args) > 0:
		params = append(params, o.args[1:]...)
	case !o.hasCommand && len(o.args) > 0:
		params = append(params, o.args[1:]...)
	}
	r, err := interp.New(interp.StdIO(os.Stdin, os.Stdout, os.Stderr), interp.Params(params...),
		interp.Interactive(o.interactive), interp.Env(environment()), interp.CallHandler(programs))
	if err != nil {
		fmt.Fprintln(os.Stderr, "sh:", err)
		return 2
	}
	switch {
	case o.hasCommand:
		return run(r, strings.NewReader(o.command), "sh")
	case len(o.args) > 0:
		f, err := os.Open(o.args[0])
		if err != nil {
			fmt.Fprintln(os.Stderr, "sh:", err)
			return 127
		}
		defer f.Close()
		return run(r, f, o.args[0])
	case term.IsTerminal(0) && term.IsTerminal(1):
		return interactive(r)
	}
	return statements(r, os.Stdin)
}

// programs sends words that the interpreter keeps for itself and does not know
// to the programs of that name.
func programs(ctx context.Context, args []string) ([]string, error) {
	if args[0] == "kill" {
		if path, err := interp.LookPathDir(interp.HandlerCtx(ctx).Dir, interp.HandlerCtx(ctx).Env, "kill"); err == nil {
			return append([]string{path}, args[1:]...), nil
		}
	}
	return args, nil
}

// environment is the process's own, with what a shell always has.
func environment() expand.Environ {
	env := os.Environ()
	if os.Getenv("PATH") == "" {
		env = append(env, "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
	}
	return expand.ListEnviron(env...)
}

func run(r *interp.Runner, src io.Reader, name string) int {
	file, err := syntax.NewParser(syntax.Variant(syntax.LangBash)).Parse(src, name)
	if err != nil {
		fmt.Fprintln(os.Stderr, "sh:", err)
		return 2
	}
	return status(r.Run(context.Background(), file))
}

// statements runs what a pipe brings, a statement at a time.
func statements(r *interp.Runner, src io.Reader) int {
	code := 0
	p := syntax.NewParser(syntax.Variant(syntax.LangBash))
	for stmt, err := range p.StmtsSeq(src) {
		if err != nil {
			fmt.Fprintln(os.Stderr, "sh:", err)
			return 2
		}
		code = status(r.Run(context.Background(), stmt))
		if r.Exited() {
			break
		}
	}
	return code
}

func status(err error) int {
	var code interp.ExitStatus
	switch {
	case err == nil:
		return 0
	case errors.As(err, &code):
		return int(code)
	}
	fmt.Fprintln(os.Stderr, "sh:", err)
	return 1
}

// lines reads with editing: the terminal is raw only while a line is typed, so
// that programs find it as they expect.
type lines struct {
	t *term.Terminal
}

func (l *lines) read(prompt string) (string, error) {
	old, err := term.MakeRaw(0)
	if err != nil {
		return "", err
	}
	defer term.Restore(0, old)
	if w, h, err := term.GetSize(0); err == nil && w > 0 {
		_ = l.t.SetSize(w, h)
	}
	l.t.SetPrompt(prompt)
	return l.t.ReadLine()
}

func interactive(r *interp.Runner) int {
	// The terminal sends these to the program in front as well; the shell stays.
	signal.Notify(make(chan os.Signal, 8), syscall.SIGINT, syscall.SIGQUIT, syscall.SIGTSTP)
	l := &lines{t: term.NewTerminal(struct {
		io.Reader
		io.Writer
	}{os.Stdin, os.Stdout}, "")}
	code, text := 0, ""
	for {
		prompt := "$ "
		switch {
		case text != "":
			prompt = "> "
		case os.Geteuid() == 0:
			prompt = "# "
		}
		line, err := l.read(prompt)
		if err != nil { // Ctrl-D, or the terminal is gone
			if text == "" {
				return code
			}
			text = ""
			continue
		}
		text += line + "\n"
		file, err := syntax.NewParser(syntax.Variant(syntax.LangBash)).Parse(strings.NewReader(text), "")
		if syntax.IsIncomplete(err) {
			continue
		}
		text = ""
		if err != nil {
			fmt.Fprintln(os.Stderr, "sh:", err)
			code = 2
			continue
		}
		code = status(r.Run(context.Background(), file))
		if r.Exited() {
			return code
		}
	}
}
