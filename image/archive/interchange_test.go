package archive

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"berth/image/manifest"
	"berth/image/ref"
	"berth/test/peer"
)

// rootTar is a small root file system.
func rootTar(t *testing.T) string {
	name := filepath.Join(t.TempDir(), "root.tar")
	data := makeTar(t, file{name: "etc/", kind: '5'}, file{name: "etc/motd", data: "hello\n"}, file{name: "x", data: "x"})
	if err := os.WriteFile(name, data, 0o644); err != nil {
		t.Fatal(err)
	}
	return name
}

// loadFile loads an archive and returns the images by each of their names, with
// their ids.
func loadFile(t *testing.T, store Store, name string) ([]Source, map[string]string) {
	t.Helper()
	f, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	images, err := Load(t.Context(), store, f, LoadOptions{})
	if err != nil {
		t.Fatal(err)
	}
	var sources []Source
	byName := map[string]string{}
	for _, img := range images {
		_, config := readImage(t, store, img.Target)
		sources = append(sources, Source{Target: img.Target, Names: img.Names})
		for _, n := range img.Names {
			byName[n.Familiar()] = config.Digest().Encoded()
		}
		checkWhole(t, store, img, len(config.RootFS.DiffIDs))
	}
	return sources, byName
}

func saveFile(t *testing.T, store Store, sources []Source, opts SaveOptions) string {
	t.Helper()
	f, err := os.Create(filepath.Join(t.TempDir(), "saved.tar"))
	if err != nil {
		t.Fatal(err)
	}
	if err := Save(t.Context(), f, store, Blobs(store), sources, opts); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	return f.Name()
}

func sameIDs(t *testing.T, what string, got map[string]string, want map[string]string) {
	t.Helper()
	for n, id := range want {
		if got[n] != id {
			t.Errorf("%s: %s is %q, not %s (%v)", what, n, got[n], id, got)
		}
	}
	if len(got) != len(want) {
		t.Errorf("%s: %v, want %v", what, got, want)
	}
}

func TestPodman(t *testing.T) {
	peer.NeedRoot(t)
	from, root, dir := peer.Podman(t, "vfs"), rootTar(t), t.TempDir()
	want := map[string]string{}
	for i, name := range []string{"example.com/a:1", "localhost/b:2"} {
		from.Run("import", "-q", "--change", fmt.Sprintf(`CMD ["/x", "%d"]`, i), root, name)
		want[name] = from.Run("image", "inspect", "--format", "{{.Id}}", name)
	}
	from.Run("tag", "example.com/a:1", "docker.io/library/c:3")
	want["c:3"] = want["example.com/a:1"]

	store := newStore(t)
	archive := filepath.Join(dir, "docker.tar")
	from.Run("save", "-q", "-m", "-o", archive, "example.com/a:1", "localhost/b:2", "docker.io/library/c:3")
	sources, got := loadFile(t, store, archive)
	sameIDs(t, "podman save", got, want)

	single := filepath.Join(dir, "oci.tar")
	from.Run("save", "-q", "--format", "oci-archive", "-o", single, "localhost/b:2")
	one, got := loadFile(t, store, single)
	sameIDs(t, "podman save --format oci-archive", got, map[string]string{"localhost/b:2": want["localhost/b:2"]})

	layout := filepath.Join(dir, "layout")
	from.Run("save", "-q", "--format", "oci-dir", "-o", layout, "localhost/b:2")
	if images, err := LoadFolder(t.Context(), store, layout, LoadOptions{}); err != nil || len(images) != 1 || images[0].Target.Digest != one[0].Target.Digest {
		t.Error("podman save --format oci-dir:", images, err)
	}

	// podman 4.3 cannot load its own archives in gzip either; zstd it can.
	for _, opts := range []SaveOptions{{Format: Docker}, {Format: Docker, Compression: manifest.Zstd}} {
		to := peer.Podman(t, "vfs")
		to.Run("load", "-q", "-i", saveFile(t, store, sources, opts))
		sameIDs(t, fmt.Sprintf("podman load %v", opts), familiarIDs(to), want)
	}
	to := peer.Podman(t, "vfs")
	to.Run("load", "-q", "-i", saveFile(t, store, one, SaveOptions{Format: OCI}))
	sameIDs(t, "podman load of OCI", familiarIDs(to), map[string]string{"localhost/b:2": want["localhost/b:2"]})
	// podman makes a name of the folder's path: it is to be lower case.
	folder, err := os.MkdirTemp("", "archive-layout")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(folder)
	if err := SaveFolder(t.Context(), folder, store, one, SaveOptions{}); err != nil {
		t.Fatal(err)
	}
	to = peer.Podman(t, "vfs")
	to.Run("load", "-q", "-i", folder)
	if ids := familiarIDs(to); len(ids) != 1 {
		t.Errorf("podman load of a folder: %v", ids)
	}
}

// familiarIDs are podman's, under docker's names.
func familiarIDs(p peer.Peer) map[string]string {
	ids := map[string]string{}
	for name, id := range p.IDs() {
		if r, err := ref.Docker(name); err == nil {
			name = r.Familiar()
		}
		ids[name] = id
	}
	return ids
}

func TestDocker(t *testing.T) {
	peer.NeedRoot(t)
	p, root := peer.Docker(t, "vfs"), rootTar(t)
	want := map[string]string{}
	for i, name := range []string{"one:1", "example.com/two:2"} {
		p.Run("import", "--change", fmt.Sprintf(`CMD ["/x", "%d"]`, i), "--change", "HEALTHCHECK CMD true", root, name)
		want[name] = strings.TrimPrefix(p.Run("image", "inspect", "--format", "{{.Id}}", name), "sha256:")
	}
	p.Run("tag", "one:1", "localhost/three:3")
	want["localhost/three:3"] = want["one:1"]
	store := newStore(t)
	archive := filepath.Join(t.TempDir(), "docker.tar")
	p.Run("save", "-o", archive, "one:1", "example.com/two:2", "localhost/three:3")
	sources, got := loadFile(t, store, archive)
	sameIDs(t, "docker save", got, want)
	for _, opts := range []SaveOptions{{}, {Compression: manifest.Gzip}} {
		p.Run("rmi", "-f", "one:1", "example.com/two:2", "localhost/three:3")
		p.Run("load", "-q", "-i", saveFile(t, store, sources, opts))
		sameIDs(t, "docker load", p.IDs(), want)
	}

	// What docker imports and what we import is the same image, but for the
	// moment and fields of docker's own.
	f, err := os.Open(root)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	img, err := Import(t.Context(), store, f, ImportOptions{Changes: []string{"CMD x y", "ENV A=b", "EXPOSE 80", "VOLUME /v", "LABEL l=m",
		"HEALTHCHECK --retries=2 CMD true", "WORKDIR /w", "USER 1:1", "ONBUILD RUN x", `ENTRYPOINT ["/e"]`},
		Message: "m", Created: time.Unix(1e9, 0).UTC()})
	if err != nil {
		t.Fatal(err)
	}
	name, _ := ref.Docker("ours:1")
	p.Run("load", "-q", "-i", saveFile(t, store, []Source{{Target: img.Target, Names: []ref.Ref{name}}}, SaveOptions{}))
	p.Run("import", "-m", "m", "-c", "CMD x y", "-c", "ENV A=b", "-c", "EXPOSE 80", "-c", "VOLUME /v", "-c", "LABEL l=m",
		"-c", "HEALTHCHECK --retries=2 CMD true", "-c", "WORKDIR /w", "-c", "USER 1:1", "-c", "ONBUILD RUN x",
		"-c", `ENTRYPOINT ["/e"]`, root, "theirs:1")
	const format = "{{json .Config}} {{json .RootFS}} {{.Architecture}} {{.Os}} {{.Comment}}"
	ours, theirs := p.Run("image", "inspect", "--format", format, "ours:1"), p.Run("image", "inspect", "--format", format, "theirs:1")
	if ours != theirs {
		t.Errorf("import:\n  ours %s\ntheirs %s", ours, theirs)
	}
}

// TestSkopeo: every form that skopeo writes is read, and skopeo and umoci read
// every form that we write.
func TestSkopeo(t *testing.T) {
	peer.NeedRoot(t)
	p, store, dir := peer.Skopeo(t), newStore(t), t.TempDir()
	files, target := ociFiles(t)
	if _, err := Load(t.Context(), store, bytes.NewReader(makeTar(t, files...)), LoadOptions{}); err != nil {
		t.Fatal(err)
	}
	name, _ := ref.Docker("example.com/multi:1")
	sources := []Source{{Target: target, Names: []ref.Ref{name}}}
	doc, config := readImage(t, store, target)
	amd64 := &manifest.Platform{OS: "linux", Architecture: "amd64"}
	ociTar := saveFile(t, store, sources, SaveOptions{Format: OCI, Platform: amd64})
	dockerTar := saveFile(t, store, sources, SaveOptions{Platform: amd64})

	for _, from := range []string{"oci-archive:" + ociTar, "docker-archive:" + dockerTar} {
		var info struct{ Layers []string }
		if err := json.Unmarshal([]byte(p.Run("inspect", from)), &info); err != nil || len(info.Layers) != 1 {
			t.Errorf("skopeo inspect %s: %v, %v", from, info, err)
		}
		for _, form := range []string{"docker-archive:%s/d%d.tar:example.com/multi:2", "oci-archive:%s/o%d.tar:example.com/multi:2"} {
			to := fmt.Sprintf(form, dir, time.Now().UnixNano())
			p.Run("copy", "-q", from, to)
			_, path, _ := strings.Cut(to, ":")
			path, _, _ = strings.Cut(path, ":")
			_, got := loadFile(t, newStore(t), path)
			sameIDs(t, from+" → "+to, got, map[string]string{"example.com/multi:2": config.Digest().Encoded()})
		}
	}
	if got := p.Run("inspect", "--raw", "oci-archive:"+ociTar); got != string(doc.Raw()) {
		t.Errorf("skopeo sees another manifest: %s", got)
	}
	zstdDir := filepath.Join(dir, "zstd")
	p.Run("copy", "-q", "--dest-compress-format", "zstd", "oci-archive:"+ociTar, "oci:"+zstdDir+":word")
	other := newStore(t)
	images, err := LoadFolder(t.Context(), other, zstdDir, LoadOptions{})
	if err != nil || len(images) != 1 || !slices.Equal(images[0].Words, []string{"word"}) || len(images[0].Names) != 0 {
		t.Fatal(images, err)
	}
	checkWhole(t, other, images[0], 1)

	flat, again := filepath.Join(dir, "flat"), filepath.Join(dir, "again")
	if err := SaveDockerFolder(t.Context(), flat, store, sources, SaveOptions{Platform: amd64}); err != nil {
		t.Fatal(err)
	}
	p.Run("copy", "-q", "dir:"+flat, "dir:"+again)
	for _, dir := range []string{flat, again} {
		other := newStore(t)
		images, err := LoadFolder(t.Context(), other, dir, LoadOptions{})
		if err != nil || len(images) != 1 || images[0].Target.MediaType != manifest.DockerManifest {
			t.Fatal(images, err)
		}
		if _, c := readImage(t, other, images[0].Target); c.Digest() != config.Digest() {
			t.Errorf("%s: id %s", dir, c.Digest())
		}
		checkWhole(t, other, images[0], 1)
	}

	layout := filepath.Join(dir, "layout")
	if err := SaveFolder(t.Context(), layout, store, []Source{{Target: doc.Descriptor(), Names: []ref.Ref{name}}}, SaveOptions{}); err != nil {
		t.Fatal(err)
	}
	// umoci's --image ends at the last colon, so it gets a plain word.
	raw, err := os.ReadFile(filepath.Join(layout, v1.ImageIndexFile))
	if err != nil {
		t.Fatal(err)
	}
	raw = bytes.ReplaceAll(raw, []byte(`"`+v1.AnnotationRefName+`":"example.com/multi:1"`), []byte(`"`+v1.AnnotationRefName+`":"word"`))
	if err := os.WriteFile(filepath.Join(layout, v1.ImageIndexFile), raw, 0o644); err != nil {
		t.Fatal(err)
	}
	peer.Umoci(t).Run("unpack", "--image", layout+":word", filepath.Join(dir, "bundle"))
	if text, err := os.ReadFile(filepath.Join(dir, "bundle/rootfs/hello-m")); err != nil || string(text) != "m" {
		t.Errorf("umoci unpack: %q, %v", text, err)
	}
}
