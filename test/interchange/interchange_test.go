// Package interchange gives images to others' tools and takes them from there:
// the tree that berth unpacks is umoci's; what berth pushed, docker, podman and
// skopeo pull; what it saved, they load; and the other way round. The programs
// are the real ones (berth is bin/berth), the registry is Debian's. It belongs
// to the tests, outside the rows.
package interchange

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"berth/test/peer"
)

// rig is a registry, a store of berth's, and the tools that need no daemon.
type rig struct {
	t             *testing.T
	registry      string
	program       string
	env           []string // env(1) with the places of the store
	skopeo, umoci peer.Peer
}

func newRig(t *testing.T) *rig {
	t.Helper()
	peer.NeedRoot(t)
	program, err := filepath.Abs("../../bin/berth")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(program); err != nil {
		t.Fatalf("%v: build it with make", err)
	}
	dir := t.TempDir()
	return &rig{
		t: t, registry: peer.Registry(t, peer.Door{}), skopeo: peer.Skopeo(t), umoci: peer.Umoci(t), program: program,
		env: []string{"env", "BERTH_ROOT=" + dir + "/store", "BERTH_RUN=" + dir + "/run", "BERTH_ETC=" + dir + "/etc", "HOME=" + dir},
	}
}

func (r *rig) berth(words ...string) string {
	r.t.Helper()
	return peer.Program(r.t, append(r.env, r.program)...).Run(words...)
}

// shell runs a line of bash in which $0 is berth and $1… are the words.
func (r *rig) shell(line string, words ...string) {
	r.t.Helper()
	peer.Program(r.t, append(r.env, "bash", "-euo", "pipefail", "-c", line, r.program)...).Run(words...)
}

// publish puts an image of layers into the registry, by way of an OCI layout
// and skopeo, and gives its name.
func (r *rig) publish(name string, layers [][]entry) string {
	r.t.Helper()
	dir := r.t.TempDir()
	put := func(media string, data []byte) v1.Descriptor {
		d := v1.Descriptor{MediaType: media, Digest: digest.FromBytes(data), Size: int64(len(data))}
		path := filepath.Join(dir, "blobs/sha256", d.Digest.Encoded())
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			r.t.Fatal(err)
		}
		if err := os.WriteFile(path, data, 0o644); err != nil {
			r.t.Fatal(err)
		}
		return d
	}
	config := v1.Image{Platform: v1.Platform{OS: "linux", Architecture: "amd64"}, Config: v1.ImageConfig{Cmd: []string{"/bin/su"}, Labels: map[string]string{"name": name}}}
	config.RootFS.Type = "layers"
	m := v1.Manifest{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: v1.MediaTypeImageManifest}
	for _, l := range layers {
		var raw, packed bytes.Buffer
		if err := write(&raw, l); err != nil {
			r.t.Fatal(err)
		}
		z := gzip.NewWriter(&packed)
		if _, err := z.Write(raw.Bytes()); err != nil {
			r.t.Fatal(err)
		}
		if err := z.Close(); err != nil {
			r.t.Fatal(err)
		}
		config.RootFS.DiffIDs = append(config.RootFS.DiffIDs, digest.FromBytes(raw.Bytes()))
		m.Layers = append(m.Layers, put(v1.MediaTypeImageLayerGzip, packed.Bytes()))
	}
	m.Config = put(v1.MediaTypeImageConfig, r.json(config))
	desc := put(v1.MediaTypeImageManifest, r.json(m))
	desc.Annotations = map[string]string{v1.AnnotationRefName: "x"}
	index := v1.Index{Versioned: specs.Versioned{SchemaVersion: 2}, Manifests: []v1.Descriptor{desc}}
	for file, data := range map[string][]byte{"index.json": r.json(index), "oci-layout": []byte(`{"imageLayoutVersion":"1.0.0"}`)} {
		if err := os.WriteFile(filepath.Join(dir, file), data, 0o644); err != nil {
			r.t.Fatal(err)
		}
	}
	to := r.registry + "/" + name + ":1"
	r.skopeo.Run("copy", "-q", "--dest-tls-verify=false", "oci:"+dir+":x", "docker://"+to)
	return to
}

func (r *rig) json(v any) []byte {
	r.t.Helper()
	data, err := json.Marshal(v)
	if err != nil {
		r.t.Fatal(err)
	}
	return data
}

// id is an image's id here, without its algorithm.
func (r *rig) id(name string) string {
	r.t.Helper()
	return strings.TrimPrefix(r.berth("inspect", "-f", "{{.Id}}", name), "sha256:")
}

// imported makes an image here whose layer has no compressed form yet.
func (r *rig) imported(name string) string {
	r.t.Helper()
	file := filepath.Join(r.t.TempDir(), "root.tar")
	f, err := os.Create(file)
	if err != nil {
		r.t.Fatal(err)
	}
	defer f.Close()
	if err := write(f, layers()[0]); err != nil {
		r.t.Fatal(err)
	}
	r.berth("import", "-c", `CMD ["/bin/su"]`, "-c", "LABEL name="+name, file, name)
	return r.id(name)
}

// TestPush: docker, podman and skopeo pull what berth pushed, as the same image.
func TestPush(t *testing.T) {
	r := newRig(t)
	docker, podman := peer.Docker(t, "overlay2"), peer.Podman(t, "overlay")
	pulled := r.registry + "/again/pulled:2"
	r.berth("pull", "-q", r.publish("first", layers()))
	r.berth("tag", r.registry+"/first:1", pulled)
	made, squeezed := r.registry+"/made:1", r.registry+"/zstd:1"
	ids := map[string]string{pulled: r.id(pulled), made: r.imported(made), squeezed: r.imported(squeezed)}
	for name, id := range ids {
		compression := []string{}
		if name == squeezed {
			compression = []string{"--compression-format", "zstd"}
		}
		r.berth(append(append([]string{"push", "-q"}, compression...), name)...)
		if name != squeezed { // docker 20.10 knows no zstd
			r.berth("push", "-q", "--format", "v2s2", name, name+"-docker")
			docker.Run("pull", "-q", name+"-docker")
			docker.Run("pull", "-q", name)
			if got := docker.Run("inspect", "-f", "{{.Id}}", name); got != "sha256:"+id {
				t.Errorf("docker pulls %s as %s, it is %s", name, got, id)
			}
		}
		if got := podman.Run("pull", "-q", "--tls-verify=false", name); got != id {
			t.Errorf("podman pulls %s as %s, it is %s", name, got, id)
		}
		// skopeo checks every digest on its way.
		r.skopeo.Run("copy", "-q", "--src-tls-verify=false", "docker://"+name, "dir:"+t.TempDir())
		r.berth("push", "-q", "--format", "oci", name, name+"-oci")
		if raw := r.skopeo.Run("inspect", "--tls-verify=false", "--raw", "docker://"+name+"-oci"); strings.Contains(raw, "docker") {
			t.Errorf("push --format oci: %s", raw)
		}
		config := r.skopeo.Run("inspect", "--tls-verify=false", "--config", "--raw", "docker://"+name)
		if got := digest.FromString(config).Encoded(); got != id {
			t.Errorf("skopeo's configuration of %s is %s, not %s", name, got, id)
		}
	}
}

// TestPull: berth pulls what docker, podman and skopeo pushed.
func TestPull(t *testing.T) {
	r := newRig(t)
	from := r.publish("theirs", layers())
	docker, podman := peer.Docker(t, "overlay2"), peer.Podman(t, "overlay")
	docker.Run("pull", "-q", from)
	podman.Run("pull", "-q", "--tls-verify=false", from)
	for name, push := range map[string]func(string){
		"docker": func(to string) { docker.Run("tag", from, to); docker.Run("push", "-q", to) },
		"podman": func(to string) { podman.Run("push", "-q", "--tls-verify=false", from, "docker://"+to) },
		"podman-zstd": func(to string) {
			podman.Run("push", "-q", "--tls-verify=false", "--compression-format", "zstd", from, "docker://"+to)
		},
		"skopeo-schema2": func(to string) {
			r.skopeo.Run("copy", "-q", "--src-tls-verify=false", "--dest-tls-verify=false", "--format", "v2s2", "docker://"+from, "docker://"+to)
		},
	} {
		to := r.registry + "/" + name + ":1"
		push(to)
		r.berth("pull", "-q", to)
		if got, want := r.berth("inspect", "-f", "{{json .RootFS}}", to), docker.Run("inspect", "-f", "{{json .RootFS}}", from); got != want {
			t.Errorf("%s: layers %s, want %s", name, got, want)
		}
	}
}

// TestSave: docker, podman and skopeo load what berth saved, several images in
// one archive, from a pipe, compressed or not.
func TestSave(t *testing.T) {
	r := newRig(t)
	docker, podman := peer.Docker(t, "overlay2"), peer.Podman(t, "overlay")
	a, b := r.registry+"/a:1", "localhost/b:2"
	r.berth("pull", "-q", r.publish("a", layers()))
	want := map[string]string{a: r.id(a), b: r.imported(b)}
	dir := t.TempDir()
	both, packed := filepath.Join(dir, "both.tar"), filepath.Join(dir, "packed.tar.gz")
	r.berth("save", "-o", both, a, b)
	r.shell(`"$0" save "$1" "$2" | gzip >"$3"`, a, b, packed)
	for _, file := range []string{both, packed} {
		docker.Run("load", "-q", "-i", file)
		same(t, "docker load "+file, docker, want)
		docker.Run("rmi", "-f", a, b)
	}
	podman.Run("load", "-q", "-i", both) // a compressed archive podman 4.3 refuses, its own too
	same(t, "podman load", podman, want)
	podman.Run("rmi", "-f", a, b)
	for i, form := range []string{"docker-archive", "oci-archive", "docker-dir", "oci-dir"} {
		to := filepath.Join(dir, "form"+strconv.Itoa(i))
		r.berth("save", "--format", form, "-o", to, a)
		from := map[string]string{"docker-archive": "docker-archive:", "oci-archive": "oci-archive:", "docker-dir": "dir:", "oci-dir": "oci:"}[form]
		config := r.skopeo.Run("inspect", "--config", "--raw", from+to)
		if got := digest.FromString(config).Encoded(); got != want[a] {
			t.Errorf("skopeo's configuration of %s is %s, not %s", form, got, want[a])
		}
		r.skopeo.Run("copy", "-q", from+to, "dir:"+t.TempDir())
		if form == "oci-archive" {
			podman.Run("load", "-q", "-i", to)
			same(t, "podman load of "+form, podman, map[string]string{a: want[a]})
		}
	}
}

// TestLoad: berth loads what docker, podman and skopeo saved, each into an
// empty store.
func TestLoad(t *testing.T) {
	r := newRig(t)
	from := r.publish("theirs", layers())
	docker, podman := peer.Docker(t, "overlay2"), peer.Podman(t, "overlay")
	docker.Run("pull", "-q", from)
	docker.Run("tag", from, "second:2")
	podman.Run("pull", "-q", "--tls-verify=false", from)
	want := docker.Run("inspect", "-f", "{{.Id}}", from)
	dir := t.TempDir()
	for name, save := range map[string]func(to string){
		"docker save":             func(to string) { docker.Run("save", "-o", to, from, "second:2") },
		"podman save":             func(to string) { podman.Run("save", "-q", "-o", to, from) },
		"podman save oci-archive": func(to string) { podman.Run("save", "-q", "--format", "oci-archive", "-o", to, from) },
		"podman save oci-dir":     func(to string) { podman.Run("save", "-q", "--format", "oci-dir", "-o", to, from) },
		"podman save docker-dir":  func(to string) { podman.Run("save", "-q", "--format", "docker-dir", "-o", to, from) },
		"skopeo docker-archive": func(to string) {
			r.skopeo.Run("copy", "-q", "--src-tls-verify=false", "docker://"+from, "docker-archive:"+to+":"+from)
		},
		"skopeo oci-archive": func(to string) {
			r.skopeo.Run("copy", "-q", "--src-tls-verify=false", "docker://"+from, "oci-archive:"+to+":"+from)
		},
	} {
		to := filepath.Join(dir, strings.ReplaceAll(name, " ", "-"))
		save(to)
		r.berth("load", "-q", "-i", to)
		if strings.HasSuffix(name, "dir") {
			if got := r.berth("images", "-q", "--no-trunc"); got != want { // folders hold no name
				t.Errorf("%s: %s, want %s", name, got, want)
			}
		} else if got := "sha256:" + r.id(from); got != want {
			t.Errorf("%s: %s, want %s", name, got, want)
		}
		if name == "docker save" && "sha256:"+r.id("second:2") != want {
			t.Errorf("%s: the second name", name)
		}
		r.berth("rmi", "-f", want)
	}
	if got := r.berth("check"); !strings.Contains(got, "whole") {
		t.Errorf("check: %s", got)
	}
}

// same holds that an engine has these images under these names.
func same(t *testing.T, what string, p peer.Peer, want map[string]string) {
	t.Helper()
	have := p.IDs()
	for name, id := range want {
		if have[name] != id {
			t.Errorf("%s: %s is %q, not %s: %v", what, name, have[name], id, have)
		}
	}
}
