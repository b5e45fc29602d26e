package engine

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"berth/base/fault"
	"berth/container"
	"berth/image"
	"berth/runtime"
	"berth/volume"
)

func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == image.WorkerWord {
		os.Exit(image.Worker(os.Args[2:]))
	}
	os.Exit(m.Run())
}

// open gives an engine on a real store of the test's own.
func open(t *testing.T) *Engine {
	t.Helper()
	dir := t.TempDir()
	s, err := image.Open(image.Options{Root: filepath.Join(dir, "store"), Run: filepath.Join(dir, "run"), ConfigDir: dir})
	if err != nil {
		t.Fatal(err)
	}
	e := &Engine{Images: s, Writables: image.NewWritables(s), Lists: s.Lists(), Registries: s.Registries(), Closer: s}
	t.Cleanup(func() { _ = e.Close() })
	return e
}

func tree(t *testing.T) *bytes.Buffer {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	if err := w.WriteHeader(&tar.Header{Name: "file", Mode: 0o644, Size: 2}); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write([]byte("hi")); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return &b
}

func TestImageVerbsMeetContainers(t *testing.T) {
	ctx, e := context.Background(), open(t)
	id, err := ImageImport(ctx, e, image.ImportOptions{Name: "one", Source: tree(t)})
	if err != nil {
		t.Fatal(err)
	}
	if err := ImageTag(ctx, e, "one", []string{"two:x", "three"}); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if e.Containers, err = container.Open(container.Options{Root: dir + "/root", Run: dir + "/run"}); err != nil {
		t.Fatal(err)
	}
	e.Levels = container.LevelsOf(e.Containers)
	made, err := e.Containers.Create(ctx, &container.Record{Name: "user", Image: container.ImageUsed{ID: string(id), Name: "one"}})
	if err != nil {
		t.Fatal(err)
	}
	if err := made.Unlock(); err != nil {
		t.Fatal(err)
	}
	if e.Volumes, err = volume.Open(volume.Options{Root: dir + "/root", Run: dir + "/run"}); err != nil {
		t.Fatal(err)
	}
	e.Runtime = &runtime.Runtime{Root: dir + "/oci"}
	u, err := DiskUsage(ctx, e)
	if err != nil || len(u.Images.Images) != 1 || u.Images.Images[0].Containers != 1 || len(u.Containers) != 1 {
		t.Errorf("usage with a container: %+v %v", u, err)
	}
	if err := ImageRemove(ctx, e, RemoveImageRequest{Names: []string{string(id)}}); !fault.Is(err, fault.Conflict) {
		t.Errorf("an image in use is removed: %v", err)
	}
	if p, err := ImagePrune(ctx, e, PruneRequest{All: true}); err != nil || len(p.Removed) > 0 {
		t.Errorf("an image in use is pruned: %+v %v", p, err)
	}
	e.Containers = nil
	var said []string
	err = ImageRemove(ctx, e, RemoveImageRequest{Names: []string{"one", "nope", "two:x", "three"}, Each: func(name string, gone []image.Removed, err error) {
		var no *NoImage
		if errors.As(err, &no) {
			said = append(said, "no "+no.Name)
		}
		for _, g := range gone {
			said = append(said, g.Untagged+string(g.Deleted))
		}
	}})
	if !fault.Is(err, fault.NotFound) {
		t.Errorf("rmi of what is not there: %v", err)
	}
	if want := []string{"one:latest", "no nope", "two:x", "three:latest", string(id)}; len(said) < len(want) || !slices.Equal(said[:len(want)], want) {
		t.Errorf("rmi says %q", said)
	}
	if found, err := ImageExists(ctx, e, "one"); found || err != nil {
		t.Errorf("still there: %t %v", found, err)
	}
	if findings, err := Check(ctx, e, false); err != nil || len(findings) > 0 {
		t.Errorf("check: %+v %v", findings, err)
	}
}

func TestNoImage(t *testing.T) {
	ctx, e := context.Background(), open(t)
	for verb, err := range map[string]error{
		"tag":     ImageTag(ctx, e, "nope", []string{"x"}),
		"save":    ImageSave(ctx, e, &bytes.Buffer{}, []string{"nope"}, image.SaveOptions{Format: image.FormatDocker}),
		"inspect": second(ImageInspect(ctx, e, "nope")),
		"untag":   second(ImageUntag(ctx, e, "nope", nil)),
		"mount":   second(ImageMount(ctx, e, []string{"nope"})),
		"unmount": second(ImageUnmount(ctx, e, []string{"nope"}, false)),
		"push":    second(Push(ctx, e, PushRequest{PushRequest: image.PushRequest{Source: "nope"}})),
		"push -a": second(Push(ctx, e, PushRequest{PushRequest: image.PushRequest{Source: "nope", AllTags: true}})),
	} {
		var no *NoImage
		if !errors.As(err, &no) || no.Name != "nope" {
			t.Errorf("%s: %v", verb, err)
		}
	}
	if _, err := Pull(ctx, e, PullRequest{PullRequest: image.PullRequest{Name: "BAD"}}); !fault.Is(err, fault.Invalid) {
		t.Errorf("pull of a bad name: %v", err)
	}
	if _, err := Pull(ctx, e, PullRequest{PullRequest: image.PullRequest{Name: "nope", Policy: image.PullNever}}); !fault.Is(err, fault.NotFound) {
		t.Errorf("pull --policy never: %v", err)
	}
	if _, err := Search(ctx, e, "x", 101, nil, image.Access{}); err == nil || err.Error() != "Limit 101 is outside the range of [1, 100]" {
		t.Errorf("search: %v", err)
	}
}

func second[T any](_ T, err error) error { return err }

func TestSplitName(t *testing.T) {
	for name, want := range map[string][3]string{
		"docker.io/library/x:1": {"docker.io", "library/x", "1"},
		"h:5/a/b":               {"h:5", "a/b", ""},
		"h:5/a/b:2":             {"h:5", "a/b", "2"},
		"q.io/x@sha256:aa":      {"q.io", "x", "sha256:aa"},
		"q.io/x:3@sha256:aa":    {"q.io", "x", "sha256:aa"},
	} {
		r, p, tag := SplitName(name)
		if [3]string{r, p, tag} != want {
			t.Errorf("%s: %q %q %q", name, r, p, tag)
		}
	}
}
