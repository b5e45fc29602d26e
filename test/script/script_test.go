// Package script runs the txtar scripts of testdata: one per verb of
// berth-oci, as a person would type it, with what must be seen. The program
// that runs is the real one (see package bundle), on this kernel: as who runs
// the test, root or an ordinary user with a delegated cgroup, and, when that
// is root, as an ordinary user without any cgroup.
//
// Beside testscript's own words a script has: `berth-oci ARGS…` (with a state
// folder of the script's own), `exits CODE berth-oci ARGS…`, `bundle DIR
// ARGS…`, `edit DIR FIELD JSON`, `json FILE FIELD [JSON|~REGEXP]`, `status ID
// STATUS` (waits for it), and the condition [runc] for Debian's runc 1.1 in
// place of ours, whose differences from newer versions are guarded with it.
// A user's bundle has a user namespace, which edit keeps in the list. What
// users cannot do at all, or not without a cgroup, is guarded with the
// conditions that person has.
// It belongs to the tests, outside the rows.
package script

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"berth/test/account"
	"berth/test/bundle"
	"berth/test/leak"

	"github.com/rogpeppe/go-internal/testscript"
)

func TestMain(m *testing.M) {
	var cfg leak.Config
	if os.Getuid() != 0 { // who may not enter network namespaces
		cfg.Except = []leak.Kind{leak.Link, leak.NFT}
	}
	os.Exit(leak.Main(m, cfg))
}

func TestScripts(t *testing.T) {
	play(t, caller(t))
}

// TestScriptsAsUser plays them as a user with one id and without a cgroup.
func TestScriptsAsUser(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("needs root: starts programs as another user")
	}
	if cgroup2() {
		t.Skip("cgroup layout: on v2 users have cgroups, TestScripts run by one has, too")
	}
	play(t, &person{Account: account.Alone(64872)})
}

// TestScriptsWithIDs plays them as a user with subordinate ids, and no cgroup either.
func TestScriptsWithIDs(t *testing.T) {
	if os.Getuid() != 0 || cgroup2() {
		t.Skip("needs root, and cgroups that users have not: see TestScriptsAsUser")
	}
	who := account.Temporary(t, "berth-test-oci")
	t.Run("play", func(t *testing.T) { play(t, &person{Account: who}) })
}

func play(t *testing.T, who *person) {
	path, err := bundle.Locate()
	if err != nil {
		t.Fatal(err)
	}
	version, err := exec.Command(path, "--version").Output()
	if err != nil {
		t.Fatalf("%s --version: %v", path, err)
	}
	testscript.Run(t, testscript.Params{
		Dir:   "testdata",
		Setup: func(e *testscript.Env) error { return setup(e, path, who) },
		Condition: func(cond string) (bool, error) {
			if cond == "runc" {
				return strings.HasPrefix(string(version), "runc version 1.1."), nil
			}
			if value, ok := who.conditions()[cond]; ok {
				return value, nil
			}
			return false, fmt.Errorf("unknown condition %q", cond)
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"berth-oci": runtimeCommand, "exits": exits, "bundle": who.makeBundle, "edit": who.edit, "json": assertJSON,
			"status": waitStatus,
		},
	})
}

// setup puts a program berth-oci on the script's PATH that has the script's
// state folder, and removes what the script forgot.
func setup(e *testscript.Env, path string, who *person) error {
	root := filepath.Join(e.WorkDir, ".state")
	dir := filepath.Join(e.WorkDir, ".bin")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	wrapper := fmt.Sprintf("#!/bin/sh\numask 022\nexec %s%s --root %s \"$@\"\n", who.Prefix(), path, root)
	if err := os.WriteFile(filepath.Join(dir, "berth-oci"), []byte(wrapper), 0o755); err != nil {
		return err
	}
	if err := account.Open(e.WorkDir); err != nil {
		return err
	}
	if err := who.Give(e.WorkDir); err != nil {
		return err
	}
	e.Setenv("PATH", dir+":/usr/sbin:/usr/bin:/sbin:/bin")
	e.Setenv("OWNER", who.Name())
	e.Setenv("ROOT", root)
	e.Setenv("RUNTIME", path)
	e.Setenv("BIN", dir)
	e.Defer(func() {
		entries, _ := os.ReadDir(root)
		for _, entry := range entries {
			_ = exec.Command(filepath.Join(dir, "berth-oci"), "delete", "--force", entry.Name()).Run()
		}
	})
	return nil
}

// limit is how long one command may take.
const limit = 20 * time.Second

// start runs a command with its output in files, so that a container which
// keeps them open does not hold it up, and gives its exit code.
func start(ts *testscript.TestScript, args []string) int {
	for _, name := range []string{".stdout", ".stderr"} {
		_ = os.Remove(ts.MkAbs(name)) // a runtime gives its streams to the container's user
	}
	out, err := os.Create(ts.MkAbs(".stdout"))
	ts.Check(err)
	defer out.Close()
	errs, err := os.Create(ts.MkAbs(".stderr"))
	ts.Check(err)
	defer errs.Close()
	cmd := exec.Command(ts.Getenv("BIN")+"/berth-oci", args...)
	cmd.Dir = ts.MkAbs(".")
	cmd.Env = []string{"PATH=" + ts.Getenv("PATH"), "BERTH_LEAK=" + os.Getenv("BERTH_LEAK")}
	cmd.Stdout, cmd.Stderr = out, errs
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	ts.Check(cmd.Start())
	timer := time.AfterFunc(limit, func() { _ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) })
	_ = cmd.Wait()
	if !timer.Stop() {
		ts.Fatalf("berth-oci %s: still running after %s", strings.Join(args, " "), limit)
	}
	fmt.Fprint(ts.Stdout(), ts.ReadFile(out.Name()))
	fmt.Fprint(ts.Stderr(), ts.ReadFile(errs.Name()))
	return cmd.ProcessState.ExitCode()
}

func runtimeCommand(ts *testscript.TestScript, neg bool, args []string) {
	code := start(ts, args)
	if (code != 0) != neg {
		ts.Fatalf("berth-oci %s: exit code %d", strings.Join(args, " "), code)
	}
}

func exits(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) < 2 || args[1] != "berth-oci" || neg {
		ts.Fatalf("usage: exits CODE berth-oci ARGS…")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	if code := start(ts, args[2:]); code != want {
		ts.Fatalf("berth-oci %s: exit code %d, want %d", strings.Join(args[2:], " "), code, want)
	}
}

func (who *person) makeBundle(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) < 1 || neg {
		ts.Fatalf("usage: bundle DIR [ARGS…]")
	}
	dir := ts.MkAbs(args[0])
	ts.Check(os.MkdirAll(dir, 0o755))
	options := who.options()
	if len(args) > 1 {
		options = append(options, bundle.Args(args[1:]...))
	}
	b, err := bundle.Make(dir, options...)
	ts.Check(err)
	ts.Check(who.Give(dir))
	ts.Setenv("CGROUPSPATH", b.Spec.Linux.CgroupsPath)
	ts.Setenv("CGROUP", who.cgroup(b.Spec.Linux.CgroupsPath))
}

// edit sets one field of DIR/config.json; the last part may be "+" to append
// to a list, and the JSON text null takes the field out.
func (who *person) edit(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) != 3 || neg {
		ts.Fatalf("usage: edit DIR FIELD JSON")
	}
	path := filepath.Join(ts.MkAbs(args[0]), "config.json")
	var doc, value any
	ts.Check(json.Unmarshal([]byte(ts.ReadFile(path)), &doc))
	ts.Check(json.Unmarshal([]byte(args[2]), &value))
	if list, ok := value.([]any); ok && args[1] == "linux.namespaces" && who.UID != 0 {
		value = append(list, map[string]any{"type": "user"})
	}
	doc, err := put(doc, strings.Split(args[1], "."), value)
	ts.Check(err)
	data, err := json.MarshalIndent(doc, "", "\t")
	ts.Check(err)
	ts.Check(os.WriteFile(path, data, 0o644))
}

func put(doc any, path []string, value any) (any, error) {
	if len(path) == 0 {
		return value, nil
	}
	if list, ok := doc.([]any); ok {
		if path[0] == "+" {
			return append(list, value), nil
		}
		i, err := strconv.Atoi(path[0])
		if err != nil || i < 0 || i >= len(list) {
			return nil, fmt.Errorf("no element %q in a list of %d", path[0], len(list))
		}
		list[i], err = put(list[i], path[1:], value)
		return list, err
	}
	m, ok := doc.(map[string]any)
	if !ok {
		m = map[string]any{}
		if path[0] == "+" {
			return []any{value}, nil
		}
	}
	if value == nil && len(path) == 1 {
		delete(m, path[0])
		return m, nil
	}
	below, err := put(m[path[0]], path[1:], value)
	m[path[0]] = below
	return m, err
}

func get(doc any, path []string) (any, bool) {
	if len(path) == 0 || path[0] == "" {
		return doc, true
	}
	switch v := doc.(type) {
	case map[string]any:
		below, ok := v[path[0]]
		if !ok {
			return nil, false
		}
		return get(below, path[1:])
	case []any:
		i, err := strconv.Atoi(path[0])
		if err != nil || i < 0 || i >= len(v) {
			return nil, false
		}
		return get(v[i], path[1:])
	}
	return nil, false
}

// assertJSON compares one field of a JSON file ("stdout" is the last
// command's output) with a JSON text, or its text with a regular expression.
func assertJSON(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) < 2 || len(args) > 3 {
		ts.Fatalf("usage: json FILE FIELD [JSON|~REGEXP]")
	}
	var doc any
	if err := json.Unmarshal([]byte(ts.ReadFile(args[0])), &doc); err != nil {
		ts.Fatalf("%s is no JSON: %v", args[0], err)
	}
	value, found := get(doc, strings.Split(args[1], "."))
	good := found
	if found && len(args) == 3 {
		if re, ok := strings.CutPrefix(args[2], "~"); ok {
			good = regexp.MustCompile(re).MatchString(fmt.Sprint(value))
		} else {
			var want any
			ts.Check(json.Unmarshal([]byte(args[2]), &want))
			good = reflect.DeepEqual(value, want)
		}
	}
	if good == neg {
		ts.Fatalf("%s: field %s is %v (there: %t)", args[0], args[1], value, found)
	}
}

// waitStatus waits until the container has the status, 5 s at most.
func waitStatus(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) != 2 || neg {
		ts.Fatalf("usage: status ID STATUS")
	}
	var last string
	for end := time.Now().Add(5 * time.Second); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		out, err := exec.Command(ts.Getenv("BIN")+"/berth-oci", "state", args[0]).CombinedOutput()
		var state struct{ Status string }
		if err == nil && json.Unmarshal(out, &state) == nil && state.Status == args[1] {
			return
		}
		last = string(out)
	}
	ts.Fatalf("%s is not %s after 5 s: %s", args[0], args[1], last)
}
