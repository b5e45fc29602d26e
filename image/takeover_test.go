package image

import (
	"archive/tar"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/opencontainers/go-digest"
	"golang.org/x/sync/errgroup"

	"berth/base/fault"
	"berth/test/peer"
)

// engine is another engine with a store of its own.
type engine struct {
	peer.Peer
	t *testing.T
}

func podmanEngine(t *testing.T) engine { return engine{peer.Podman(t, "overlay"), t} }
func dockerEngine(t *testing.T) engine { return engine{peer.Docker(t, "overlay2"), t} }

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
	e.Run("load", "-q", "-i", file)
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
			e.Run("tag", "localhost/ab:1", "localhost/other/name:2")
			other := e.load("localhost/gone:1", two)
			e.Run("tag", "localhost/a:1", "localhost/gone:1") // other has no name any more
			e.Run("rmi", "localhost/a:1")
			s := newStore(t)
			steps := 0
			got, err := s.TakeFrom(t.Context(), TakeOver{Engine: e.Name, Root: e.Root, Progress: func(p Progress) {
				if steps++; p.Current <= 0 || p.Detail == "" || p.Digest == "" {
					t.Errorf("%+v", p)
				}
			}})
			want := []string{" " + other, "localhost/ab:1 " + ab, "localhost/gone:1 " + a, "localhost/other/name:2 " + ab}
			if diff := cmp.Diff(want, told(got)); diff != "" || err != nil || steps < 2 {
				t.Fatalf("%v, %d steps\n%s", err, steps, diff)
			}
			again, err := s.TakeFrom(t.Context(), TakeOver{Engine: e.Name, Root: e.Root})
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
	file := filepath.Join(e.Root, "overlay", digest.FromBytes(bad).Encoded(), "diff/changed")
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
	got, err := s.TakeFrom(t.Context(), TakeOver{Engine: "podman", Root: e.Root})
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
	e.Run("images")
	if got, err := s.TakeFrom(t.Context(), TakeOver{Engine: "podman", Root: e.Root}); err != nil || got != nil {
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
				got, err := s.TakeFrom(ctx, TakeOver{Engine: "podman", Root: e.Root, Progress: func(Progress) { cancel() }})
				if err == nil && len(got) == len(want) || errors.Is(err, context.Canceled) {
					return nil // it may have found all layers there
				}
				return fmt.Errorf("the interrupted one: %v, %w", got, err)
			}
			got, err := s.TakeFrom(inner, TakeOver{Engine: "podman", Root: e.Root})
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
