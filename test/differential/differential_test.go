// Package differential runs the same bundle on berth-oci and on another
// runtime and compares what the probe saw inside: the whole report where the
// other one is Debian's runc, the answers to the case's own questions where it
// is Debian's crun (which lays things out differently) and where neither
// knows the feature: then they are written down with the case.
//
// A case is data: what the bundle is, what is asked, whom to compare with.
// What the two may differ in is in normalise_test.go and nowhere else. It
// belongs to the tests, outside the rows.
package differential

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"berth/test/bundle"
	"berth/test/leak"

	"github.com/google/go-cmp/cmp"
)

// peer is whom a case is compared with.
type peer int

const (
	runc peer = iota
	crun
	written // with the case's own want
)

// scenario is one case. Its bundle is made anew for each runtime.
type scenario struct {
	name   string
	peer   peer
	bundle func(h *host) []bundle.Option
	do     []string // the probe's verbs, "--" between them; empty: the report
	exec   []string // options of exec; nil: the container's own process is asked
	run    []string // options of run
	want   []string // written: the answers, an error's name with "!" before it
	fails  bool     // the runtime must refuse
	says   string   // … and its error must have this in it (ours only)
	tty    bool     // the process has a terminal, handed over a console socket
}

// outcome is what is compared.
type outcome struct {
	Failed  bool
	Code    int
	Report  any             `json:",omitempty"`
	Answers []bundle.Answer `json:",omitempty"`
	Host    string          `json:",omitempty"` // what hooks and the like wrote on the host
}

func TestMain(m *testing.M) {
	if os.Getuid() != 0 {
		os.Exit(m.Run())
	}
	os.Exit(leak.Main(m, leak.Config{}))
}

func TestDifferential(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("needs root: starts containers with real ids")
	}
	ours, err := bundle.Locate()
	if err != nil {
		t.Fatal(err)
	}
	names := map[string]bool{}
	for _, c := range allScenarios() {
		if names[c.name] {
			t.Fatalf("two cases named %s", c.name)
		}
		names[c.name] = true
		t.Run(c.name, func(t *testing.T) { c.compare(t, ours) })
	}
	if len(names) < 60 {
		t.Errorf("only %d cases", len(names))
	}
}

func allScenarios() []scenario {
	var all []scenario
	for _, list := range [][]scenario{
		namespaceCases(), mountCases(), mountFlagCases(), processCases(), confinementCases(), kernelCases(),
		hookCases(), execCases(), userNamespaceCases(), newerCases(),
	} {
		all = append(all, list...)
	}
	return all
}

func (c scenario) compare(t *testing.T, ours string) {
	got := c.outcome(t, ours, true)
	if c.fails && !got.Failed {
		t.Fatalf("it must be refused; got %s", text(got))
	}
	if c.peer == written {
		if !c.fails {
			if diff := cmp.Diff(c.want, answerTexts(got.Answers)); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		}
		return
	}
	other := "/usr/sbin/runc"
	if c.peer == crun {
		other = crunWrapper(t)
	}
	want := c.outcome(t, other, false)
	if want.Failed && got.Failed {
		return // how it is said differs
	}
	if c.peer == crun && c.do == nil {
		t.Fatal("compare with crun by questions, not by the report")
	}
	if diff := cmp.Diff(plain(want), plain(got)); diff != "" {
		t.Errorf("-%s +berth-oci:\n%s", filepath.Base(other), diff)
	}
}

// plain is a value as generic JSON, which cmp walks without options.
func plain(v any) any {
	var out any
	if err := json.Unmarshal([]byte(text(v)), &out); err != nil {
		panic(err)
	}
	return out
}

func text(v any) string {
	data, err := json.MarshalIndent(v, "", " ")
	if err != nil {
		panic(err)
	}
	return string(data)
}

func answerTexts(all []bundle.Answer) []string {
	var texts []string
	for _, a := range all {
		if a.Err != "" {
			texts = append(texts, "!"+a.Err)
		} else {
			texts = append(texts, a.Out)
		}
	}
	return texts
}

// outcome runs the case on one runtime.
func (c scenario) outcome(t *testing.T, path string, ours bool) outcome {
	h := &host{t: t, dir: t.TempDir()}
	var options []bundle.Option
	ask := []string{"/probe", "report"}
	if c.do != nil {
		ask = append([]string{"/probe", "do"}, c.do...)
	}
	if c.exec == nil {
		options = append(options, bundle.Args(ask...))
	} else {
		options = append(options, bundle.Args("/probe", "sleep", "100"))
	}
	if c.bundle != nil {
		options = append(options, c.bundle(h)...)
	}
	b := bundle.New(t, options...)
	h.bundle = b
	rt := bundle.Other(t, path)
	res := c.perform(t, rt, b, h, ask)
	if c.says != "" && res.Code != 0 && !strings.Contains(res.Stderr, c.says) && ours {
		t.Errorf("the error must have %q in it: %s", c.says, res)
	}
	o := outcome{Code: res.Code, Host: h.record()}
	if !ours {
		removeCgroups(b.Spec.Linux.CgroupsPath) // it may fail and leave them
	}
	last := strings.TrimSpace(res.Stdout)
	switch {
	case strings.HasPrefix(last, "{"):
		rep := res.Report(t)
		o.Report = normalise(h, rep)
	case strings.HasPrefix(last, "["):
		o.Answers = res.Answers(t)
		for i := range o.Answers {
			o.Answers[i].Verb = h.anonymous(o.Answers[i].Verb)
			o.Answers[i].Out = h.anonymous(o.Answers[i].Out)
		}
	default:
		o.Failed = true
		if !c.fails && res.Code != 0 {
			t.Logf("%s", res)
		}
	}
	return o
}

// perform starts the container and asks its process, or one of exec's.
func (c scenario) perform(t *testing.T, rt *bundle.Runtime, b *bundle.Bundle, h *host, ask []string) bundle.Result {
	id := rt.NewID()
	h.id = id
	runWords := append(append([]string{"run", "--bundle", b.Dir}, c.run...), id)
	if c.exec == nil {
		if c.tty {
			return withConsole(t, rt, "", runWords)
		}
		return rt.Finish(h.command(rt, runWords))
	}
	started := rt.Do(append([]string{"run", "--detach"}, runWords[1:]...)...)
	if started.Code != 0 {
		return started
	}
	execWords := append([]string{"exec"}, c.exec...)
	if !h.processFile(execWords) {
		execWords = append(append(execWords, id), ask...)
	} else {
		execWords = append(execWords, id)
	}
	var res bundle.Result
	if c.tty {
		res = withConsole(t, rt, id, execWords)
	} else {
		res = rt.Finish(h.command(rt, execWords))
	}
	rt.Remove(id)
	return res
}

// removeCgroups takes a container's cgroup out of every v1 hierarchy.
func removeCgroups(path string) {
	dirs, _ := filepath.Glob("/sys/fs/cgroup/*/" + filepath.Base(path))
	for _, dir := range dirs {
		_ = os.Remove(dir)
	}
}

// command is a runtime's command with the case's further open files.
func (h *host) command(rt *bundle.Runtime, words []string) *exec.Cmd {
	cmd := rt.Command(words...)
	cmd.ExtraFiles = h.files
	if h.files != nil {
		cmd.Env = append(os.Environ(), "LISTEN_FDS=1")
	}
	return cmd
}

// crunWrapper is a program that runs Debian's crun as if the host had no
// second hierarchy: on a hybrid host it takes the empty v2 mount for the
// place of its limits, so it gets a mount namespace without that mount.
func crunWrapper(t *testing.T) string {
	const unified = "/sys/fs/cgroup/unified"
	if _, err := os.Stat(unified + "/cgroup.procs"); err != nil {
		return "/usr/bin/crun"
	}
	path := filepath.Join(t.TempDir(), "crun")
	script := fmt.Sprintf("#!/bin/sh\nexec unshare --mount --propagation private sh -c 'umount %s; exec /usr/bin/crun \"$@\"' crun \"$@\"\n", unified)
	if err := os.WriteFile(path, []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	return path
}
