package oci

import (
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"

	"berth/cli/oci/cmdline"
)

type parseCase struct {
	args  string // separated by blanks
	want  command
	words string
	fail  string // part of the error
}

var parseCases = []parseCase{
	{args: "create -b /b --console-socket /s --pidfd-socket /f --pid-file p --no-pivot --no-new-keyring --preserve-fds 2 id",
		want: &createCommand{bundleFlags{"/b", "/s", "/f", "p", true, true, 2}}, words: "id"},
	{args: "create id --bundle=/b", want: &createCommand{bundleFlags{bundle: "/b"}}, words: "id"},
	{args: "create -- -id", want: &createCommand{}, words: "-id"},
	{args: "create", fail: `"create" requires exactly 1 argument(s)`},
	{args: "create a b", fail: `"create" requires exactly 1 argument(s)`},
	{args: "create --detach a", fail: "flag provided but not defined: -detach"},
	{args: "create a --bundle", fail: "flag needs an argument: -bundle"},
	{args: "create --preserve-fds x a", fail: `invalid value "x" for flag -preserve-fds: parse error`},
	{args: "create --no-pivot=maybe a", fail: `invalid boolean value "maybe" for -no-pivot: parse error`},

	{args: "run -d --keep --no-subreaper -b /b id",
		want: &runCommand{bundleFlags{bundle: "/b"}, true, true, true}, words: "id"},
	{args: "run id -detach=false", want: &runCommand{}, words: "id"},

	{args: "start id", want: &startCommand{}, words: "id"},
	{args: "start", fail: "requires exactly 1"},

	{args: "exec id sh -c -t -- x", want: &execCommand{}, words: "id sh -c -t -- x"},
	{args: "exec id -- sh -c true", want: &execCommand{}, words: "id sh -c true"},
	{args: "exec -t -d -u 5:6 -g 7 -g 8 -e A=b -env C= -c CAP_KILL --cwd /w id sh",
		want: &execCommand{detach: true, process: processFlags{tty: true, user: "5:6", gids: []uint32{7, 8},
			env: []string{"A=b", "C="}, capabilities: []string{"CAP_KILL"}, cwd: "/w"}}, words: "id sh"},
	{args: "exec -p f --pid-file p --console-socket s --process-label l --apparmor a --no-new-privs --preserve-fds 1 --cgroup cpu:x --cgroup /y --ignore-paused id",
		want: &execCommand{consoleSocket: "s", pidFile: "p", preserveFDs: 1, ignorePaused: true, cgroup: []string{"cpu:x", "/y"},
			process: processFlags{file: "f", label: "l", apparmor: "a", noNewPrivs: true}}, words: "id"},
	{args: "exec -e A=1,B=2 id sh", want: &execCommand{process: processFlags{env: []string{"A=1,B=2"}}}, words: "id sh"},
	{args: "exec -g -1 id sh", fail: `invalid value "-1" for flag -g: parse error`},
	{args: "exec", fail: `"exec" requires a minimum of 1 argument(s)`},

	{args: "kill id", want: &killCommand{}, words: "id"},
	{args: "kill --all id KILL", want: &killCommand{all: true}, words: "id KILL"},
	{args: "kill id 9 -a", want: &killCommand{all: true}, words: "id 9"},
	{args: "kill a b c", fail: "requires a maximum of 2"},
	{args: "kill", fail: "requires a minimum of 1"},

	{args: "delete -f id", want: &deleteCommand{true}, words: "id"},
	{args: "delete id --force", want: &deleteCommand{true}, words: "id"},

	{args: "list", want: &listCommand{format: "table"}},
	{args: "list -q -f json", want: &listCommand{"json", true}},
	{args: "list x", fail: "requires exactly 0"},

	{args: "state id", want: &stateCommand{}, words: "id"},
	{args: "ps id", want: &psCommand{"table"}, words: "id"},
	{args: "ps -f json id -ef", want: &psCommand{"json"}, words: "id -ef"},
	{args: "ps id -o pid", want: &psCommand{"table"}, words: "id -o pid"},
	{args: "pause id", want: &pauseCommand{}, words: "id"},
	{args: "resume id", want: &resumeCommand{}, words: "id"},

	{args: "update -r - id", want: &updateCommand{resources: "-"}, words: "id"},
	{args: "update --memory 1g --pids-limit 5 --blkio-weight 0x10 id",
		want: &updateCommand{blkioWeight: 16, pidsLimit: 5, text: textOf("memory", "1g")}, words: "id"},
	{args: "update --cpu-quota -1 id", want: &updateCommand{text: textOf("cpu-quota", "-1")}, words: "id"},

	{args: "events id", want: &eventsCommand{interval: 5 * time.Second}, words: "id"},
	{args: "events --stats --interval 1m30s id", want: &eventsCommand{90 * time.Second, true}, words: "id"},
	{args: "events --interval 5 id", fail: `invalid value "5" for flag -interval: parse error`},

	{args: "spec", want: &specCommand{}},
	{args: "spec -b d --rootless", want: &specCommand{"d", true}},
	{args: "spec x", fail: "requires exactly 0"},
	{args: "features", want: &featuresCommand{}},
	{args: "checkpoint --image-path x --leave-running id", want: &laterCommand{"checkpoint"}, words: "id"},
	{args: "restore -d -b b id", want: &laterCommand{"restore"}, words: "id"},
	{args: "completion bash", want: &completionCommand{}, words: "bash"},
	{args: "man", want: &manCommand{}},
}

// textOf is the text of one flag of update.
func textOf(name, text string) (out [len(updateFlags)]string) {
	for i, f := range updateFlags {
		if f.name == name {
			out[i] = text
		}
	}
	return out
}

func TestParse(t *testing.T) {
	seen := map[string]bool{}
	for _, c := range parseCases {
		args := strings.Fields(c.args)
		v := find(args[0])
		if v == nil {
			t.Fatalf("%s: no such verb", c.args)
		}
		seen[v.name] = true
		got, words, err := v.parse(args[1:])
		if c.fail != "" {
			if err == nil || !strings.Contains(err.Error(), c.fail) {
				t.Errorf("%s: error %v, want %q", c.args, err, c.fail)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", c.args, err)
			continue
		}
		if !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s:\n got %+v\nwant %+v", c.args, got, c.want)
		}
		if strings.Join(words, " ") != c.words {
			t.Errorf("%s: words %q, want %q", c.args, words, c.words)
		}
	}
	for _, v := range verbs() {
		if !seen[v.name] {
			t.Errorf("no case for %s", v.name)
		}
		if _, _, err := v.parse([]string{"-h"}); !errors.Is(err, cmdline.ErrHelp) {
			t.Errorf("%s -h: %v, want help", v.name, err)
		}
	}
}

// Whatever the words are, parsing ends without a panic and an error is one line.
func FuzzParse(f *testing.F) {
	for _, c := range parseCases {
		f.Add(c.args)
	}
	f.Fuzz(func(t *testing.T, line string) {
		args := strings.Split(line, " ")
		v := find(args[0])
		if v == nil {
			return
		}
		if _, _, err := v.parse(args[1:]); err != nil && strings.Contains(plain(err.Error()), "\n") {
			t.Errorf("%q: error %q is more than one line", line, err)
		}
	})
}

func TestParseSignal(t *testing.T) {
	for s, want := range map[string]int{
		"TERM": 15, "SIGTERM": 15, "term": 15, "sigKill": 9, "9": 9, "0": 0, "64": 64, "HUP": 1, "IOT": 6, "POLL": 29,
		"RTMIN": 34, "SIGRTMIN+3": 37, "RTMIN+30": 64, "RTMAX": 64, "RTMAX-1": 63, "rtmax-30": 34,
		"": -1, "SIG": -1, "65": -1, "-1": -1, "FOO": -1, "RTMIN+31": -1, "RTMAX-31": -1, "RTMIN+-1": -1, "RTMIN+": -1,
		"99999999999999999999": -1, "RTMIN+999": -1,
	} {
		got, err := parseSignal(s)
		if want < 0 {
			if err == nil {
				t.Errorf("%q is signal %d, want an error", s, got)
			}
			continue
		}
		if err != nil || int(got) != want {
			t.Errorf("%q is signal %d, %v; want %d", s, got, err, want)
		}
	}
}
