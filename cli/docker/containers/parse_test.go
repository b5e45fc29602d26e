package containers

import (
	"bytes"
	"context"
	"errors"
	"io"
	"reflect"
	"strings"
	"testing"
	"time"

	"berth/base/fault"
	"berth/cli/docker/attach"
	"berth/cli/docker/command"
	"berth/cli/docker/option"
)

// parse reads a command line as the frame does and gives the words.
func parse(t *testing.T, v command.Verb, line string) []string {
	t.Helper()
	e := &command.Entry{Path: "verb", Words: command.Count{Max: command.Many}, New: func() command.Verb { return v }}
	words, _, err := e.Make().Parse(command.Berth, "docker verb", strings.Fields(line))
	if err != nil {
		t.Fatalf("%s: %v", line, err)
	}
	return words
}

func TestStopOptions(t *testing.T) {
	for line, want := range map[string]string{"a": "<nil>", "-t 0 a": "0", "--time -1 a": "-1"} {
		v := new(Stop)
		parse(t, v, line)
		got := "<nil>"
		if o := v.request(); o.Timeout != nil {
			got = time.Duration(*o.Timeout).String()[:len(want)]
		}
		if got != want {
			t.Errorf("stop %s: %s", line, got)
		}
	}
}

func TestExecRequest(t *testing.T) {
	a := option.Around{Getenv: func(k string) (string, bool) { return "me", k == "USER" }}
	for line, want := range map[string]ExecRequest{
		"c ls -l -d":               {Container: "c", Args: []string{"ls", "-l", "-d"}, Want: attach.Want{Stdout: true, Stderr: true}},
		"-it c sh":                 {Container: "c", Args: []string{"sh"}, Terminal: true, Want: attach.Want{Stdin: true, Stdout: true}},
		"-d -u 5 -w /x c a":        {Container: "c", Args: []string{"a"}, Detach: true, User: "5", WorkDir: "/x"},
		"-e A=1 -e USER -e NO c a": {Container: "c", Args: []string{"a"}, Env: []string{"A=1", "USER=me", "NO"}, Want: attach.Want{Stdout: true, Stderr: true}},
		"--privileged c a":         {Container: "c", Args: []string{"a"}, Privileged: true, Want: attach.Want{Stdout: true, Stderr: true}},
	} {
		v := new(Exec)
		words := parse(t, v, line)
		got, err := v.request(a, words)
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("exec %s:\ngot  %+v %v\nwant %+v", line, got, err, want)
		}
	}
}

func TestMoment(t *testing.T) {
	now := time.Date(2026, 11, 30, 12, 0, 0, 0, time.UTC)
	for in, want := range map[string]time.Time{
		"": {}, "42m": now.Add(-42 * time.Minute), "0s": now, "1136073600": time.Unix(1136073600, 0), "1136073600.000000001": time.Unix(1136073600, 1),
		"1136073600.5": time.Unix(1136073600, 500000000), "2013-01-02T13:23:37Z": time.Date(2013, 1, 2, 13, 23, 37, 0, time.UTC),
		"2013-01-02": time.Date(2013, 1, 2, 0, 0, 0, 0, time.Local), "2013-01-02T13:23": time.Date(2013, 1, 2, 13, 23, 0, 0, time.Local),
	} {
		if got, err := moment(in, now); err != nil || !got.Equal(want) {
			t.Errorf("%q: %v %v", in, got, err)
		}
	}
	v := &Logs{since: "x"}
	if _, err := v.request(now); err == nil || err.Error() != `invalid value for "since": failed to parse value as time or duration: "x"` {
		t.Errorf("%v", err)
	}
	for tail, want := range map[string]int{"all": -1, "x": -1, "-5": -1, "0": 0, "7": 7} {
		v := &Logs{tail: tail}
		if o, err := v.request(now); err != nil || o.Tail != want {
			t.Errorf("--tail %s: %d %v", tail, o.Tail, err)
		}
	}
}

func TestCopyRequest(t *testing.T) {
	for line, want := range map[string]string{
		"c:/a .": "c:/a|:.", "./c:a x:/b": ":./c:a|x:/b", "/c:a x:/b": ":/c:a|x:/b", "- x:/": ":-|x:/", "a:/x b:/y": "a:/x|b:/y",
		"a b": "must specify at least one container source", "- -": "must specify at least one container source",
	} {
		c, _ := call(command.Docker)
		r, err := new(Copy).request(c, strings.Fields(line))
		got := r.From.Container + ":" + r.From.Path + "|" + r.To.Container + ":" + r.To.Path
		if err != nil {
			got = err.Error()
		}
		if got != want {
			t.Errorf("cp %s: %s, want %s", line, got, want)
		}
	}
}

func TestUpdateRequest(t *testing.T) {
	v := new(Update)
	parse(t, v, "c")
	if _, err := v.request(option.Around{}); err == nil || err.Error() != "you must provide one or more flags when using this command" {
		t.Error(err)
	}
	v = new(Update)
	parse(t, v, "-m 64m --pids-limit 5 --restart on-failure:2 c")
	u, err := v.request(option.Around{})
	if err != nil || u.Resources.Memory.Limit != 64<<20 || *u.Resources.Pids != 5 || u.Restart.Policy != "on-failure" || u.Restart.Retries != 2 {
		t.Errorf("%+v %v", u, err)
	}
	if u.Resources.Memory.Swappiness != nil || u.Resources.OOMScoreAdj != nil {
		t.Errorf("what update does not have: %+v", u.Resources)
	}
}

func TestChosen(t *testing.T) {
	for line, want := range map[string]string{
		"a b": "", "-a": "", "--latest": "", "-a b": "--all, --latest and --filter take no container names", "--cidfile f": "",
		"": "you must provide at least one name or id", "-a --latest": "--all, --latest and --filter cannot be used together",
	} {
		v := new(Stop)
		got := ""
		if err := v.check(parse(t, v, line)); err != nil {
			got = err.Error()
		}
		if got != want {
			t.Errorf("stop %s: %q", line, got)
		}
	}
}

func TestWaitCondition(t *testing.T) {
	for line, want := range map[string]string{"a": "not-running", "--condition exited a": "not-running", "--condition removed a": "removed", "--condition x a": "!"} {
		v := new(Wait)
		parse(t, v, line)
		got, err := v.condition()
		if err != nil {
			got = "!"
		}
		if got != want {
			t.Errorf("wait %s: %s", line, got)
		}
	}
}

func TestPrefixer(t *testing.T) {
	var b bytes.Buffer
	p := &prefixer{w: &b, prefix: "web "}
	for _, s := range []string{"a\nb", "c\n", "d\n"} {
		_, _ = p.Write([]byte(s))
	}
	if b.String() != "web a\nweb bc\nweb d\n" {
		t.Errorf("%q", b.String())
	}
}

// reported is what an error looks like and its exit code.
func reported(d command.Dialect, err error) (string, int) {
	var b bytes.Buffer
	code := command.Report(&b, d, err)
	return b.String(), code
}

// TestExitCodesOfRun: a container's own code is kept; what did not run tells why
// by 125, 126 or 127, in docker's words.
func TestExitCodesOfRun(t *testing.T) {
	for _, x := range []struct {
		d    command.Dialect
		err  error
		text string
		code int
	}{
		{command.Docker, errors.New(`exec: "nope": executable file not found in $PATH`), "docker: Error response from daemon: exec: \"nope\": executable file not found in $PATH.\n", 127},
		{command.Docker, errors.New(`exec: "/x": stat /x: no such file or directory`), "docker: Error response from daemon: exec: \"/x\": stat /x: no such file or directory.\n", 127},
		{command.Docker, errors.New(`exec: "/etc": permission denied`), "docker: Error response from daemon: exec: \"/etc\": permission denied.\n", 126},
		{command.Docker, errors.New("network nope not found."), "docker: Error response from daemon: network nope not found.\n", 125},
		{command.Podman, errors.New("permission denied"), "Error: permission denied\n", 126},
		{command.Berth, errors.New("no room"), "docker: no room.\n", 125},
	} {
		c, _ := call(x.d)
		if text, code := reported(x.d, notStarted(c, x.err)); text != x.text || code != x.code {
			t.Errorf("%v: %q exit %d", x.err, text, code)
		}
	}
}

// TestRunUntilItsEnd passes output on and ends with the process's code, as a
// start that joins does.
func TestRunUntilItsEnd(t *testing.T) {
	for _, code := range []int{0, 7, 137} {
		c, out := call(command.Docker)
		c.In = strings.NewReader("")
		far := &attach.Far{
			Stdout: strings.NewReader("out\n"), Close: func() {}, Wait: func(context.Context) (int, error) { return code, nil },
			Stdin: nopWriteCloser{io.Discard},
		}
		r := run{near: near(c, false, nil, false)}
		_ = r.join(context.Background())(far)
		err := r.end(context.Background(), c, nil)
		text, got := reported(command.Docker, err)
		var exit *command.Exit
		if out.String() != "out\n" || text != "" || got != code || code != 0 && (!errors.As(err, &exit) || !exit.Kept) {
			t.Errorf("exit %d: %q %q %d", code, out, text, got)
		}
	}
}

type nopWriteCloser struct{ io.Writer }

func (nopWriteCloser) Close() error { return nil }

func TestExecErrors(t *testing.T) {
	gone := fault.New(fault.NotFound, "No such container: c")
	for _, x := range []struct {
		detach bool
		err    error
		text   string
		code   int
	}{
		{false, gone, "Error: No such container: c\n", 1},
		{false, fault.New(fault.Conflict, "Container c is not running"), "Error response from daemon: Container c is not running\n", 1},
		{false, errors.New(`exec: "nope": executable file not found in $PATH`), "exec: \"nope\": executable file not found in $PATH\n", 126},
		{true, errors.New(`exec: "nope": executable file not found in $PATH`), "Error response from daemon: exec: \"nope\": executable file not found in $PATH\n", 1},
	} {
		c, _ := call(command.Docker)
		if text, code := reported(command.Docker, notExecuted(c, ExecRequest{Container: "c", Detach: x.detach}, x.err)); text != x.text || code != x.code {
			t.Errorf("%v: %q exit %d", x.err, text, code)
		}
	}
}
