// Package docker is the command line of docker and podman: the table of verbs,
// the global flags, and the way of one command line from its words to an exit
// code. The verbs are in the packages below; it holds no state and builds no
// part of the engine. Row 6.
//
//	Main ── dialect ── global flags ── row of the table ── flags, words ── Run
//	                                                                       │
//	exit code  ◄──────────────── message in the dialect ◄──────────────────┘
package docker

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"time"

	"berth/cli/docker/command"
	"berth/cli/docker/system"
	"berth/cli/term"
	"berth/engine"
	"berth/settings"
)

// Request says what Main needs from its surroundings.
type Request struct {
	Args []string // with the program's name
	In   io.Reader
	Out  io.Writer
	Err  io.Writer
	// Load reads the settings and Open builds the engine; a command line that
	// needs neither never calls them.
	Load func(Globals) (*settings.Settings, error)
	Open func(*settings.Settings, Globals) (*engine.Engine, error)
}

// exitSignal is the exit code after an interrupt.
const exitSignal = 130

// Main runs one command line and gives its exit code.
func Main(ctx context.Context, r Request) int {
	d, program, args := dialect(r.Args)
	s := &shell{Request: r, dialect: d, program: program, table: &command.Table{Rows: rows(), About: about(d)}}
	code := s.run(ctx, args)
	if ctx.Err() != nil && code != 0 && !s.kept {
		return exitSignal
	}
	return code
}

// dialect is named by the program's own name, or by berth's first word.
func dialect(args []string) (d command.Dialect, program string, rest []string) {
	program = "berth"
	if len(args) > 0 {
		program, rest = filepath.Base(args[0]), args[1:]
	}
	word := program
	if program != "docker" && program != "podman" && len(rest) > 0 && (rest[0] == "docker" || rest[0] == "podman") {
		word, program, rest = rest[0], program+" "+rest[0], rest[1:]
	}
	switch word {
	case "docker":
		return command.Docker, program, rest
	case "podman":
		return command.Podman, program, rest
	}
	return command.Berth, program, rest
}

// shell is one command line under way.
type shell struct {
	Request
	dialect command.Dialect
	program string
	table   *command.Table
	kept    bool // the exit code is a container's
}

func (s *shell) width() int { return term.Width(s.Out) }

func (s *shell) run(ctx context.Context, args []string) int {
	var g Globals
	words, err := g.parse(args)
	if err != nil {
		return s.badGlobal(err)
	}
	switch {
	case g.version:
		fmt.Fprintln(s.Out, system.Words(s.dialect, s.program))
		return 0
	case g.help:
		return s.help(words, s.Out, 0)
	case len(words) == 0:
		return s.help(nil, s.Err, 0)
	}
	g.Podman = s.dialect == command.Podman
	if err := g.check(); err != nil {
		return command.Report(s.Err, s.dialect, err)
	}
	switch words[0] {
	case "help":
		return s.help(words[1:], s.Out, 0)
	case "__complete", "__completeNoDesc":
		call, done := s.call(g)
		defer done()
		return command.Report(s.Err, s.dialect, s.table.Complete(ctx, call, words))
	}
	e, rest := s.table.Find(words)
	switch {
	case e == nil:
		return s.unknown(words[0])
	case e.New == nil:
		return s.group(e, rest)
	}
	return s.verb(ctx, e, rest, g)
}

// verb parses a verb's words and runs it.
func (s *shell) verb(ctx context.Context, e *command.Entry, args []string, g Globals) (code int) {
	path := s.program + " " + e.Path
	cmd := e.Make()
	words, help, err := cmd.Parse(s.dialect, path, args)
	if help {
		s.table.Help(s.Out, s.dialect, s.program, s.width(), e)
		return 0
	}
	if err != nil {
		return command.Report(s.Err, s.dialect, err)
	}
	call, done := s.call(g)
	defer done()
	call.Path = path
	err = cmd.Verb.Run(ctx, call, words)
	if ctx.Err() != nil && errors.Is(err, context.Canceled) {
		err = &command.Exit{Code: exitSignal} // the person knows why it ended
	}
	var exit *command.Exit
	s.kept = errors.As(err, &exit) && exit.Kept
	return command.Report(s.Err, s.dialect, err)
}

// call makes the verb's surroundings; done gives back what was opened.
func (s *shell) call(g Globals) (call *command.Call, done func()) {
	var e *engine.Engine
	call = &command.Call{
		Dialect: s.dialect, Program: s.program, In: s.In, Out: s.Out, Err: s.Err, Width: s.width(), Now: time.Now,
		Table: s.table, Settings: &settings.Settings{},
	}
	call.Open = func() (*engine.Engine, error) {
		if e != nil {
			return e, nil
		}
		g.Warn = func(err error) { fmt.Fprintln(s.Err, "WARNING:", term.Clean(err.Error())) }
		found, err := s.Load(g)
		if err != nil {
			return nil, err
		}
		*call.Settings = *found
		opened, err := s.Request.Open(found, g)
		if err != nil {
			return nil, err
		}
		e = opened
		return e, nil
	}
	return call, func() {
		if e != nil {
			_ = e.Close()
		}
	}
}

// help prints the help of the verb that the words name.
func (s *shell) help(words []string, w io.Writer, code int) int {
	if len(words) == 0 {
		var g Globals
		s.table.RootHelp(w, s.dialect, s.program, s.width(), g.flags())
		return code
	}
	e, rest := s.table.Find(words)
	if e == nil || len(rest) > 0 && e.New == nil {
		return command.Report(s.Err, s.dialect, fmt.Errorf("unknown help topic: %s", words[len(words)-1]))
	}
	s.table.Help(w, s.dialect, s.program, s.width(), e)
	return code
}

// group is a group of verbs without one of them: its help, and an error if
// there was a word.
func (s *shell) group(e *command.Entry, rest []string) int {
	path := s.program + " " + e.Path
	for _, w := range rest {
		if w == "--help" || w == "-h" {
			s.table.Help(s.Out, s.dialect, s.program, s.width(), e)
			return 0
		}
	}
	switch {
	case s.dialect == command.Podman && len(rest) == 0:
		s.table.Help(s.Out, s.dialect, s.program, s.width(), e)
		return command.Report(s.Err, s.dialect, fmt.Errorf("missing command '%s COMMAND'", path))
	case s.dialect == command.Podman:
		return command.Report(s.Err, s.dialect, fmt.Errorf("unrecognized command `%s %s`\nTry '%s --help' for more information", path, rest[0], path))
	}
	s.table.Help(s.Err, s.dialect, s.program, s.width(), e)
	return min(1, len(rest))
}

// unknown is a first word that is no verb.
func (s *shell) unknown(word string) int {
	if s.dialect == command.Podman {
		return command.Report(s.Err, s.dialect, fmt.Errorf("unrecognized command `%s %s`\n\nTry '%s --help' for more information", s.program, word, s.program))
	}
	return command.Report(s.Err, s.dialect, fmt.Errorf("%s: '%s' is not a %s command.\nSee '%s --help'", s.program, word, s.program, s.program))
}
