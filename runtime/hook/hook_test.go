package hook

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"berth/base/fault"
)

// script writes an executable hook.
func script(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "hook")
	if err := os.WriteFile(path, []byte("#!/bin/sh\n"+text+"\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	return path
}

func state(dir string) *specs.State {
	return &specs.State{Version: specs.Version, ID: "c1", Status: specs.StateCreating, Pid: 42, Bundle: dir,
		Annotations: map[string]string{"big": strings.Repeat("x", 200_000)}}
}

func read(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestRun(t *testing.T) {
	dir := t.TempDir()
	hook := script(t, `cat > `+dir+`/state; pwd > `+dir+`/cwd; echo "$0|$1|$2" > `+dir+`/args; ls /proc/self/fd > `+dir+`/fds; echo noise; echo noise >&2`)
	st := state(dir)
	if err := Run(context.Background(), "createRuntime", []specs.Hook{{Path: hook, Args: []string{"zero", "one", "two"}}}, st); err != nil {
		t.Fatal(err)
	}
	var got specs.State
	if err := json.Unmarshal([]byte(read(t, dir+"/state")), &got); err != nil {
		t.Fatal(err)
	}
	if got.ID != "c1" || got.Pid != 42 || got.Status != specs.StateCreating || len(got.Annotations["big"]) != 200_000 {
		t.Errorf("state %+v", got)
	}
	if cwd := read(t, dir+"/cwd"); cwd != dir+"\n" {
		t.Errorf("cwd %q", cwd)
	}
	if args := read(t, dir+"/args"); !strings.HasSuffix(args, "|one|two\n") {
		t.Errorf("args %q", args)
	}
	// 3 is ls's own, of the folder it reads.
	if fds := read(t, dir+"/fds"); fds != "0\n1\n2\n3\n" {
		t.Errorf("descriptors %q", fds)
	}
}

// V14: nothing of the caller's environment reaches a hook.
func TestEnvironmentIsClean(t *testing.T) {
	t.Setenv("LD_PRELOAD", "/nonexistent/evil.so")
	t.Setenv("BERTH_SECRET", "yes")
	dir := t.TempDir()
	for _, tc := range []struct {
		env  []string
		want string
	}{{nil, ""}, {[]string{"A=1", "B=two words", "A=3"}, "A=1\nB=two words\nA=3\n"}} {
		h := specs.Hook{Path: "/bin/sh", Args: []string{"sh", "-c", `tr '\0' '\n' < /proc/$$/environ > ` + dir + `/env`}, Env: tc.env}
		if err := Run(context.Background(), "poststart", []specs.Hook{h}, state(dir)); err != nil {
			t.Fatal(err)
		}
		if got := read(t, dir+"/env"); got != tc.want {
			t.Errorf("%q: got %q", tc.env, got)
		}
	}
}

func TestFailures(t *testing.T) {
	one := 1
	gone := filepath.Join(t.TempDir(), "gone")
	for _, tc := range []struct {
		name string
		hook specs.Hook
		want string
	}{
		{"exit code and words", specs.Hook{Path: script(t, "echo first; echo second >&2; exit 3")}, `exit status 3: "first\nsecond"`},
		{"signal", specs.Hook{Path: script(t, "kill -9 $$")}, "killed by signal 9"},
		{"missing", specs.Hook{Path: gone}, "start it: no such file"},
		{"much output", specs.Hook{Path: script(t, "head -c 1000000 /dev/zero | tr '\\0' x; exit 1")}, "xxx"},
		{"time", specs.Hook{Path: script(t, "echo waiting; sleep 60 & wait"), Timeout: &one}, `ran out of time and was killed: "waiting"`},
	} {
		t.Run(tc.name, func(t *testing.T) {
			begin := time.Now()
			marker := filepath.Join(t.TempDir(), "later")
			list := []specs.Hook{tc.hook, {Path: "/usr/bin/touch", Args: []string{"touch", marker}}}
			err := Run(context.Background(), "prestart", list, state("/"))
			if err == nil || !strings.Contains(err.Error(), tc.want) || !strings.Contains(err.Error(), "hooks.prestart[0] ("+tc.hook.Path+")") {
				t.Errorf("got %v", err)
			}
			if err != nil && (strings.Contains(err.Error(), "\n") || len(err.Error()) > 8000) {
				t.Errorf("the error has %d bytes", len(err.Error()))
			}
			if _, err := os.Stat(marker); err == nil {
				t.Error("the next hook ran")
			}
			if d := time.Since(begin); d > 10*time.Second {
				t.Errorf("took %v", d)
			}
		})
	}
}

// What a hook leaves in the background neither blocks us nor dies of us.
func TestBackground(t *testing.T) {
	dir := t.TempDir()
	h := specs.Hook{Path: script(t, "(sleep 3; touch "+dir+"/alive) & exit 0")}
	begin := time.Now()
	if err := Run(context.Background(), "poststart", []specs.Hook{h}, state(dir)); err != nil {
		t.Fatal(err)
	}
	if d := time.Since(begin); d > 2900*time.Millisecond {
		t.Errorf("waited %v", d)
	}
	for range 200 {
		if _, err := os.Stat(dir + "/alive"); err == nil {
			return
		}
		time.Sleep(50 * time.Millisecond)
	}
	t.Error("the background process died")
}

func TestCancel(t *testing.T) {
	ctx, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
	defer cancel()
	begin := time.Now()
	err := Run(ctx, "poststop", []specs.Hook{{Path: script(t, "sleep 60")}}, state("/"))
	if err == nil || time.Since(begin) > 5*time.Second {
		t.Errorf("%v after %v", err, time.Since(begin))
	}
}

func TestRunAll(t *testing.T) {
	dir := t.TempDir()
	var warned int
	list := []specs.Hook{{Path: "/bin/false"}, {Path: "/usr/bin/touch", Args: []string{"touch", dir + "/ran"}}}
	RunAll(context.Background(), "poststop", list, state(dir), func(string, ...any) { warned++ })
	if _, err := os.Stat(dir + "/ran"); err != nil || warned != 1 {
		t.Errorf("%v, %d warnings", err, warned)
	}
}

func TestCheck(t *testing.T) {
	zero := 0
	for _, tc := range []struct {
		want string
		h    specs.Hook
	}{
		{"path", specs.Hook{Path: "relative"}},
		{"path", specs.Hook{}},
		{"path", specs.Hook{Path: "/a\x00b"}},
		{"args[1]", specs.Hook{Path: "/a", Args: []string{"a", "b\x00"}}},
		{"env[0]", specs.Hook{Path: "/a", Env: []string{"A=\x00"}}},
		{"timeout", specs.Hook{Path: "/a", Timeout: &zero}},
	} {
		err := Check(&specs.Hooks{Poststop: []specs.Hook{{Path: "/fine"}, tc.h}})
		if !errors.Is(err, fault.Invalid) || !strings.HasPrefix(err.Error(), "hooks.poststop[1]."+tc.want) {
			t.Errorf("%+v: %v", tc.h, err)
		}
	}
	if err := Check(nil); err != nil {
		t.Error(err)
	}
}
