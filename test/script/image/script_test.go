// Package image runs the txtar scripts of this folder: the image verbs of
// berth as a person types them, with what must be seen. Each script runs as
// root, as a user with subordinate ids and as one without. It has a store of
// its own and a registry of its own, which answers for Docker Hub by the mirror
// setting and has ubuntu, alpine and hello there.
//
// A script has the programs berth, docker and podman (links to berth), $REG,
// the registry's address, $BARE, that of one without a search, the words of
// package typed, and the conditions [root] and [ids], for root and whoever has
// subordinate ids. It belongs to the tests, outside the rows.
package image

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/opencontainers/image-spec/specs-go"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/rogpeppe/go-internal/testscript"

	"berth/test/account"
	"berth/test/fakereg"
	"berth/test/typed"
)

// alone types the scripts as a user with one id.
var alone = account.Alone(64873)

func TestScripts(t *testing.T) {
	who, err := account.Own()
	if err != nil {
		t.Fatal(err)
	}
	play(t, who)
}

func TestScriptsAsUser(t *testing.T) {
	needRoot(t)
	play(t, alone)
}

// TestScriptsWithIDs plays them as a user with subordinate ids.
func TestScriptsWithIDs(t *testing.T) {
	needRoot(t)
	who := account.Temporary(t, "berth-test-image")
	play(t, who)
}

func needRoot(t *testing.T) {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("needs root: becomes another user")
	}
}

func play(t *testing.T, who account.Account) {
	t.Helper()
	berth := program(t)
	if who.Switched() {
		var err error
		if berth, err = account.Copy(berth, t.TempDir()); err != nil {
			t.Fatal(err)
		}
	}
	// The scripts run beside each other and end before the user does.
	t.Run("play", func(t *testing.T) { scripts(t, who, berth) })
}

func scripts(t *testing.T, who account.Account, berth string) {
	words := typed.Words()
	for _, program := range []string{"berth", "docker", "podman"} {
		words[program] = word(program)
	}
	testscript.Run(t, testscript.Params{
		Dir:   ".",
		Setup: func(e *testscript.Env) error { return setup(e, berth, who) },
		Condition: func(cond string) (bool, error) {
			switch cond {
			case "root":
				return who.UID == 0, nil
			case "ids":
				return who.UID == 0 || who.Count > 0, nil
			}
			return false, fmt.Errorf("unknown condition %q", cond)
		},
		Cmds: words,
	})
}

// program is $BERTH, bin/berth, or one that is built for this run.
func program(t *testing.T) string {
	t.Helper()
	if p := os.Getenv("BERTH"); p != "" {
		return p
	}
	if p, err := filepath.Abs("../../../bin/berth"); err == nil {
		if _, err := os.Stat(p); err == nil {
			return p
		}
	}
	p := filepath.Join(t.TempDir(), "berth")
	cmd := exec.Command("go", "build", "-o", p, "berth/cmd/berth")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("build berth: %v\n%s", err, out)
	}
	return p
}

func setup(e *testscript.Env, berth string, who account.Account) error {
	dir := filepath.Join(e.WorkDir, ".bin")
	etc := filepath.Join(e.WorkDir, ".etc")
	for _, d := range []string{dir, filepath.Join(etc, "docker"), filepath.Join(etc, "berth")} {
		if err := os.MkdirAll(d, 0o755); err != nil {
			return err
		}
	}
	for _, name := range []string{"berth", "docker", "podman"} {
		if err := who.Link(berth, dir, name); err != nil {
			return err
		}
	}
	server := hub().Start()
	e.Defer(server.Close)
	bare := fakereg.New().Start()
	e.Defer(bare.Close)
	registry := strings.TrimPrefix(server.URL, "http://")
	daemon := fmt.Sprintf(`{"registry-mirrors": [%q], "insecure-registries": [%q]}`, server.URL, registry)
	if err := os.WriteFile(filepath.Join(etc, "docker/daemon.json"), []byte(daemon), 0o644); err != nil {
		return err
	}
	short := "unqualified-search-registries = [\"docker.io\"]\n"
	if err := os.WriteFile(filepath.Join(etc, "berth/registries.conf"), []byte(short), 0o644); err != nil {
		return err
	}
	for k, v := range map[string]string{
		"PATH": dir + ":/usr/sbin:/usr/bin:/sbin:/bin", "REG": registry, "BARE": strings.TrimPrefix(bare.URL, "http://"),
		"HOME": e.WorkDir, "XDG_RUNTIME_DIR": filepath.Join(e.WorkDir, ".xdg"),
		"BERTH_ETC": etc, "BERTH_ROOT": filepath.Join(e.WorkDir, ".store"), "BERTH_RUN": filepath.Join(e.WorkDir, ".run"), "TZ": "UTC",
	} {
		e.Setenv(k, v)
	}
	if !who.Switched() {
		return nil
	}
	if err := account.Open(e.WorkDir); err != nil {
		return err
	}
	return who.Give(e.WorkDir)
}

// hub is what stands for Docker Hub.
func hub() *fakereg.Server {
	s := fakereg.New()
	made := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	config := func(cmd string, layers int) v1.Image {
		c := v1.Image{Created: &made, Config: v1.ImageConfig{Cmd: []string{cmd}, Env: []string{"PATH=/bin"}, Labels: map[string]string{"maker": "nobody"}}}
		for i := range layers {
			c.History = append(c.History, v1.History{Created: &made, CreatedBy: fmt.Sprintf("/bin/sh -c #(nop) ADD layer %d", i)})
		}
		return c
	}
	of := func(platform string, repository, tag, cmd string, layers ...map[string]string) v1.Descriptor {
		c := config(cmd, len(layers))
		c.OS, c.Architecture = "linux", platform
		c.RootFS.Type = "layers"
		var blobs [][]byte
		for _, files := range layers {
			blob, diff := fakereg.Layer(files)
			blobs = append(blobs, blob)
			c.RootFS.DiffIDs = append(c.RootFS.DiffIDs, diff)
		}
		m := s.AddImage(repository, tag, "", c, blobs...).Manifest
		m.Platform = &v1.Platform{OS: c.OS, Architecture: c.Architecture}
		return m
	}
	add := func(repository, tag, cmd string, layers ...map[string]string) {
		of("amd64", repository, tag, cmd, layers...)
	}
	base := map[string]string{"bin/bash": "not really", "etc/os-release": "NAME=Ubuntu\n"}
	add("library/ubuntu", "latest", "bash", base, map[string]string{"etc/extra": strings.Repeat("x", 5000)})
	add("library/ubuntu", "22.04", "bash", base)
	add("library/alpine", "latest", "/bin/sh", map[string]string{"bin/busybox": "no"})
	add("team/hello", "v1", "/hello", map[string]string{"hello": "hello\n"})
	lists(s, "team/many", "v1",
		of("amd64", "team/many", "", "/amd", map[string]string{"hello": "amd\n"}),
		of("arm64", "team/many", "", "/arm", map[string]string{"hello": "arm\n"}))
	s.AddFound(
		fakereg.Found{Name: "ubuntu", Description: "Ubuntu is a Debian-based Linux operating system based on free software.", Stars: 16000, Official: true},
		fakereg.Found{Name: "someone/ubuntu-\x1b[31mred", Description: "line\nbreak", Automated: true},
	)
	return s
}

// lists adds an index.
func lists(s *fakereg.Server, repository, tag string, members ...v1.Descriptor) {
	raw, err := json.Marshal(v1.Index{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: v1.MediaTypeImageIndex, Manifests: members})
	if err != nil {
		panic(err) // plain data
	}
	s.AddManifest(repository, tag, v1.MediaTypeImageIndex, raw)
}

// word runs a program that must end well, or with ! must not.
func word(program string) func(*testscript.TestScript, bool, []string) {
	return func(ts *testscript.TestScript, neg bool, args []string) {
		if err := ts.Exec(program, args...); (err != nil) != neg {
			ts.Fatalf("%s %s: %v", program, strings.Join(args, " "), err)
		}
	}
}
