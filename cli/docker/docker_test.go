package docker

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"berth/cli/docker/command"
	"berth/engine"
	"berth/settings"
)

var update = flag.Bool("update", false, "write the golden files anew")

// run runs a command line that must not open the engine.
func run(t *testing.T, line ...string) (out, errs string, code int) {
	t.Helper()
	var o, e bytes.Buffer
	code = Main(context.Background(), Request{
		Args: line, In: strings.NewReader(""), Out: &o, Err: &e,
		Load: func(Globals) (*settings.Settings, error) { return &settings.Settings{}, nil },
		Open: func(*settings.Settings, Globals) (*engine.Engine, error) {
			return nil, errors.New("the engine was opened")
		},
	})
	return o.String(), e.String(), code
}

// TestHelpGolden holds the help of every verb in each dialect. The docker file
// is Docker 20.10's own text but for what this engine has not, or not yet.
func TestHelpGolden(t *testing.T) {
	t.Setenv("DOCKER_CONFIG", "/root/.docker")
	for _, program := range []string{"docker", "podman", "berth"} {
		d, _, _ := dialect([]string{program})
		var paths []string
		for _, e := range rows() {
			if d != command.Docker || !e.Extra {
				paths = append(paths, e.Path)
			}
		}
		slices.Sort(paths)
		var b strings.Builder
		for _, path := range append([]string{""}, paths...) {
			out, errs, code := run(t, append(append([]string{program}, strings.Fields(path)...), "--help")...)
			if code != 0 || errs != "" {
				t.Errorf("%s %s --help: exit %d, %s", program, path, code, errs)
			}
			b.WriteString("$ " + strings.TrimSpace(program+" "+path) + " --help\n" + out)
		}
		golden(t, "help-"+program+".txt", b.String())
	}
}

func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got == string(want) {
		return
	}
	g, w := strings.Split(got, "\n"), strings.Split(string(want), "\n")
	for i := range min(len(g), len(w)) {
		if g[i] != w[i] {
			t.Fatalf("%s, line %d:\ngot  %s\nwant %s\n(-update writes it anew)", path, i+1, g[i], w[i])
		}
	}
	t.Fatalf("%s: %d lines, want %d", path, len(g), len(w))
}

func TestDialect(t *testing.T) {
	for line, want := range map[string]struct {
		d       command.Dialect
		program string
		rest    string
	}{
		"berth images":         {command.Berth, "berth", "images"},
		"/usr/bin/docker ps":   {command.Docker, "docker", "ps"},
		"podman images":        {command.Podman, "podman", "images"},
		"berth podman images":  {command.Podman, "berth podman", "images"},
		"berth docker rmi x":   {command.Docker, "berth docker", "rmi x"},
		"docker podman images": {command.Docker, "docker", "podman images"},
		"berth":                {command.Berth, "berth", ""},
	} {
		d, program, rest := dialect(strings.Fields(line))
		if d != want.d || program != want.program || strings.Join(rest, " ") != want.rest {
			t.Errorf("%s: %v %q %q", line, d, program, rest)
		}
	}
}

func TestWithoutEngine(t *testing.T) {
	for _, c := range []struct {
		line      string
		out, errs string // the first lines
		code      int
	}{
		{"docker", "", "", 0},
		{"docker foo", "", "docker: 'foo' is not a docker command.", 1},
		{"podman foo", "", "Error: unrecognized command `podman foo`", 125},
		{"docker image", "", "", 0},
		{"docker image foo", "", "", 1},
		{"docker image foo --help", "", "", 0},
		{"podman image", "", "Error: missing command 'podman image COMMAND'", 125},
		{"podman image foo", "", "Error: unrecognized command `podman image foo`", 125},
		{"docker --foo", "", "unknown flag: --foo", 125},
		{"docker --version", "Docker version 20.10.24, build berth-0.1.0", "", 0},
		{"podman -v", "podman version 4.3.1", "", 0},
		{"berth --version", "berth version 0.1.0", "", 0},
		{"docker help foo", "", "unknown help topic: foo", 1},
		{"docker -H tcp://other:2375 images", "", "--host tcp://other:2375: only the engine of this machine is served, no other is reached", 1},
		{"podman --remote images", "", "Error: --remote: there is no remote service, this engine works on its own machine", 125},
		{"docker pull", "", `"docker pull" requires exactly 1 argument.`, 1},
		{"docker pull a b", "", `"docker pull" requires exactly 1 argument.`, 1},
		{"berth pull a b", "", "the engine was opened", 1},
		{"docker pull --foo a", "", "unknown flag: --foo", 125},
		{"docker pull -a x:y", "", "tag can't be used with --all-tags/-a", 1},
		{"podman pull", "", "Error: requires at least 1 arg(s), only received 0", 125},
		{"podman search", "", "Error: accepts 1 arg(s), received 0", 125},
		{"podman rmi", "", "Error: image name or ID must be specified", 125},
		{"docker rmi", "", `"docker rmi" requires at least 1 argument.`, 1},
		{"docker image remove", "", `"docker image rm" requires at least 1 argument.`, 1},
		{"docker inspect --type foo x", "", `"foo" is not a valid value for --type`, 1},
		{"docker login --password-stdin", "", "Must provide --username with --password-stdin", 1},
		{"docker login -p x --password-stdin -u x", "", "WARNING! Using --password via the CLI is insecure. Use --password-stdin.", 1},
		{"docker image prune", "WARNING! This will remove all dangling images.", "", 0},
		{"podman image prune", "WARNING! This command removes all dangling images.", "Error: EOF", 125},
		{"docker system prune", "WARNING! This will remove:", "", 0},
		{"docker images -f dangling", "", `invalid argument "dangling" for "-f, --filter" flag: bad format of filter (expected name=value)`, 125},
		{"docker import-from lxd", "", `import from "lxd": want docker or podman`, 1},
		{"docker version -f {{.Server.Version}}", "20.10.24", "", 0},
		{"docker version -f {{.Server.ApiVersion}}", "1.41", "", 0},
		{"podman version -f {{.Client.Version}}", "4.3.1", "", 0},
	} {
		out, errs, code := run(t, strings.Fields(c.line)...)
		if first(out) != c.out || first(errs) != c.errs || code != c.code {
			t.Errorf("%s: exit %d\nout %q\nerr %q", c.line, code, first(out), first(errs))
		}
	}
}

func first(s string) string {
	line, _, _ := strings.Cut(s, "\n")
	return line
}

// TestOtherMachine: what was meant for another machine must not happen here.
func TestOtherMachine(t *testing.T) {
	for env, value := range map[string]string{"DOCKER_HOST": "ssh://elsewhere", "DOCKER_CONTEXT": "elsewhere"} {
		t.Run(env, func(t *testing.T) {
			t.Setenv(env, value)
			if _, errs, code := run(t, "docker", "rmi", "x"); code != 1 || !strings.Contains(errs, "elsewhere") {
				t.Errorf("exit %d %q", code, errs)
			}
			if _, errs, _ := run(t, "podman", "rmi", "x"); !strings.Contains(errs, "the engine was opened") {
				t.Errorf("podman minds it: %q", errs)
			}
		})
	}
}

func TestPruneWarningIsDockers(t *testing.T) {
	out, _, _ := run(t, "docker", "system", "prune", "-a", "--volumes", "--filter", "label=x")
	want := `WARNING! This will remove:
  - all stopped containers
  - all networks not used by at least one container
  - all anonymous volumes not used by at least one container
  - all images without at least one container associated to them
  - all build cache

  Items to be pruned will be filtered with:
  - label=x

Are you sure you want to continue? [y/N] `
	if out != want {
		t.Errorf("got %q", out)
	}
}

// TestEveryVerbIsMade makes each verb once, so that no flag is bound twice.
func TestEveryVerbIsMade(t *testing.T) {
	seen := map[string]bool{}
	for _, e := range rows() {
		if seen[e.Path] {
			t.Errorf("%s stands twice", e.Path)
		}
		seen[e.Path] = true
		if e.New != nil && e.Make().Verb == nil {
			t.Errorf("%s makes nothing", e.Path)
		}
		if e.Short == "" {
			t.Errorf("%s says nothing", e.Path)
		}
	}
}
