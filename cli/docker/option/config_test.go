package option

import (
	"encoding/json"
	"flag"
	"os"
	"reflect"
	"strings"
	"testing"

	"mvdan.cc/sh/v3/shell"

	"berth/cli/docker/command"
	"berth/container/config"
	"berth/settings"
)

var update = flag.Bool("update", false, "write the golden file anew")

// TestConfig holds what each flag becomes: a command line, then the part of the
// configuration that differs from a plain "img".
func TestConfig(t *testing.T) {
	const path = "testdata/config.txt"
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	plain := fields(t, "img")
	var b strings.Builder
	for one := range strings.SplitSeq(strings.TrimSpace(string(data)), "\n$ ") {
		line, _, _ := strings.Cut(strings.TrimPrefix(one, "$ "), "\n")
		b.WriteString("$ " + line + "\n")
		for _, key := range differing(plain, fields(t, line)) {
			b.WriteString("  " + key + "\n")
		}
	}
	if *update {
		if err := os.WriteFile(path, []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	got, want := strings.Split(b.String(), "\n"), strings.Split(string(data), "\n")
	for i := range min(len(got), len(want)) {
		if got[i] != want[i] {
			t.Fatalf("%s:%d\ngot  %s\nwant %s", path, i+1, got[i], want[i])
		}
	}
	if len(got) != len(want) {
		t.Errorf("%d lines, want %d", len(got), len(want))
	}
}

// fields are the parts of a configuration as JSON.
func fields(t *testing.T, line string) map[string]json.RawMessage {
	t.Helper()
	d := command.Docker
	if rest, ok := strings.CutPrefix(line, "podman: "); ok {
		d, line = command.Podman, rest
	}
	words, err := shell.Fields(line, func(string) string { return "" })
	if err != nil {
		t.Fatal(err)
	}
	files := map[string]string{"env": "A=1\nHOME\nGONE\n", "labels": "x=1\ny\n", "profile": "{ \"a\": 1 }"}
	asked, err := read(d, files, words...)
	if err != nil {
		t.Errorf("%s: %v", line, err)
	}
	data, err := json.Marshal(asked.Config)
	if err != nil {
		t.Fatal(err)
	}
	var m map[string]json.RawMessage
	if err := json.Unmarshal(data, &m); err != nil {
		t.Fatal(err)
	}
	return m
}

func differing(plain, got map[string]json.RawMessage) []string {
	var out []string
	for _, key := range strings.Fields("image process hostname domainname labels annotations stdio namespaces network mounts " +
		"volumesFrom resources devices security restart health log stop life") {
		if !reflect.DeepEqual(plain[key], got[key]) {
			out = append(out, key+" "+string(got[key]))
		}
	}
	return out
}

// TestEveryFlagIsCovered: a flag without a line in config.txt could become
// anything.
func TestEveryFlagIsCovered(t *testing.T) {
	data, err := os.ReadFile("testdata/config.txt")
	if err != nil {
		t.Fatal(err)
	}
	_, f := newOptions(t)
	for _, name := range flagNames(f) {
		if !strings.Contains(string(data), "--"+name+" ") && !strings.Contains(string(data), "--"+name+"=") && !elsewhere[name] {
			t.Errorf("--%s has no line in testdata/config.txt", name)
		}
	}
}

// elsewhere are the flags that do not end in a configuration.
var elsewhere = map[string]bool{
	"name": true, "quiet": true, "replace": true, "rmi": true, "disable-content-trust": true, "detach": true, "detach-keys": true,
	"sig-proxy": true, "authfile": true, "cert-dir": true, "creds": true, "tls-verify": true, "cgroups": true, "sdnotify": true,
	"conmon-pidfile": true, "isolation": true,
}

func TestAsked(t *testing.T) {
	for line, want := range map[string]Asked{
		"img":                               {SigProxy: true},
		"-t img":                            {},
		"-d --name n img":                   {Detach: true, Name: "n", SigProxy: true},
		"--sig-proxy=false img":             {},
		"--detach-keys a,b -it img":         {DetachKeys: "a,b"},
		"--rmi -q --replace --name n img":   {RemoveImage: true, Quiet: true, Replace: true, Name: "n", SigProxy: true},
		"img -d --name n --nothing-of-mine": {SigProxy: true},
	} {
		o, f := newOptions(t)
		if err := f.Parse(strings.Fields(line)); err != nil {
			t.Fatal(err)
		}
		got, err := o.Read(command.Berth, around(nil), f.Args())
		got.Config, got.Access = config.Config{}, nil
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %+v %v", line, got, err)
		}
	}
}

func TestProxies(t *testing.T) {
	got := WithProxies([]string{"HTTP_PROXY=mine", "no_proxy"}, settings.Proxy{HTTPProxy: "http://p", NoProxy: "localhost"})
	want := []string{"http_proxy=http://p", "NO_PROXY=localhost", "HTTP_PROXY=mine", "no_proxy"}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("%q", got)
	}
}
