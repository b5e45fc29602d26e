package image

import (
	"archive/tar"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/opencontainers/go-digest"
	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"berth/base/fault"
)

// engine is another engine with a store of its own.
type engine struct {
	t    *testing.T
	name string
	args []string
	root string
}

func (e engine) run(args ...string) string {
	e.t.Helper()
	all := append(slices.Clone(e.args), args...)
	out, err := exec.CommandContext(context.WithoutCancel(e.t.Context()), "timeout", append([]string{"60"}, all...)...).CombinedOutput()
	if err != nil {
		e.t.Fatalf("%q: %v\n%s", all, err, out)
	}
	return strings.TrimSpace(string(out))
}

func podmanEngine(t *testing.T) engine {
	if os.Getuid() != 0 {
		t.Skip("needs root: other engines")
	}
	dir := t.TempDir()
	t.Cleanup(func() { _ = unix.Unmount(dir+"/store/overlay", unix.MNT_DETACH) }) // podman makes it a mount of its own
	return engine{t, "podman", []string{"podman", "--root", dir + "/store", "--runroot", dir + "/run", "--storage-driver", "overlay", "--cgroup-manager", "cgroupfs"}, dir + "/store"}
}

// dockerEngine starts a dockerd of its own, without a network.
func dockerEngine(t *testing.T) engine {
	if os.Getuid() != 0 {
		t.Skip("needs root: other engines")
	}
	dir := t.TempDir()
	socket := "unix://" + dir + "/s"
	d := exec.Command("dockerd", "--data-root", dir+"/data", "--exec-root", dir+"/exec", "--pidfile", dir+"/pid", "-H", socket,
		"--iptables=false", "--ip6tables=false", "--ip-forward=false", "--ip-masq=false", "--bridge=none", "--storage-driver", "overlay2")
	d.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM}
	if err := d.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = d.Process.Signal(syscall.SIGTERM); _ = d.Wait() })
	for range 300 {
		if exec.Command("docker", "-H", socket, "version").Run() == nil {
			return engine{t, "docker", []string{"docker", "-H", socket}, dir + "/data"}
		}
		time.Sleep(100 * time.Millisecond)
	}
	t.Fatal("dockerd does not answer")
	return engine{}
}

// archiveOf is docker's archive of one image of layers, and its id.
func archiveOf(t *testing.T, name string, layers ...[]byte) ([]byte, digest.Digest) {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	add := func(name string, data []byte) {
		if err := w.WriteHeader(&tar.Header{Name: name, Size: int64(len(data)), Mode: 0o644}); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(data); err != nil {
			t.Fatal(err)
		}
	}
	var diffs []digest.Digest
	var files []string
	for i, l := range layers {
		files = append(files, fmt.Sprintf("%d.tar", i))
		diffs = append(diffs, digest.FromBytes(l))
		add(files[i], l)
	}
	config, _ := json.Marshal(map[string]any{"architecture": "amd64", "os": "linux", "config": map[string]any{"Cmd": []string{"/bin/sh"}},
		"rootfs": map[string]any{"type": "layers", "diff_ids": diffs}})
	add("config.json", config)
	list, _ := json.Marshal([]any{map[string]any{"Config": "config.json", "RepoTags": []string{name}, "Layers": files}})
	add("manifest.json", list)
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes(), digest.FromBytes(config)
}

func (e engine) load(name string, layers ...[]byte) string {
	e.t.Helper()
	data, id := archiveOf(e.t, name, layers...)
	file := filepath.Join(e.t.TempDir(), "image.tar")
	if err := os.WriteFile(file, data, 0o600); err != nil {
		e.t.Fatal(err)
	}
	e.run("load", "-q", "-i", file)
	return string(id)
}

func told(list []Loaded) []string {
	var out []string
	for _, l := range list {
		out = append(out, l.Name+" "+string(l.ID))
	}
	slices.Sort(out)
	return out
}

func TestTakeFrom(t *testing.T) {
	for name, start := range map[string]func(*testing.T) engine{"docker": dockerEngine, "podman": podmanEngine} {
		t.Run(name, func(t *testing.T) {
			e := start(t)
			one, two := layer(t, "etc/", "etc/a", "b"), layer(t, "etc/", "etc/d", "c")
			a, ab := e.load("localhost/a:1", one), e.load("localhost/ab:1", one, two)
			e.run("tag", "localhost/ab:1", "localhost/other/name:2")
			other := e.load("localhost/gone:1", two)
			e.run("tag", "localhost/a:1", "localhost/gone:1") // other has no name any more
			e.run("rmi", "localhost/a:1")
			s := newStore(t)
			steps := 0
			got, err := s.TakeFrom(t.Context(), TakeOver{Engine: e.name, Root: e.root, Progress: func(p Progress) {
				if steps++; p.Current <= 0 || p.Detail == "" || p.Digest == "" {
					t.Errorf("%+v", p)
				}
			}})
			want := []string{" " + other, "localhost/ab:1 " + ab, "localhost/gone:1 " + a, "localhost/other/name:2 " + ab}
			if diff := cmp.Diff(want, told(got)); diff != "" || err != nil || steps < 2 {
				t.Fatalf("%v, %d steps\n%s", err, steps, diff)
			}
			again, err := s.TakeFrom(t.Context(), TakeOver{Engine: e.name, Root: e.root})
			if diff := cmp.Diff(want, told(again)); diff != "" || err != nil {
				t.Errorf("once more: %v\n%s", err, diff)
			}
			img, err := s.Find(t.Context(), "localhost/other/name:2")
			if err != nil || string(img.ID) != ab {
				t.Errorf("%v, %v", img, err)
			}
			path, err := s.Mount(t.Context(), "localhost/ab:1")
			if err != nil {
				t.Fatal(err)
			}
			text, err := os.ReadFile(path + "/c")
			if _, below := os.Stat(path + "/etc/a"); string(text) != "c" || err != nil || below != nil {
				t.Errorf("its tree: %q, %v, %v", text, err, below)
			}
			if err := s.Unmount(t.Context(), "localhost/ab:1", false); err != nil {
				t.Error(err)
			}
			if _, err := remove(t, s, RemoveOptions{Force: true}, a, ab, other); err != nil {
				t.Error(err)
			}
			clean(t, s)
		})
	}
}

// An image whose files were changed is not taken, the others are.
func TestTakeFromDamaged(t *testing.T) {
	e := podmanEngine(t)
	bad, good := layer(t, "changed"), layer(t, "same")
	badID, goodID := e.load("localhost/bad:1", bad), e.load("localhost/good:1", good)
	file := filepath.Join(e.root, "overlay", digest.FromBytes(bad).Encoded(), "diff/changed")
	if err := os.WriteFile(file, []byte("CHANGED"), 0o644); err != nil {
		t.Fatal(err)
	}
	var warned []string
	dir := t.TempDir()
	s, err := Open(Options{Root: dir, Run: dir + "/run", Warn: func(err error) { warned = append(warned, err.Error()) }})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	got, err := s.TakeFrom(t.Context(), TakeOver{Engine: "podman", Root: e.root})
	if !fault.Is(err, fault.Invalid) || !strings.Contains(fmt.Sprint(err), "1 of 2 images") || !slices.Equal(told(got), []string{"localhost/good:1 " + goodID}) {
		t.Errorf("%v, %v", told(got), err)
	}
	if len(warned) != 1 || !strings.Contains(warned[0], string(digest.FromBytes(bad))) || !strings.Contains(warned[0], "bad:1") {
		t.Errorf("warned of %q", warned)
	}
	if _, err := s.Find(t.Context(), badID); !fault.Is(err, fault.NotFound) {
		t.Errorf("the bad one: %v", err)
	}
	if _, err := remove(t, s, RemoveOptions{}, "localhost/good:1"); err != nil {
		t.Error(err)
	}
	clean(t, s)
}

func TestTakeFromNothing(t *testing.T) {
	s := newStore(t)
	for name, kind := range map[string]fault.Kind{"docker": fault.NotFound, "podman": fault.NotFound, "lxc": fault.Invalid} {
		if got, err := s.TakeFrom(t.Context(), TakeOver{Engine: name, Root: t.TempDir()}); !fault.Is(err, kind) || got != nil {
			t.Errorf("%s: %v, %v", name, got, err)
		}
	}
	e := podmanEngine(t)
	e.run("images")
	if got, err := s.TakeFrom(t.Context(), TakeOver{Engine: "podman", Root: e.root}); err != nil || got != nil {
		t.Errorf("an empty store: %v, %v", got, err)
	}
}

// Several processes take over the same images at once; one is interrupted.
func TestTakeFromTogether(t *testing.T) {
	e := podmanEngine(t)
	var want []string
	for i := range 5 {
		name := fmt.Sprintf("localhost/i%d:1", i)
		want = append(want, name+" "+e.load(name, layer(t, "common", "etc/"), layer(t, fmt.Sprint("own", i))))
	}
	dir := t.TempDir()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	group, inner := errgroup.WithContext(t.Context())
	for i := range 4 {
		s := open(t, dir)
		group.Go(func() error {
			if i == 3 {
				got, err := s.TakeFrom(ctx, TakeOver{Engine: "podman", Root: e.root, Progress: func(Progress) { cancel() }})
				if err == nil && len(got) == len(want) || errors.Is(err, context.Canceled) {
					return nil // it may have found all layers there
				}
				return fmt.Errorf("the interrupted one: %v, %w", got, err)
			}
			got, err := s.TakeFrom(inner, TakeOver{Engine: "podman", Root: e.root})
			if err == nil && !slices.Equal(told(got), want) {
				err = fmt.Errorf("got %v", told(got))
			}
			return err
		})
	}
	if err := group.Wait(); err != nil {
		t.Error(err)
	}
	s := open(t, dir)
	var ids []string
	for _, w := range want {
		ids = append(ids, strings.Fields(w)[1])
	}
	if _, err := remove(t, s, RemoveOptions{Force: true}, ids...); err != nil {
		t.Error(err)
	}
	clean(t, s)
}
