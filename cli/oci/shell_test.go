package oci

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"berth/base/fault"
	"berth/runtime"
)

// recorder stands in for the runtime where only the translation is tested: it
// keeps what it was asked for. What the words do to real containers is tested
// with the program itself, in test/.
type recorder struct {
	Runtime
	opts   Options
	asked  any
	states []runtime.State
	code   int
	err    error
}

func (r *recorder) Create(_ context.Context, q runtime.CreateRequest) (*runtime.Process, error) {
	r.asked = q
	return nil, r.err
}
func (r *recorder) Run(_ context.Context, q runtime.RunRequest) (int, error) {
	if q.ID == "panic" {
		panic("it broke\nbadly")
	}
	r.asked = q
	return r.code, r.err
}
func (r *recorder) Exec(_ context.Context, q runtime.ExecRequest) (int, error) {
	if q.Process == nil && r.err == nil {
		q.Process = &specs.Process{Cwd: "/", Env: []string{"A=1"}, User: specs.User{UID: 1, GID: 2, AdditionalGids: []uint32{3}},
			Terminal: true, Args: []string{"init"}, Capabilities: &specs.LinuxCapabilities{Bounding: []string{"CAP_A"}}}
		if err := q.Change(q.Process); err != nil {
			return -1, err
		}
	}
	r.asked = q
	return r.code, r.err
}
func (r *recorder) Kill(_ context.Context, id string, sig unix.Signal, all bool) error {
	r.asked = fmt.Sprint(id, " ", int(sig), " ", all)
	return r.err
}
func (r *recorder) Delete(_ context.Context, id string, force bool) error {
	r.asked = fmt.Sprint(id, " ", force)
	return r.err
}
func (r *recorder) State(id string) (*runtime.State, error) {
	if len(r.states) == 0 {
		return nil, r.err
	}
	return &r.states[0], r.err
}
func (r *recorder) List() ([]runtime.State, error)                  { return r.states, r.err }
func (r *recorder) PIDs(string) ([]int, error)                      { return []int{os.Getpid(), 1}, r.err }
func (r *recorder) Resources(string) (*specs.LinuxResources, error) { return nil, r.err }
func (r *recorder) Update(_ context.Context, _ string, q *specs.LinuxResources) error {
	r.asked = q
	return r.err
}

// try runs one command line and returns what it wrote.
func try(t *testing.T, r *recorder, stdin string, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	s := &shell{stdin: strings.NewReader(stdin), stdout: &out, stderr: &errs, open: func(o Options) Runtime {
		r.opts = o
		return r
	}}
	code = s.run(append([]string{Name}, args...))
	return code, out.String(), errs.String()
}

func TestExitCodes(t *testing.T) {
	broken := errors.New("it broke")
	for _, c := range []struct {
		args string
		code int
		err  error
		want int
	}{
		{args: "run a", code: 42, want: 42},
		{args: "run a", code: 143, want: 143},
		{args: "run a", err: broken, want: 1},
		{args: "run panic", want: 1},
		{args: "exec a sh", code: 7, want: 7},
		{args: "exec a sh", err: broken, want: 255},
		{args: "exec a", want: 255},
		{args: "exec", want: 1},
		{args: "delete a", err: broken, want: 1},
		{args: "kill a FOO", want: 1},
		{args: "nosuch", want: 3},
		{args: "help nosuch", want: 3},
		{args: "--nosuch list", want: 1},
		{args: "--root / list", want: 1},
		{args: "--rootless perhaps list", want: 1},
		{args: "--log-format xml list", want: 1},
		{args: "--log /nonexistent/x list", want: 1},
		{args: "checkpoint --image-path /x a", want: 1},
		{args: "completion csh", want: 1},
		{args: "", want: 0},
		{args: "help", want: 0},
		{args: "run --help", want: 0},
		{args: "--version", want: 0},
	} {
		r := &recorder{code: c.code, err: c.err}
		code, _, stderr := try(t, r, "", strings.Fields(c.args)...)
		if code != c.want {
			t.Errorf("%q ends with %d, want %d; %s", c.args, code, c.want, stderr)
		}
		if lines := strings.Count(stderr, "\n"); lines > 1 || lines == 0 != (c.want == c.code) {
			t.Errorf("%q writes %d lines: %q", c.args, lines, stderr)
		}
	}
}

func TestGlobalFlags(t *testing.T) {
	r := &recorder{}
	try(t, r, "", "--root", "rel", "--systemd-cgroup", "--rootless", "TRUE", "--criu", "x", "delete", "a")
	dir, _ := os.Getwd()
	if r.opts.Root != filepath.Join(dir, "rel") || !r.opts.SystemdCgroup || r.opts.Rootless == nil || !*r.opts.Rootless {
		t.Errorf("options %+v", r.opts)
	}
	try(t, r, "", "--root=/x", "--rootless=auto", "delete", "a")
	if r.opts.Root != "/x" || r.opts.SystemdCgroup || r.opts.Rootless != nil {
		t.Errorf("options %+v", r.opts)
	}
}

func TestRequests(t *testing.T) {
	dir, _ := os.Getwd()
	for _, c := range []struct {
		args string
		want any
	}{
		{"create -b /b --pid-file p --console-socket /s a", runtime.CreateRequest{ID: "a", Bundle: "/b", PidFile: dir + "/p", ConsoleSocket: "/s"}},
		{"run -d --keep --no-subreaper --no-pivot a", runtime.RunRequest{
			CreateRequest: runtime.CreateRequest{ID: "a", NoPivot: true}, Detach: true, Keep: true, NoSubreaper: true}},
		{"kill a", "a 15 false"},
		{"kill -a a HUP", "a 1 true"},
		{"delete -f a", "a true"},
	} {
		r := &recorder{}
		if code, _, stderr := try(t, r, "", strings.Fields(c.args)...); code != 0 {
			t.Errorf("%s: %s", c.args, stderr)
		}
		if d := cmp.Diff(c.want, r.asked); d != "" {
			t.Errorf("%s: %s", c.args, d)
		}
	}
}

func TestExecProcess(t *testing.T) {
	r := &recorder{}
	code, _, stderr := try(t, r, "", "exec", "-e", "B=2", "-u", "5:6", "-g", "9", "-c", "CAP_B", "--cwd", "/w", "--no-new-privs",
		"--apparmor", "p", "--process-label", "l", "a", "sh", "-c", "x")
	if code != 0 {
		t.Fatal(stderr)
	}
	want := &specs.Process{Cwd: "/w", Env: []string{"A=1", "B=2"}, User: specs.User{UID: 5, GID: 6, AdditionalGids: []uint32{3, 9}},
		Args: []string{"sh", "-c", "x"}, NoNewPrivileges: true, ApparmorProfile: "p", SelinuxLabel: "l",
		Capabilities: &specs.LinuxCapabilities{Bounding: []string{"CAP_A", "CAP_B"}, Effective: []string{"CAP_B"}, Permitted: []string{"CAP_B"}}}
	if d := cmp.Diff(want, r.asked.(runtime.ExecRequest).Process); d != "" {
		t.Error(d)
	}
	file := filepath.Join(t.TempDir(), "process.json")
	for text, fail := range map[string]string{
		`{"cwd":"/","args":["x"]}`:                 "",
		`{"cwd":"/","args":["x"],"terminal":true}`: "",
		`{"cwd":"x","args":["x"]}`:                 `process.cwd "x" is not an absolute path`,
		`{"cwd":"/"}`:                              "process.args must not be empty",
		`{"cwd":"/","args":"x"}`:                   "args",
		`{`:                                        "unexpected end of JSON",
		``:                                         "unexpected end of JSON",
	} {
		os.WriteFile(file, []byte(text), 0o600)
		code, _, stderr := try(t, r, "", "exec", "-p", file, "a")
		if fail == "" && code != 0 || fail != "" && (code != 255 || !strings.Contains(stderr, strings.ReplaceAll(fail, `"`, `\"`))) {
			t.Errorf("%s: exit %d, %s", text, code, stderr)
		}
	}
	for _, c := range []struct{ args, fail string }{
		{"exec -t -d a sh", "without setting console socket"},
		{"exec --console-socket s a sh", "cannot use console socket"},
		{"exec -t --console-socket s a sh", "cannot use console socket"},
		{"exec -t -d --console-socket s a sh", ""},
		{"exec -u x a sh", "bad uid"},
		{"exec -u -1 a sh", "bad uid"},
		{"exec -u 4294967296 a sh", "bad uid"},
		{"exec -u 1:x a sh", "bad gid"},
		{"exec --cwd rel a sh", "not an absolute path"},
		{"exec --preserve-fds 60000 a sh", "bad file descriptor"},
		{"exec --preserve-fds -1 a sh", "not between"},
		{"exec a", "exec args cannot be empty"},
	} {
		code, _, stderr := try(t, r, "", strings.Fields(c.args)...)
		if (code == 0) != (c.fail == "") || !strings.Contains(stderr, c.fail) {
			t.Errorf("%s: exit %d, %s", c.args, code, stderr)
		}
	}
}

func TestStateAndList(t *testing.T) {
	r := &recorder{states: []runtime.State{{
		State:  specs.State{Version: "1.3.0", ID: "a", Status: "running", Pid: 12, Bundle: "/b\x1b[2J\n", Annotations: map[string]string{"k": "v"}},
		Rootfs: "/b/rootfs", Created: time.Date(2026, 1, 2, 3, 4, 5, 600, time.UTC), Owner: "root",
	}, {State: specs.State{Version: "1.3.0", ID: "b", Status: "stopped"}, Owner: "#7"}}}
	golden(t, "state.json", run(t, r, "state", "a"))
	golden(t, "list.txt", run(t, r, "list"))
	golden(t, "list.json", run(t, r, "list", "-f", "json"))
	if got := run(t, r, "list", "-q"); got != "a\nb\n" {
		t.Errorf("list -q prints %q", got)
	}
	r.states = nil
	if got := run(t, r, "list", "-f", "json"); got != "null\n" {
		t.Errorf("an empty list is %q, runc prints null", got)
	}
}

func run(t *testing.T, r *recorder, args ...string) string {
	t.Helper()
	code, stdout, stderr := try(t, r, "", args...)
	if code != 0 || stderr != "" {
		t.Fatalf("%q: exit %d, %s", args, code, stderr)
	}
	return stdout
}

func TestPS(t *testing.T) {
	r := &recorder{}
	if got, want := run(t, r, "ps", "-f", "json", "a"), fmt.Sprintf("[1,%d]\n", os.Getpid()); got != want {
		t.Errorf("ps -f json prints %q, want %q", got, want)
	}
	got := run(t, r, "ps", "a")
	if !strings.HasPrefix(got, "UID ") || strings.Count(got, "\n") != 3 || !strings.Contains(got, fmt.Sprint(os.Getpid())) {
		t.Errorf("ps prints %q", got)
	}
	if code, _, stderr := try(t, r, "", "ps", "a", "-Z"); code != 1 || !strings.Contains(stderr, `-Z`) {
		t.Errorf("ps -Z: exit %d, %s", code, stderr)
	}
}

func TestLog(t *testing.T) {
	at := func(l *logger) *logger {
		l.now = func() time.Time { return time.Date(2026, 1, 2, 3, 4, 5, 0, time.FixedZone("", 3600)) }
		return l
	}
	var b bytes.Buffer
	l := at(newLogger(&b))
	l.write("error", "plain")
	l.write("error", "two words \"quoted\"\n\x1b[2J \xff")
	l.warnf("%d", 5)
	l.debugf("hidden")
	l.debug = true
	l.debugf("shown")
	l.json = true
	l.write("error", "two words \"quoted\"\n\x1b[2J \xff <&>")
	golden(t, "log.txt", b.String())

	// With a file, standard error has the bare line and no warnings.
	b.Reset()
	file := filepath.Join(t.TempDir(), "log.json")
	os.WriteFile(file, []byte("old\n"), 0o600)
	l = at(newLogger(&b))
	if err := l.configure(&globals{log: file, logFormat: "json"}); err != nil {
		t.Fatal(err)
	}
	l.warnf("careful")
	l.fatal(fault.New(fault.Invalid, "it is\nbroken\x1b[31m"), 1)
	l.close()
	if got, want := b.String(), "it is\\nbroken\\x1b[31m\n"; got != want {
		t.Errorf("standard error has %q, want %q", got, want)
	}
	data, _ := os.ReadFile(file)
	lines := strings.Split(strings.TrimSpace(string(data)), "\n")
	if len(lines) != 3 || lines[0] != "old" {
		t.Fatalf("the log has %q", lines)
	}
	var last struct{ Level, Msg, Time string }
	if err := json.Unmarshal([]byte(lines[2]), &last); err != nil || last.Level != "error" || last.Msg != "it is\nbroken\x1b[31m" {
		t.Errorf("last line %q: %+v, %v", lines[2], last, err)
	}
	if _, err := time.Parse(time.RFC3339, last.Time); err != nil {
		t.Error(err)
	}
}

func TestWarningsOfTheRuntime(t *testing.T) {
	r := &recorder{}
	_, _, stderr := try(t, r, "", "delete", "a")
	if stderr != "" {
		t.Error(stderr)
	}
	_, _, stderr = try(t, r, "", "update", "--kernel-memory", "5m", "a")
	if !strings.Contains(stderr, "level=warning") {
		t.Errorf("no warning of an ignored limit: %q", stderr)
	}
}
