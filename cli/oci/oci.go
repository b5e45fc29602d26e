// Package oci is berth-oci's command line: runc's verbs, flags, output, log and
// exit codes over package runtime, one verb one file. A verb is parsed into its
// own struct, then run; what a verb prints is built here and nowhere else.
//
//	Main ── global flags ── verb ── its flags and words ── run ── exit code
//	            │                                            │
//	          logger  ◄───────────── errors, warnings ───────┘
//
// It knows nothing of namespaces, cgroups or mounts, keeps no state, and writes
// no file but the log and what `spec` makes. Row 6.
package oci

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime/debug"

	"berth/base/fault"
	"berth/cli/oci/cmdline"
	"berth/runtime"
)

// Name is the program's name in every text.
const Name = "berth-oci"

// exitUnknownVerb is what runc ends with for a command that it does not know.
const exitUnknownVerb = 3

// call is one invocation of a verb.
type call struct {
	words  []string // arguments that are not flags
	global *globals
	rt     Runtime
	log    *logger
	stdin  io.Reader
	stdout io.Writer
}

// command is a verb's parsed flags; run gets its words and does it. The number
// is the exit code if there is no error.
type command interface {
	flags(*cmdline.Set)
	run(context.Context, *call) (int, error)
}

// verb is one row of the table of verbs.
type verb struct {
	name, summary, args, about string
	min, max                   int  // number of words
	leading                    bool // flags end at the first word
	hidden                     bool
	new                        func() command
	// failed is the exit code with an error, 1 if it is zero.
	failed int
}

// Main runs one command line, args[0] being the program's name, and returns the
// exit code. Open builds the runtime once the global flags are known.
func Main(args []string, open func(Options) Runtime) int {
	return (&shell{open: open, stdin: os.Stdin, stdout: os.Stdout, stderr: os.Stderr}).run(args)
}

// shell is where a command line runs; tests put buffers in.
type shell struct {
	open           func(Options) Runtime
	stdin          io.Reader
	stdout, stderr io.Writer
}

func (s *shell) run(args []string) int {
	var g globals
	log := newLogger(s.stderr)
	set := cmdline.NewSet()
	g.flags(set)
	rest, err := set.ParseLeading(args[min(1, len(args)):])
	switch {
	case errors.Is(err, cmdline.ErrHelp):
		return s.help(nil, log)
	case err != nil:
		return log.fatal(err, 1)
	case g.version:
		printVersion(s.stdout)
		return 0
	case len(rest) == 0:
		return s.help(nil, log)
	}
	if err := log.configure(&g); err != nil {
		return log.fatal(err, 1)
	}
	defer log.close()
	if rest[0] == "help" || rest[0] == "h" {
		return s.help(rest[1:], log)
	}
	v := find(rest[0])
	if v == nil {
		return log.fatal(fault.New(fault.Invalid, "no command %q: %s help lists them", rest[0], Name), exitUnknownVerb)
	}
	return s.runVerb(v, rest[1:], &g, log)
}

func (s *shell) runVerb(v *verb, args []string, g *globals, log *logger) (code int) {
	cmd, words, err := v.parse(args)
	if errors.Is(err, cmdline.ErrHelp) {
		return s.help([]string{v.name}, log)
	}
	if err != nil {
		return log.fatal(err, 1)
	}
	opts, err := g.options(v.name)
	if err != nil {
		return log.fatal(err, 1)
	}
	opts.Warn = log.warnf
	log.debugf("%s: the state folder is %q", v.name, opts.Root)
	defer func() {
		// A fault of ours is one line too; the stacks of undo have unwound by now.
		if p := recover(); p != nil {
			log.debugf("%s", debug.Stack())
			code = log.fatal(fmt.Errorf("%s: internal error: %v", v.name, p), max(1, v.failed))
		}
	}()
	c := &call{words: words, global: g, rt: s.open(opts), log: log, stdin: s.stdin, stdout: s.stdout}
	code, err = cmd.run(context.Background(), c)
	if err != nil {
		return log.fatal(v.explain(err), max(1, v.failed))
	}
	return code
}

// explain says which verb failed when the reason comes from inside the
// container, in the words that engines look for.
func (v *verb) explain(err error) error {
	var start *runtime.StartError
	if errors.As(err, &start) {
		return fmt.Errorf("%s failed: unable to start container process: %w", v.name, err)
	}
	if v.name == "exec" {
		return fmt.Errorf("exec failed: %w", err)
	}
	return err
}

// parse turns the words behind a verb into its command. It has no effects.
func (v *verb) parse(args []string) (command, []string, error) {
	cmd := v.new()
	set := cmdline.NewSet()
	cmd.flags(set)
	parse := set.Parse
	if v.leading {
		parse = set.ParseLeading
	}
	words, err := parse(args)
	if err != nil {
		if !errors.Is(err, cmdline.ErrHelp) {
			err = fault.New(fault.Invalid, "%s: %w", v.name, err)
		}
		return nil, nil, err
	}
	// Words behind "ID --" of exec and ps: the dashes are not the program's.
	if v.leading && len(words) > 1 && words[1] == "--" {
		words = append(words[:1:1], words[2:]...)
	}
	switch n := len(words); {
	case v.min == v.max && n != v.min:
		err = fault.New(fault.Invalid, "%s: %q requires exactly %d argument(s)", Name, v.name, v.min)
	case n < v.min:
		err = fault.New(fault.Invalid, "%s: %q requires a minimum of %d argument(s)", Name, v.name, v.min)
	case n > v.max:
		err = fault.New(fault.Invalid, "%s: %q requires a maximum of %d argument(s)", Name, v.name, v.max)
	}
	return cmd, words, err
}

// manyWords is the max of verbs that take any number of words.
const manyWords = 1 << 30

// verbs is the table of verbs, in the order of the help text.
func verbs() []*verb {
	return []*verb{
		&createVerb, &startVerb, &runVerb, &execVerb, &killVerb, &deleteVerb, &listVerb, &stateVerb, &psVerb,
		&pauseVerb, &resumeVerb, &updateVerb, &eventsVerb, &specVerb, &featuresVerb, &checkpointVerb, &restoreVerb,
		&completionVerb, &manVerb,
	}
}

func find(name string) *verb {
	for _, v := range verbs() {
		if v.name == name {
			return v
		}
	}
	return nil
}

// help writes the help of the program, or of the verb in words.
func (s *shell) help(words []string, log *logger) int {
	p := program()
	if len(words) == 0 {
		p.Help(s.stdout)
		return 0
	}
	for i := range p.Verbs {
		if p.Verbs[i].Name == words[0] {
			p.VerbHelp(s.stdout, &p.Verbs[i])
			return 0
		}
	}
	return log.fatal(fault.New(fault.Invalid, "no help for %q: it is not a command", words[0]), exitUnknownVerb)
}
