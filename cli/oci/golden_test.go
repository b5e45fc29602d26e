package oci

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

var update = flag.Bool("update", false, "write the golden files anew")

// golden compares text with testdata/name.
func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s differs; run the test with -update and look at the change. Got:\n%s", path, got)
	}
}

func TestHelp(t *testing.T) {
	r := &recorder{}
	golden(t, "help/berth-oci.txt", run(t, r))
	for _, v := range verbs() {
		golden(t, "help/"+v.name+".txt", run(t, r, v.name, "--help"))
		if got, want := run(t, r, "help", v.name), run(t, r, v.name, "-h"); got != want {
			t.Errorf("help %s and %s -h differ", v.name, v.name)
		}
	}
}

// The documents change with every word of the help texts, so only their form
// is tested: by the shells and by man, where they are installed.
func TestDocuments(t *testing.T) {
	r := &recorder{}
	for _, shell := range []string{"bash", "zsh", "fish"} {
		text := run(t, r, "completion", shell)
		for _, v := range program().Shown() {
			if !strings.Contains(text, v.Name) {
				t.Errorf("the completion for %s does not know %s", shell, v.Name)
			}
		}
		if path, err := exec.LookPath(shell); err == nil {
			cmd := exec.Command(path, "-n")
			cmd.Stdin = strings.NewReader(text)
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Errorf("%s: %v: %s", shell, err, out)
			}
		}
	}
	man := run(t, r, "man")
	for _, v := range program().Shown() {
		if !strings.Contains(man, ".SS "+v.Name+"\n") {
			t.Errorf("the manual has no section for %s", v.Name)
		}
	}
}

func TestBashCompletes(t *testing.T) {
	script := run(t, &recorder{}, "completion", "bash")
	for line, want := range map[string]string{
		"berth-oci pau":           "pause",
		"berth-oci exec --cw":     "--cwd",
		"berth-oci --root /x sta": "start state",
		"berth-oci --sys":         "--systemd-cgroup",
	} {
		words := strings.Fields(line)
		var b strings.Builder
		b.WriteString(script)
		b.WriteString("COMP_WORDS=(" + line + "); COMP_CWORD=" + string(rune('0'+len(words)-1)) + "; _berth_oci; echo ${COMPREPLY[@]}\n")
		cmd := exec.Command("bash")
		cmd.Stdin = strings.NewReader(b.String())
		out, err := cmd.Output()
		if err != nil || strings.TrimSpace(string(out)) != want {
			t.Errorf("%q completes to %q, %v; want %q", line, out, err, want)
		}
	}
}

func TestSpec(t *testing.T) {
	dir := t.TempDir()
	run(t, &recorder{}, "spec", "-b", dir)
	data, err := os.ReadFile(filepath.Join(dir, "config.json"))
	if err != nil {
		t.Fatal(err)
	}
	var s specs.Spec
	if err := json.Unmarshal(data, &s); err != nil || s.Version != specs.Version || !bytes.HasPrefix(data, []byte("{\n\t\"ociVersion\"")) {
		t.Errorf("config.json is %.60q, %v", data, err)
	}
	code, _, stderr := try(t, &recorder{}, "", "spec", "-b", dir)
	if code != 1 || !strings.Contains(stderr, "exists") {
		t.Errorf("a second time: exit %d, %s", code, stderr)
	}
	if code, _, _ := try(t, &recorder{}, "", "spec", "-b", dir+"/nonexistent"); code != 1 {
		t.Errorf("a folder that is not there: exit %d", code)
	}
	for name, spec := range map[string]*specs.Spec{"spec-v1.json": exampleSpec(false), "spec-v2-rootless.json": rootlessSpec()} {
		b, _ := json.MarshalIndent(spec, "", "\t")
		golden(t, name, string(b))
	}
}

func rootlessSpec() *specs.Spec {
	s := exampleSpec(true)
	makeRootless(s, 1000, 1001)
	return s
}
