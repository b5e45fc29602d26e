// Package typed is what txtar scripts of commands, as a person types them, have
// beside testscript's own words:
//
//	exits CODE PROGRAM ARGS…    runs a program that ends with this code
//	until REGEXP PROGRAM ARGS…  repeats it until its output matches
//	match FILE GOLDEN           the file's lines match GOLDEN's, which are regular expressions with $VARIABLES
//	keep NAME FILE              sets $NAME to the file's text, without the spaces around it
//
// It belongs to the tests, outside the rows.
package typed

import (
	"errors"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

// Words are the words.
func Words() map[string]func(*testscript.TestScript, bool, []string) {
	return map[string]func(*testscript.TestScript, bool, []string){"exits": exits, "until": until, "match": match, "keep": keep}
}

func exits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits CODE PROGRAM ARGS…")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	err = ts.Exec(args[1], args[2:]...)
	got := 0
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		got = exit.ExitCode()
	} else {
		ts.Check(err)
	}
	if got != want {
		ts.Fatalf("%s: exit code %d, not %d", strings.Join(args[1:], " "), got, want)
	}
}

// patience is how long until waits for what no event tells of.
const patience = 120 * time.Second

func until(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: until REGEXP PROGRAM ARGS…")
	}
	want, err := regexp.Compile("(?m)" + args[0])
	ts.Check(err)
	var env []string
	for _, name := range []string{"PATH", "HOME", "BERTH_ROOT", "BERTH_RUN", "BERTH_ETC", "TZ"} {
		env = append(env, name+"="+ts.Getenv(name))
	}
	for end := time.Now().Add(patience); ; time.Sleep(50 * time.Millisecond) {
		cmd := exec.Command("/usr/bin/env", args[1:]...)
		cmd.Dir, cmd.Env = ts.MkAbs("."), env
		out, err := cmd.CombinedOutput()
		if want.Match(out) {
			return
		}
		if time.Now().After(end) {
			ts.Fatalf("%q did not come, the last was %q, %v", args[0], out, err)
		}
	}
}

func match(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) != 2 || neg {
		ts.Fatalf("usage: match FILE GOLDEN")
	}
	got := strings.Split(strings.TrimRight(ts.ReadFile(args[0]), "\n"), "\n")
	want := strings.Split(strings.TrimRight(os.Expand(ts.ReadFile(args[1]), ts.Getenv), "\n"), "\n")
	for i := range max(len(got), len(want)) {
		if i >= len(got) || i >= len(want) {
			ts.Fatalf("%s has %d lines, %s %d:\n%s", args[0], len(got), args[1], len(want), strings.Join(got, "\n"))
		}
		re, err := regexp.Compile("^(?:" + want[i] + ")$")
		ts.Check(err)
		if !re.MatchString(got[i]) {
			ts.Fatalf("line %d: %q does not match %q", i+1, got[i], want[i])
		}
	}
}

func keep(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) != 2 || neg {
		ts.Fatalf("usage: keep NAME FILE")
	}
	ts.Setenv(args[0], strings.TrimSpace(ts.ReadFile(args[1])))
}
