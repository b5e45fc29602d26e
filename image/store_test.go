package image

import (
	"archive/tar"
	"bytes"
	"context"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"

	"berth/base/fault"
	"berth/test/peer"
)

func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == WorkerWord {
		os.Exit(Worker(os.Args[2:]))
	}
	os.Exit(m.Run())
}

func open(t *testing.T, dir string) *Store {
	t.Helper()
	s, err := Open(Options{Root: dir, Run: filepath.Join(dir, "run"), ConfigDir: filepath.Join(dir, "etc"), Warn: func(err error) { t.Errorf("warning: %v", err) }})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func newStore(t *testing.T) *Store { return open(t, t.TempDir()) }

// layer is a tar with the named files; a name that ends in / is a folder.
func layer(t *testing.T, files ...string) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, f := range files {
		h := &tar.Header{Name: f, Mode: 0o755, ModTime: time.Unix(1e9, 0), Typeflag: tar.TypeDir}
		if !strings.HasSuffix(f, "/") {
			h.Typeflag, h.Size, h.Mode = tar.TypeReg, int64(len(f)), 0o640
		}
		if err := w.WriteHeader(h); err != nil {
			t.Fatal(err)
		}
		if h.Size > 0 {
			fmt.Fprint(w, f)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func imported(t *testing.T, s *Store, name string, files ...string) digest.Digest {
	t.Helper()
	id, err := s.Import(t.Context(), ImportOptions{Name: canonical(t, s, name), Source: bytes.NewReader(layer(t, files...)), Changes: []string{"CMD /bin/true", "LABEL made=" + name}})
	if err != nil {
		t.Fatal(err)
	}
	return id
}

func canonical(t *testing.T, s *Store, name string) string {
	t.Helper()
	if name == "" {
		return ""
	}
	c, err := s.Name(name)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// clean says that nothing is in the store any more but its own folders.
func clean(t *testing.T, s *Store) {
	t.Helper()
	found, err := s.Check(t.Context(), false)
	if err != nil || len(found) > 0 {
		t.Errorf("check: %v, %v", found, err)
	}
	for _, dir := range []string{"content/blobs/sha256", "content/ingest", "snapshots/by-key", "snapshots/d", "snapshots/trash", "leases", "names", "images"} {
		entries, err := os.ReadDir(s.lib.Path(dir))
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range entries {
			t.Errorf("left behind: %s/%s", dir, e.Name())
		}
	}
}

func remove(t *testing.T, s *Store, o RemoveOptions, args ...string) (lines []string, err error) {
	t.Helper()
	err = s.Remove(t.Context(), args, o, func(_ string, r []Removed, _ error) {
		for _, x := range r {
			if x.Untagged != "" {
				lines = append(lines, "Untagged: "+x.Untagged)
			} else {
				lines = append(lines, "Deleted: "+string(x.Deleted))
			}
		}
	})
	return lines, err
}

func TestBuiltIn(t *testing.T) {
	s := newStore(t)
	img, err := s.Find(t.Context(), "berth/base")
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(img.Names, []string{"localhost/berth/base:latest"}) || img.Size < 1<<20 {
		t.Errorf("the base image is %+v", img)
	}
	if again, err := s.Find(t.Context(), img.ID.Encoded()[:7]); err != nil || again.ID != img.ID {
		t.Errorf("by its id: %v, %v", again.ID, err)
	}
	if _, err := remove(t, s, RemoveOptions{}, "berth/base"); err != nil {
		t.Fatal(err)
	}
	clean(t, s)
}

func TestPushPull(t *testing.T) {
	reg, here, there := peer.Registry(t, peer.Door{}), newStore(t), newStore(t)
	name := reg + "/some/thing:1"
	id := imported(t, here, name, "etc/", "etc/file", "deep/er/file")
	for i, want := range []bool{true, false} {
		p, err := here.Push(t.Context(), PushRequest{Source: name, Name: canonical(t, here, name)})
		if err != nil {
			t.Fatal(err)
		}
		if sent := p[0].Sent > 0; sent != want {
			t.Errorf("push %d sent %d bytes of layers", i+1, p[0].Sent)
		}
	}
	var steps []string
	var mu sync.Mutex
	pull := PullRequest{Name: canonical(t, there, name), Policy: PullAlways, Progress: func(p Progress) {
		mu.Lock()
		defer mu.Unlock()
		steps = append(steps, string(p.Step))
	}}
	for i, fresh := range []bool{true, false} {
		p, err := there.Pull(t.Context(), pull)
		if err != nil {
			t.Fatal(err)
		}
		if p[0].Image.ID != id || p[0].New != fresh || len(p[0].Image.Digests) != 1 {
			t.Errorf("pull %d: %+v", i+1, p[0])
		}
	}
	if !slices.Contains(steps, string(StepPulled)) || !slices.Contains(steps, string(StepExists)) {
		t.Errorf("steps told: %q", steps)
	}
	tree, err := there.Root(t.Context(), name)
	if os.Getuid() == 0 {
		if err != nil {
			t.Fatal(err)
		}
		defer tree.Close()
		if b, err := fs.ReadFile(os.DirFS(fmt.Sprintf("/proc/self/fd/%d", tree.Fd())), "deep/er/file"); err != nil || string(b) != "deep/er/file" {
			t.Errorf("in the tree: %q, %v", b, err)
		}
	}
	_, err = there.Pull(t.Context(), PullRequest{Name: canonical(t, there, reg+"/no/thing"), Policy: PullAlways})
	if err == nil || !strings.Contains(err.Error(), "no/thing") {
		t.Errorf("pull of what is not there: %v", err)
	}
}

// TestTogether lets many processes' worth of stores work on the same images.
func TestTogether(t *testing.T) {
	reg, dir := peer.Registry(t, peer.Door{}), t.TempDir()
	seed := newStore(t)
	var names []string
	for i := range 3 {
		n := fmt.Sprintf("%s/many:%d", reg, i)
		imported(t, seed, n, "shared/", fmt.Sprintf("file-%d", i))
		if _, err := seed.Push(t.Context(), PushRequest{Source: n, Name: canonical(t, seed, n)}); err != nil {
			t.Fatal(err)
		}
		names = append(names, n)
	}
	var wg sync.WaitGroup
	for i := range 20 {
		s := open(t, dir)
		wg.Go(func() {
			for round := range 3 {
				n := names[(i+round)%len(names)]
				if _, err := s.Pull(context.Background(), PullRequest{Name: canonical(t, s, n), Policy: PullAlways}); err != nil {
					// One that another removes in the same moment is gone, no more.
					if !fault.Is(err, fault.NotFound) {
						t.Errorf("pull: %v", err)
					}
				}
				if i%4 == 0 {
					if err := s.Remove(context.Background(), []string{n}, RemoveOptions{Force: true}, nil); err != nil && !fault.Is(err, fault.NotFound) {
						t.Errorf("remove: %v", err)
					}
				}
				if i%5 == 0 {
					if _, err := s.Prune(context.Background(), PruneOptions{All: i%2 == 0}); err != nil {
						t.Errorf("prune: %v", err)
					}
				}
			}
		})
	}
	wg.Wait()
	s := open(t, dir)
	if _, err := s.Prune(t.Context(), PruneOptions{All: true}); err != nil {
		t.Fatal(err)
	}
	clean(t, s)
}

func TestTagsAndRemoval(t *testing.T) {
	s := newStore(t)
	id := imported(t, s, "x:1", "a")
	other := imported(t, s, "y", "b")
	for _, n := range []string{"x:2", "z"} {
		if err := s.Tag(t.Context(), "x:1", n); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := remove(t, s, RemoveOptions{}, id.Encoded()[:12]); err == nil || !strings.Contains(err.Error(), "(must be forced) - image is referenced in multiple repositories") {
		t.Errorf("removal by id of an image with many names: %v", err)
	}
	lines, err := remove(t, s, RemoveOptions{}, "x:1")
	if err != nil || !slices.Equal(lines, []string{"Untagged: x:1"}) {
		t.Errorf("%q, %v", lines, err)
	}
	// A tag that moves leaves its image without a name.
	if err := s.Tag(t.Context(), "x:2", "y"); err != nil {
		t.Fatal(err)
	}
	list, err := s.List(t.Context(), ListOptions{Filters: map[string][]string{"dangling": {"true"}}})
	if err != nil || len(list) != 1 || list[0].ID != other {
		t.Errorf("without a name: %v, %v", list, err)
	}
	pruned, err := s.Prune(t.Context(), PruneOptions{})
	if err != nil || pruned.Reclaimed == 0 {
		t.Errorf("prune: %+v, %v", pruned, err)
	}
	lines, err = remove(t, s, RemoveOptions{Force: true}, string(id))
	if err != nil || len(lines) != 5 || lines[3] != "Deleted: "+string(id) {
		t.Errorf("%q, %v", lines, err)
	}
	if _, err := s.Find(t.Context(), "x:2"); !fault.Is(err, fault.NotFound) || err.Error() != "No such image: x:2" {
		t.Errorf("after the removal: %v", err)
	}
	clean(t, s)
}

func TestInUse(t *testing.T) {
	s := newStore(t)
	id := imported(t, s, "x", "a")
	use := func(running bool) RemoveOptions {
		return RemoveOptions{InUse: func(digest.Digest) []InUse { return []InUse{{"0123456789ab", running}} }}
	}
	if _, err := remove(t, s, use(true), string(id)); err == nil || !strings.Contains(err.Error(), "image is being used by running container 0123456789ab") {
		t.Errorf("an image that runs: %v", err)
	}
	if _, err := remove(t, s, use(false), "x"); err == nil || !strings.Contains(err.Error(), "container 0123456789ab is using its referenced image") {
		t.Errorf("the name of an image in use: %v", err)
	}
	if p, err := s.Prune(t.Context(), PruneOptions{All: true, InUse: use(false).InUse}); err != nil || len(p.Removed) > 0 {
		t.Errorf("prune took %v, %v", p, err)
	}
}

func TestSaveLoad(t *testing.T) {
	s := newStore(t)
	id := imported(t, s, "x:1", "a", "b/c")
	for _, format := range []Format{FormatDocker, FormatOCI} {
		var b bytes.Buffer
		if err := s.Save(t.Context(), &b, []string{"x:1"}, SaveOptions{Format: format}); err != nil {
			t.Fatal(err)
		}
		there := newStore(t)
		got, err := there.Load(t.Context(), &b, "", LoadOptions{})
		if err != nil || len(got) != 1 || got[0].ID != id || got[0].Name != "docker.io/library/x:1" {
			t.Errorf("%s: %+v, %v", format, got, err)
		}
		d, err := there.Inspect(t.Context(), "x:1")
		if err != nil || d.Config.Config.Labels["made"] != "x:1" || len(d.History) != 1 {
			t.Errorf("%s: %+v, %v", format, d, err)
		}
	}
	broken := newStore(t)
	if _, err := broken.Load(t.Context(), strings.NewReader("no archive"), "", LoadOptions{}); !fault.Is(err, fault.Invalid) {
		t.Errorf("load of nonsense: %v", err)
	}
	if _, err := broken.Prune(t.Context(), PruneOptions{}); err != nil {
		t.Fatal(err)
	}
	clean(t, broken)
}

// TestTwoWrappings loads an image uncompressed and pulls it compressed: it is one
// image, whole in both, and gone at once.
func TestTwoWrappings(t *testing.T) {
	reg, here, there := peer.Registry(t, peer.Door{}), newStore(t), newStore(t)
	name := reg + "/app:1"
	id := imported(t, here, name, "a", "b/c")
	if _, err := here.Push(t.Context(), PushRequest{Source: name, Name: canonical(t, here, name)}); err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if err := here.Save(t.Context(), &b, []string{name}, SaveOptions{}); err != nil {
		t.Fatal(err)
	}
	if _, err := there.Load(t.Context(), &b, "", LoadOptions{}); err != nil {
		t.Fatal(err)
	}
	p, err := there.Pull(t.Context(), PullRequest{Name: canonical(t, there, name), Policy: PullAlways})
	if err != nil || p[0].Image.ID != id {
		t.Fatalf("%+v, %v", p, err)
	}
	if err := there.Save(t.Context(), io.Discard, []string{name}, SaveOptions{Format: FormatOCI}); err != nil {
		t.Errorf("save of the pulled form: %v", err)
	}
	lines, err := remove(t, there, RemoveOptions{}, name)
	if err != nil || !slices.Contains(lines, "Deleted: "+string(id)) {
		t.Errorf("%q, %v", lines, err)
	}
	clean(t, there)
}

func TestLists(t *testing.T) {
	reg, s := peer.Registry(t, peer.Door{}), newStore(t)
	name := reg + "/m:a"
	imported(t, s, name, "a")
	if _, err := s.Push(t.Context(), PushRequest{Source: name, Name: canonical(t, s, name)}); err != nil {
		t.Fatal(err)
	}
	if img, err := s.Find(t.Context(), name); err != nil || len(img.Digests) != 1 {
		t.Errorf("a pushed image has the digests %v, %v", img.Digests, err)
	}
	there := newStore(t)
	list := reg + "/m:all"
	if _, err := there.Lists().Create(t.Context(), ListRequest{List: list, Members: []string{name}}); err != nil {
		t.Fatal(err)
	}
	if _, err := there.Lists().Create(t.Context(), ListRequest{List: list}); !fault.Is(err, fault.Exists) {
		t.Errorf("a list that is there: %v", err)
	}
	if _, err := there.Lists().Annotate(t.Context(), ListRequest{List: list, Members: []string{name}, Set: Annotation{Variant: "v3"}}); err != nil {
		t.Fatal(err)
	}
	if _, err := there.Lists().Push(t.Context(), list, false, PushRequest{Name: canonical(t, there, list)}); err != nil {
		t.Fatal(err)
	}
	raw, err := newStore(t).Lists().Inspect(t.Context(), list, Access{})
	if err != nil || !bytes.Contains(raw, []byte(`"variant":"v3"`)) {
		t.Errorf("%s, %v", raw, err)
	}
	r := PullRequest{Name: canonical(t, s, list), Policy: PullAlways, Platform: "linux/s390x"}
	if p, err := s.Pull(t.Context(), r); !fault.Is(err, fault.NotFound) {
		t.Errorf("pull of a platform that the list does not have: %+v, %v", p, err)
	}
	r.Platform = "linux/" + runtime.GOARCH + "/v3"
	p, err := s.Pull(t.Context(), r)
	if err != nil || p[0].Digest != digest.FromBytes(raw) {
		t.Errorf("pull of the list: %+v, %v", p, err)
	}
}

func TestMounts(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("needs root: mount")
	}
	s := newStore(t)
	imported(t, s, "x", "f")
	path, err := s.Mount(t.Context(), "x")
	if err != nil {
		t.Fatal(err)
	}
	if b, err := os.ReadFile(filepath.Join(path, "f")); err != nil || string(b) != "f" {
		t.Errorf("%q, %v", b, err)
	}
	if err := os.WriteFile(filepath.Join(path, "new"), nil, 0o600); err == nil {
		t.Error("a mounted image can be written to")
	}
	if err := s.Unmount(t.Context(), "x", false); err != nil {
		t.Fatal(err)
	}
	if _, err := remove(t, s, RemoveOptions{}, "x"); err != nil {
		t.Fatal(err)
	}
	clean(t, s)
}

func TestPolicy(t *testing.T) {
	reg, s := peer.Registry(t, peer.Door{}), newStore(t)
	name := reg + "/team/app:1"
	imported(t, s, name, "a")
	if _, err := s.Push(t.Context(), PushRequest{Source: name, Name: canonical(t, s, name)}); err != nil {
		t.Fatal(err)
	}
	private, public, err := NewTrust(s).NewKey()
	if err != nil {
		t.Fatal(err)
	}
	there := newStore(t)
	etc := there.opts.ConfigDir
	if err := os.MkdirAll(etc, 0o700); err != nil {
		t.Fatal(err)
	}
	pull := func(policy string) error {
		if err := os.WriteFile(filepath.Join(etc, policyName), []byte(policy), 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := there.Pull(t.Context(), PullRequest{Name: canonical(t, there, name), Policy: PullAlways})
		return err
	}
	if err := os.WriteFile(filepath.Join(etc, "team.pub"), public, 0o600); err != nil {
		t.Fatal(err)
	}
	signed := fmt.Sprintf("[[rule]]\nprefix = %q\naction = \"signed\"\nkeys = [\"team.pub\"]\n", reg+"/team")
	for policy, want := range map[string]string{"default = \"reject\"\n": "rejected by the policy", signed: "asks for a signature", "default = \"maybe\"\n": "not accept or reject"} {
		if err := pull(policy); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", policy, err)
		}
		if entries, _ := os.ReadDir(there.lib.Path("snapshots/d")); len(entries) > 0 {
			t.Errorf("%s: layers were unpacked before the policy was asked", policy)
		}
	}
	if _, err := NewTrust(s).Sign(t.Context(), canonical(t, s, name), private, Access{}); err != nil {
		t.Fatal(err)
	}
	if err := pull(signed); err != nil {
		t.Errorf("a signed image: %v", err)
	}
}
