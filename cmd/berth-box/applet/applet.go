// Package applet holds the everyday tools of the built-in image: those of
// u-root's core library, and small ones of ours for the words that it lacks.
// They know the flags that people type, not every one that GNU has. Row 7.
package applet

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/u-root/u-root/pkg/core"
	"github.com/u-root/u-root/pkg/core/base64"
	"github.com/u-root/u-root/pkg/core/cat"
	"github.com/u-root/u-root/pkg/core/cp"
	"github.com/u-root/u-root/pkg/core/find"
	"github.com/u-root/u-root/pkg/core/mkdir"
	"github.com/u-root/u-root/pkg/core/mktemp"
	"github.com/u-root/u-root/pkg/core/mv"
	"github.com/u-root/u-root/pkg/core/rm"
)

// Run is one tool: it gets its own name and the words after it, and gives the
// exit code.
type Run func(name string, args []string) int

// tools is a function, so that a start of the program pays for one tool only.
func tools(name string) func() core.Command {
	switch name {
	case "base64":
		return base64.New
	case "cat":
		return cat.New
	case "cp":
		return cp.New
	case "find":
		return find.New
	case "mkdir":
		return mkdir.New
	case "mktemp":
		return mktemp.New
	case "mv":
		return mv.New
	case "rm":
		return rm.New
	}
	return nil
}

var fromCore = [...]string{"base64", "cat", "cp", "find", "mkdir", "mktemp", "mv", "rm"}

// own are the tools of this package.
func own(name string) Run {
	for _, t := range [...]struct {
		name string
		run  Run
	}{
		{"basename", plain(basename)}, {"chmod", plain(chmod)}, {"chown", plain(chown)}, {"cut", plain(cut)}, {"date", plain(date)}, {"df", plain(df)},
		{"dirname", plain(dirname)}, {"du", plain(du)}, {"echo", plain(echo)}, {"env", env}, {"expr", plain(expr)}, {"free", plain(free)},
		{"grep", grep}, {"gunzip", zip}, {"gzip", zip}, {"head", plain(head)}, {"hostname", plain(hostname)}, {"id", plain(id)}, {"kill", plain(kill)}, {"ln", plain(ln)}, {"ls", plain(ls)},
		{"mkfifo", plain(mkfifo)}, {"mount", plain(mount)}, {"nproc", plain(nproc)}, {"printenv", plain(printenv)}, {"ps", plain(ps)}, {"pwd", plain(pwd)},
		{"readlink", plain(readlink)}, {"realpath", plain(realpath)}, {"rmdir", plain(rmdir)}, {"seq", plain(seq)},
		{"sha256sum", sum}, {"sha512sum", sum}, {"sleep", plain(sleep)}, {"sort", plain(sortLines)}, {"stat", plain(stat)}, {"sync", plain(syncAll)},
		{"tail", plain(tail)}, {"tar", plain(tape)}, {"tee", plain(tee)}, {"timeout", timeout}, {"touch", plain(touch)}, {"tr", plain(tr)}, {"tty", tty}, {"umount", plain(umount)},
		{"uname", plain(uname)}, {"uniq", plain(uniq)}, {"wc", plain(wc)}, {"which", which}, {"whoami", plain(whoami)}, {"xargs", plain(xargs)}, {"yes", plain(yes)}, {"zcat", zip},
	} {
		if t.name == name {
			return t.run
		}
	}
	return nil
}

var ownNames = [...]string{"basename", "chmod", "chown", "cut", "date", "df", "dirname", "du", "echo", "env", "expr", "free", "grep", "gunzip", "gzip", "head", "hostname", "id", "kill", "ln", "ls",
	"mkfifo", "mount", "nproc", "printenv", "ps", "pwd", "readlink", "realpath", "rmdir", "seq", "sha256sum", "sha512sum", "sleep", "sort", "stat", "sync", "tail", "tar",
	"tee", "timeout", "touch", "tr", "tty", "umount", "uname", "uniq", "wc", "which", "whoami", "xargs", "yes", "zcat"}

// Names lists the tools, sorted.
func Names() []string {
	return slices.Sorted(slices.Values(append(fromCore[:len(fromCore):len(fromCore)], ownNames[:]...)))
}

// Find gives the tool of a name, or nil.
func Find(name string) Run {
	if make := tools(name); make != nil {
		return plain(func(args []string) error { return make().Run(args...) })
	}
	return own(name)
}

// plain makes a tool of a function whose every error is exit code 1.
func plain(f func(args []string) error) Run {
	return func(name string, args []string) int {
		err := f(args)
		switch {
		case err == nil, errors.Is(err, flag.ErrHelp):
			return 0
		case errors.Is(err, errQuiet):
			return 1
		}
		fmt.Fprintf(os.Stderr, "%s: %s\n", name, strings.TrimPrefix(err.Error(), name+": "))
		return 1
	}
}

// errQuiet is exit code 1 without a word: it has been said, or says itself.
var errQuiet = errors.New("failed")

// flags is a flag set that lets single letters stand together (-la).
type flags struct {
	*flag.FlagSet
}

func newFlags(name string) flags {
	f := flags{flag.NewFlagSet(name, flag.ContinueOnError)}
	f.SetOutput(os.Stderr)
	return f
}

// parse reads args; letters without values may stand together, and a value may
// follow its letter at once (-n5).
func (f flags) parse(args []string) ([]string, error) {
	var out []string
	for i, a := range args {
		if a == "--" || len(a) < 2 || a[0] != '-' {
			return f.rest(append(out, args[i:]...))
		}
		if strings.HasPrefix(a, "--") || f.Lookup(a[1:]) != nil || f.Lookup(a[1:2]) == nil {
			out = append(out, a)
			if fl := f.Lookup(strings.TrimLeft(a, "-")); fl != nil && !isBool(fl) && i+1 < len(args) {
				return f.continued(out, args[i+1:])
			}
			continue
		}
		for j := 1; j < len(a); j++ {
			fl := f.Lookup(a[j : j+1])
			if fl != nil && !isBool(fl) && j+1 < len(a) {
				out = append(out, "-"+a[j:j+1]+"="+a[j+1:])
				break
			}
			out = append(out, "-"+a[j:j+1])
		}
		if last := f.Lookup(a[len(a)-1:]); last != nil && !isBool(last) && len(out) > 0 && out[len(out)-1] == "-"+a[len(a)-1:] && i+1 < len(args) {
			return f.continued(out, args[i+1:])
		}
	}
	return f.rest(out)
}

// continued takes the value of the last flag and goes on behind it.
func (f flags) continued(out, rest []string) ([]string, error) {
	if err := f.Parse(append(out, rest[0])); err != nil {
		return nil, err
	}
	return f.parse(rest[1:])
}

func (f flags) rest(args []string) ([]string, error) {
	if err := f.Parse(args); err != nil {
		return nil, err
	}
	return f.Args(), nil
}

func isBool(f *flag.Flag) bool {
	b, ok := f.Value.(interface{ IsBoolFlag() bool })
	return ok && b.IsBoolFlag()
}

// each opens the named files in turn, standard input for none or "-".
func each(names []string, f func(name string, r io.Reader) error) error {
	if len(names) == 0 {
		names = []string{"-"}
	}
	failed := false
	for _, n := range names {
		if n == "-" {
			if err := f("-", os.Stdin); err != nil {
				return err
			}
			continue
		}
		file, err := os.Open(n)
		if err == nil {
			err = f(n, file)
			file.Close()
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			failed = true
		}
	}
	if failed {
		return errQuiet
	}
	return nil
}
