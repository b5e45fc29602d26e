package gc_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"berth/base/fault"
	"berth/base/flock"
	"berth/image/content"
	"berth/image/gc"
	"berth/image/lease"
	"berth/image/names"
	"berth/image/snapshot"

	core "github.com/containerd/containerd/v2/core/content"
	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/identity"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

var ctx = context.Background()

// store is a whole image store in a folder.
type store struct {
	*gc.Collector
	root string
}

func open(root string, deferred bool) (*store, error) {
	at := func(name string) string { return filepath.Join(root, name) }
	c, err := content.Open(content.Options{Dir: at("content"), Locks: at("locks"), Deferred: deferred})
	if err != nil {
		return nil, err
	}
	n, err := names.Open(names.Options{Dir: at("names"), Locks: at("locks")})
	if err != nil {
		return nil, err
	}
	l, err := lease.Open(lease.Options{Dir: at("leases"), Locks: at("locks")})
	if err != nil {
		return nil, err
	}
	s, err := snapshot.Open(root)
	if err != nil {
		return nil, err
	}
	return &store{&gc.Collector{
		Content: c, Names: n, Leases: l, Snapshots: s, Locks: at("locks"), Quarantine: at("quarantine"),
	}, root}, nil
}

func newStore(t testing.TB) *store {
	t.Helper()
	s, err := open(t.TempDir(), false)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Content.Close() })
	return s
}

// sample is an image made of nothing but a seed.
type sample struct {
	name   string
	blobs  [][]byte // layers, config, manifest
	target ocispec.Descriptor
	chain  digest.Digest
}

func describe(mediaType string, b []byte) ocispec.Descriptor {
	return ocispec.Descriptor{MediaType: mediaType, Digest: digest.FromBytes(b), Size: int64(len(b))}
}

func asJSON(v any) []byte {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return b
}

// makeSample makes an image of three layers; images of neighbouring seeds
// share one.
func makeSample(seed, layerSize int) sample {
	s := sample{name: fmt.Sprintf("docker.io/library/sample%d:latest", seed)}
	m := ocispec.Manifest{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageManifest}
	var cfg ocispec.Image
	cfg.OS, cfg.Architecture, cfg.RootFS.Type = "linux", "amd64", "layers"
	for i := range 3 {
		layer := bytes.Repeat(fmt.Appendf(nil, "layer %d %d\n", seed/2*(1-i%2)+seed*(i%2), i), layerSize/10)
		s.blobs = append(s.blobs, layer)
		m.Layers = append(m.Layers, describe(ocispec.MediaTypeImageLayer, layer))
		cfg.RootFS.DiffIDs = append(cfg.RootFS.DiffIDs, digest.FromBytes(layer))
	}
	config := asJSON(cfg)
	m.Config = describe(ocispec.MediaTypeImageConfig, config)
	s.chain = identity.ChainID(slices.Clone(cfg.RootFS.DiffIDs))
	s.target = describe(ocispec.MediaTypeImageManifest, asJSON(m))
	s.blobs = append(s.blobs, config, asJSON(m))
	return s
}

func (s *store) write(t testing.TB, b []byte, labels map[string]string) digest.Digest {
	t.Helper()
	d := digest.FromBytes(b)
	err := core.WriteBlob(ctx, s.Content, string(d), bytes.NewReader(b), describe("", b), core.WithLabels(labels))
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// add puts an image into the store, with a snapshot at its chain id.
func (s *store) add(t testing.TB, i sample, labels bool) {
	t.Helper()
	for n, b := range i.blobs {
		var l map[string]string
		if labels && n == len(i.blobs)-1 {
			l = map[string]string{}
			for k, child := range i.blobs[:n] {
				l[fmt.Sprintf("containerd.io/gc.ref.content.l.%d", k)] = string(digest.FromBytes(child))
			}
		}
		if labels && n == len(i.blobs)-2 {
			l = map[string]string{"containerd.io/gc.ref.snapshot.berth": string(i.chain)}
		}
		if _, err := s.Content.Info(ctx, digest.FromBytes(b)); err != nil {
			s.write(t, b, l)
		}
	}
	s.layer(t, string(i.chain)+"-below", "")
	s.layer(t, string(i.chain), string(i.chain)+"-below")
	if _, err := s.Names.Create(ctx, names.Image{Name: i.name, Target: i.target}); err != nil {
		t.Fatal(err)
	}
}

func (s *store) layer(t testing.TB, name, parent string) {
	t.Helper()
	sn := s.Snapshots.(*snapshot.Overlay)
	if _, err := sn.Prepare(ctx, "tmp-"+name, parent); err != nil {
		t.Fatal(err)
	}
	if err := sn.Commit(ctx, name, "tmp-"+name); err != nil {
		t.Fatal(err)
	}
}

// has counts which of an image's blobs and snapshots are there.
func (s *store) has(i sample) (blobs, layers int) {
	for _, b := range i.blobs {
		if _, err := s.Content.Info(ctx, digest.FromBytes(b)); err == nil {
			blobs++
		}
	}
	if s.Snapshots == nil {
		return blobs, 0
	}
	s.Snapshots.Walk(ctx, func(_ context.Context, info snapshot.Info) error {
		if info.Name == string(i.chain) || info.Name == string(i.chain)+"-below" {
			layers++
		}
		return nil
	})
	return blobs, layers
}

func (s *store) collect(t testing.TB, o gc.Options) gc.Result {
	t.Helper()
	r, err := s.Collect(ctx, o)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestNamesKeepImages(t *testing.T) {
	for _, labels := range []bool{true, false} {
		t.Run(fmt.Sprintf("labels %v", labels), func(t *testing.T) {
			s := newStore(t)
			one, two := makeSample(2, 100), makeSample(3, 100)
			s.add(t, one, labels)
			s.add(t, two, labels)
			if r := s.collect(t, gc.Options{}); len(r.Freed) != 0 || len(r.Problems) != 0 {
				t.Fatalf("of two named images went %+v", r)
			}
			if err := s.Names.Delete(ctx, one.name); err != nil {
				t.Fatal(err)
			}
			dry := s.collect(t, gc.Options{DryRun: true})
			if b, l := s.has(one); b != 5 || l != 2 {
				t.Fatalf("a dry run removed: %d blobs, %d layers left", b, l)
			}
			r := s.collect(t, gc.Options{})
			if fmt.Sprint(sorted(dry)) != fmt.Sprint(sorted(r)) || r.Bytes != dry.Bytes || r.Bytes == 0 {
				t.Errorf("dry run said %v %d, the other %v %d", dry.Freed, dry.Bytes, r.Freed, r.Bytes)
			}
			// They share two of three layers.
			if b, l := s.has(one); b != 2 || l != 0 {
				t.Errorf("removed image: %d blobs, %d layers left", b, l)
			}
			if b, l := s.has(two); b != 5 || l != 2 {
				t.Errorf("kept image: %d blobs, %d layers left", b, l)
			}
			found, err := s.Check(ctx, gc.CheckOptions{})
			if err != nil || len(found) != 0 {
				t.Errorf("check: %v %v", found, err)
			}
		})
	}
}

func sorted(r gc.Result) []string {
	var out []string
	for _, f := range r.Freed {
		out = append(out, f.Kind+" "+f.ID)
	}
	slices.Sort(out)
	return out
}

func TestLeasesKeep(t *testing.T) {
	s := newStore(t)
	i := makeSample(1, 100)
	s.add(t, i, false)
	s.Names.Delete(ctx, i.name)
	l, err := s.Leases.Create(ctx, lease.WithOwner())
	if err != nil {
		t.Fatal(err)
	}
	target := lease.Resource{ID: string(i.target.Digest), Type: lease.ContentType}
	if err := s.Leases.AddResource(ctx, l, target); err != nil {
		t.Fatal(err)
	}
	s.collect(t, gc.Options{})
	if b, l := s.has(i); b != 5 || l != 2 {
		t.Fatalf("leased: %d blobs, %d layers", b, l)
	}
	flat, err := s.Leases.Create(ctx, lease.WithOwner(), lease.WithLabels(map[string]string{lease.FlatLabel: ""}))
	if err != nil {
		t.Fatal(err)
	}
	s.Leases.AddResource(ctx, flat, target)
	s.Leases.AddResource(ctx, flat, lease.Resource{ID: string(i.chain), Type: lease.SnapshotType + gc.Snapshotter})
	s.Leases.Delete(ctx, l)
	s.collect(t, gc.Options{})
	// The layer's parent is needed by the layer, whatever a lease says.
	if b, l := s.has(i); b != 1 || l != 2 {
		t.Fatalf("leased flat: %d blobs, %d layers", b, l)
	}
	s.Leases.Delete(ctx, flat)
	s.collect(t, gc.Options{})
	if b, l := s.has(i); b != 0 || l != 0 {
		t.Fatalf("not leased: %d blobs, %d layers", b, l)
	}
}

func TestDeadLeasesGo(t *testing.T) {
	s := newStore(t)
	b := s.write(t, []byte("abc"), nil)
	l, _ := s.Leases.Create(ctx, lease.WithExpiration(200*time.Millisecond))
	s.Leases.AddResource(ctx, l, lease.Resource{ID: string(b), Type: lease.ContentType})
	if r := s.collect(t, gc.Options{}); len(r.Freed) != 0 {
		t.Fatalf("%+v", r)
	}
	time.Sleep(250 * time.Millisecond)
	if r := s.collect(t, gc.Options{}); len(r.Freed) != 2 {
		t.Fatalf("%+v", r)
	}
}

func TestRootAndExpireLabels(t *testing.T) {
	s := newStore(t)
	root := s.write(t, []byte("root"), map[string]string{"containerd.io/gc.root": "x"})
	soon := s.write(t, []byte("soon"), map[string]string{"containerd.io/gc.expire": time.Now().Add(time.Hour).Format(time.RFC3339)})
	gone := s.write(t, []byte("gone"), map[string]string{"containerd.io/gc.expire": time.Now().Add(-time.Hour).Format(time.RFC3339)})
	i := makeSample(1, 10)
	s.add(t, i, false)
	past := map[string]string{"containerd.io/gc.expire": time.Now().Add(-time.Hour).Format(time.RFC3339)}
	if _, err := s.Names.Update(ctx, names.Image{Name: i.name, Labels: past}, "labels"); err != nil {
		t.Fatal(err)
	}
	s.collect(t, gc.Options{})
	for d, want := range map[digest.Digest]bool{root: true, soon: true, gone: false, i.target.Digest: false} {
		if _, err := s.Content.Info(ctx, d); (err == nil) != want {
			t.Errorf("%s: %v", d, err)
		}
	}
	if _, err := s.Names.Get(ctx, i.name); !fault.Is(err, fault.NotFound) {
		t.Errorf("a name whose time is over: %v", err)
	}
}

func TestIngests(t *testing.T) {
	s := newStore(t)
	for _, ref := range []string{"old", "leased", "open"} {
		w, err := s.Content.Writer(ctx, core.WithRef(ref))
		if err != nil {
			t.Fatal(err)
		}
		w.Write([]byte("abc"))
		if ref == "open" {
			defer w.Close()
			continue
		}
		w.Close()
	}
	l, _ := s.Leases.Create(ctx)
	s.Leases.AddResource(ctx, l, lease.Resource{ID: "leased", Type: lease.IngestType})
	if r := s.collect(t, gc.Options{}); len(r.Freed) != 0 {
		t.Fatalf("within a day: %+v", r)
	}
	time.Sleep(20 * time.Millisecond)
	if r := s.collect(t, gc.Options{KeepIngests: time.Millisecond}); len(r.Freed) != 1 || r.Freed[0].ID != content.IngestID("old") {
		t.Fatalf("%+v", r)
	}
}

// What a wrong clock stamped with a time to come is no younger for it.
func TestTimesToComeAreNoYouth(t *testing.T) {
	s := newStore(t)
	d := s.write(t, []byte("abc"), nil)
	year := time.Now().AddDate(1, 0, 0)
	if err := os.Chtimes(filepath.Join(s.root, "content/blobs/sha256", d.Encoded()), year, year); err != nil {
		t.Fatal(err)
	}
	if r := s.collect(t, gc.Options{}); len(r.Freed) != 1 {
		t.Fatalf("%+v", r)
	}
}

func TestStrayLocksGo(t *testing.T) {
	s := newStore(t)
	stray := filepath.Join(s.root, "locks/ingest", content.IngestID("killed"))
	if err := os.WriteFile(stray, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	w, err := s.Content.Writer(ctx, core.WithRef("open"))
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	odd := filepath.Join(s.root, "content/ingest/.odd")
	for _, dir := range []string{odd, filepath.Join(s.root, "locks/ingest/folder")} {
		if err := os.Mkdir(dir, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	old := time.Now().AddDate(0, 0, -2)
	os.Chtimes(odd, old, old)
	s.collect(t, gc.Options{})
	if _, err := os.Stat(odd); !os.IsNotExist(err) {
		t.Error("something odd is still there")
	}
	if _, err := os.Stat(stray); !os.IsNotExist(err) {
		t.Error("it is still there")
	}
	if _, err := os.Stat(filepath.Join(s.root, "locks/ingest", content.IngestID("open"))); err != nil {
		t.Error(err)
	}
}

// A garbage file is one lost name or lease, not a lost image: the digests that
// can still be seen in it count.
func TestGarbageRootsAreSalvaged(t *testing.T) {
	s := newStore(t)
	one, two := makeSample(0, 10), makeSample(2, 10)
	s.add(t, one, false)
	s.add(t, two, false)
	files, _ := filepath.Glob(filepath.Join(s.root, "names/*.json"))
	for _, f := range files {
		b, _ := os.ReadFile(f)
		if strings.Contains(string(b), one.name) {
			os.WriteFile(f, b[:len(b)-20], 0o600)
		}
	}
	os.WriteFile(filepath.Join(s.root, "leases/x.json"), []byte("\x00\xff"), 0o600)
	os.WriteFile(filepath.Join(s.root, "leases/y.json"), nil, 0o600)
	os.WriteFile(filepath.Join(s.root, "content/blobs/sha256/zzz"), nil, 0o600)
	r := s.collect(t, gc.Options{})
	if len(r.Freed) != 0 || len(r.Problems) != 4 {
		t.Fatalf("%+v", r)
	}
	found, err := s.Check(ctx, gc.CheckOptions{Repair: true})
	if err != nil || len(found) != 4 {
		t.Fatalf("%v %v", found, err)
	}
	for _, f := range found {
		if f.Mended == "" {
			t.Errorf("not mended: %+v", f)
		}
	}
	if found, err := s.Check(ctx, gc.CheckOptions{}); err != nil || slices.ContainsFunc(found, func(f gc.Finding) bool { return f.Harm }) {
		t.Errorf("after the repair: %v %v", found, err)
	}
	s.collect(t, gc.Options{})
	if b, _ := s.has(one); b != 0 {
		t.Errorf("the lost image after the repair: %d blobs", b)
	}
	if b, _ := s.has(two); b != 5 {
		t.Errorf("the other: %d blobs", b)
	}
}

func TestNothingGoesWhileANewerVersionsNameIsThere(t *testing.T) {
	s := newStore(t)
	s.write(t, []byte("orphan"), nil)
	os.WriteFile(filepath.Join(s.root, "names/x.json"), []byte(`{"version":7,"name":"n"}`), 0o600)
	if _, err := s.Collect(ctx, gc.Options{}); !fault.Is(err, fault.Unsupported) {
		t.Fatalf("%v", err)
	}
	if _, err := s.Content.Info(ctx, digest.FromString("orphan")); err != nil {
		t.Error(err)
	}
	if _, err := s.Check(ctx, gc.CheckOptions{Repair: true}); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(filepath.Join(s.root, "names/x.json")); err != nil {
		t.Error("repair took a newer version's name away")
	}
}

func TestCheckFindsAndMends(t *testing.T) {
	s := newStore(t)
	i, lost := makeSample(0, 10), makeSample(5, 10)
	s.add(t, i, false)
	s.add(t, lost, false)
	s.Content.Delete(ctx, lost.target.Digest)
	// One layer rots.
	rotten := digest.FromBytes(i.blobs[1])
	path := filepath.Join(s.root, "content/blobs/sha256", rotten.Encoded())
	os.Chmod(path, 0o600)
	os.WriteFile(path, []byte("rot"), 0o444)
	os.Chmod(path, 0o444)
	found, err := s.Check(ctx, gc.CheckOptions{Repair: true})
	if err != nil {
		t.Fatal(err)
	}
	var harm []string
	for _, f := range found {
		if f.Harm {
			harm = append(harm, f.Object)
			if f.Mended == "" {
				t.Errorf("not mended: %+v", f)
			}
		}
	}
	slices.Sort(harm)
	want := []string{"blob " + string(rotten), "name " + lost.name}
	if fmt.Sprint(harm) != fmt.Sprint(want) {
		t.Errorf("found %v, not %v", harm, want)
	}
	if _, err := os.Stat(filepath.Join(s.root, "quarantine", rotten.Encoded())); err != nil {
		t.Error(err)
	}
	if _, err := s.Content.Info(ctx, rotten); !fault.Is(err, fault.NotFound) {
		t.Errorf("%v", err)
	}
	if _, err := s.Names.Get(ctx, lost.name); !fault.Is(err, fault.NotFound) {
		t.Errorf("%v", err)
	}
	found, err = s.Check(ctx, gc.CheckOptions{})
	if err != nil || slices.ContainsFunc(found, func(f gc.Finding) bool { return f.Harm }) {
		t.Errorf("after the repair: %v %v", found, err)
	}
}

func TestASweepWaitsForWritersUntilItsContextEnds(t *testing.T) {
	s := newStore(t)
	s.write(t, []byte("orphan"), nil)
	writer, err := flock.Shared(filepath.Join(s.root, "locks/gc"))
	if err != nil {
		t.Fatal(err)
	}
	short, cancel := context.WithTimeout(ctx, 50*time.Millisecond)
	defer cancel()
	if _, err := s.Collect(short, gc.Options{}); !fault.Is(err, fault.Busy) {
		t.Fatalf("%v", err)
	}
	writer.Unlock()
	if r := s.collect(t, gc.Options{}); len(r.Freed) != 1 {
		t.Fatalf("%+v", r)
	}
}

// The one thing that marking without a lock must not get wrong: something old
// becomes needed after the mark.
func TestWhatIsLeasedAfterTheMarkStays(t *testing.T) {
	s := newStore(t)
	i := makeSample(0, 10)
	s.add(t, i, false)
	s.Names.Delete(ctx, i.name)
	root := s.write(t, []byte("root"), map[string]string{"containerd.io/gc.root": "x"})
	old := s.write(t, []byte("old"), nil)
	writer, _ := flock.Shared(filepath.Join(s.root, "locks/gc"))
	done := make(chan gc.Result)
	go func() {
		r, err := s.Collect(ctx, gc.Options{})
		if err != nil {
			t.Error(err)
		}
		done <- r
	}()
	time.Sleep(200 * time.Millisecond) // it has marked, and waits for the writer
	l, _ := s.Leases.Create(ctx)
	s.Leases.AddResource(ctx, l, lease.Resource{ID: string(i.target.Digest), Type: lease.ContentType})
	refers := map[string]string{"containerd.io/gc.ref.content.x": string(old)}
	if _, err := s.Content.Update(ctx, core.Info{Digest: root, Labels: refers}, "labels.containerd.io/gc.ref.content.x"); err != nil {
		t.Fatal(err)
	}
	younger := s.write(t, []byte("made after the mark"), nil)
	writer.Unlock()
	if r := <-done; len(r.Freed) != 0 {
		t.Errorf("%+v", r)
	}
	if b, l := s.has(i); b != 5 || l != 2 {
		t.Errorf("%d blobs, %d layers", b, l)
	}
	for _, d := range []digest.Digest{younger, old} {
		if _, err := s.Content.Info(ctx, d); err != nil {
			t.Error(err)
		}
	}
}

func imageOf(i sample) names.Image { return names.Image{Name: i.name, Target: i.target} }
