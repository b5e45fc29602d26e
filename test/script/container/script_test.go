// Package container runs the txtar scripts of this folder: the verbs on
// containers as a person types them, with what must be seen. They run as root,
// in a network namespace that no other test shares; each script has a store and
// a run folder of its own and the built-in image, and ends when nothing of it is
// left.
//
// A script has berth and docker (a link to it) on its PATH and, beside
// testscript's own words, `exits CODE PROGRAM ARGS…`. It belongs to the tests,
// outside the rows.
package container

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"berth/test/netns"
)

func TestMain(m *testing.M) { os.Exit(netns.Main(m.Run)) }

func TestScripts(t *testing.T) {
	netns.Need(t)
	berth, err := filepath.Abs("../../../bin/berth")
	if err != nil {
		t.Fatal(err)
	}
	if p := os.Getenv("BERTH"); p != "" {
		berth = p
	}
	if _, err := os.Stat(berth); err != nil {
		t.Fatalf("%v: build it with make", err)
	}
	testscript.Run(t, testscript.Params{
		Dir:   ".",
		Setup: func(e *testscript.Env) error { return setup(e, berth) },
		Cmds:  map[string]func(*testscript.TestScript, bool, []string){"exits": exits},
	})
}

func setup(e *testscript.Env, berth string) error {
	bin := filepath.Join(e.WorkDir, ".bin")
	if err := os.MkdirAll(bin, 0o755); err != nil {
		return err
	}
	for _, name := range []string{"berth", "docker"} {
		if err := os.Symlink(berth, filepath.Join(bin, name)); err != nil {
			return err
		}
	}
	e.Setenv("PATH", bin+":"+os.Getenv("PATH"))
	e.Setenv("HOME", e.WorkDir)
	// Sockets have short names only.
	run, err := os.MkdirTemp("/run", "bt")
	if err != nil {
		return err
	}
	e.Setenv("BERTH_ROOT", filepath.Join(e.WorkDir, ".root"))
	e.Setenv("BERTH_RUN", run)
	e.Setenv("BERTH_ETC", filepath.Join(e.WorkDir, ".etc"))
	vars := e.Vars
	e.Defer(func() {
		// What is left is removed all the same, and told of.
		cmd := exec.Command(berth, "ps", "-aq")
		cmd.Env = vars
		left, err := cmd.Output()
		if ids := strings.Fields(string(left)); err != nil || len(ids) > 0 {
			cmd = exec.Command(berth, append([]string{"rm", "-f"}, ids...)...)
			cmd.Env = vars
			_ = cmd.Run()
			e.T().Log("left behind: ", strings.Join(ids, " "), err)
		}
		_ = os.RemoveAll(run)
	})
	return nil
}

// exits runs a program that ends with a code: exits CODE PROGRAM ARGS…
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
		ts.Fatalf("%s", fmt.Sprintf("exit code %d, not %d", got, want))
	}
}
