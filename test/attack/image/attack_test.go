package image

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/identity"

	"berth/test/fakereg"
)

// attack tries something in a place and tells what it got: empty when it failed.
// Without the guard, a build tag, it must succeed: test/guards.
type attack struct {
	name, guard string
	try         func(t *testing.T, p place) (damage string)
}

func attacks() []attack {
	return []attack{
		{"V8-layer-leaves-its-folder", "guard_off_beneath,guard_off_emptyroot,guard_off_landlock", leaves},
		{"V9-entries-without-end", "guard_off_entries", manyEntries},
		{"V9-manifest-without-end", "guard_off_document", endlessManifest},
		{"V10-configuration-of-another-digest", "guard_off_digest", anotherConfig},
		{"V11-secret-after-a-blob-elsewhere", "guard_off_origin", redirected("/blobs/", 0)},
		{"V11-secret-after-a-manifest-elsewhere", "guard_off_origin", redirected("/manifests/", 1)},
		{"V11-secret-for-a-token-elsewhere", "guard_off_origin", tokenElsewhere},
		{"V15-archive-of-another-layer", "guard_off_diffid", anotherLayer},
		{"V15-store-that-leads-out", "guard_off_safepath", leadsOut},
	}
}

func TestAttacks(t *testing.T) {
	for _, a := range attacks() {
		t.Run(a.name, func(t *testing.T) {
			if damage := a.try(t, newPlace(t)); damage != "" {
				t.Errorf("escaped: %s", damage)
			}
		})
	}
}

// TestGuardList holds that test/guards/guards.txt names the guard of each attack.
func TestGuardList(t *testing.T) {
	text, err := os.ReadFile("../../guards/guards.txt")
	if err != nil {
		t.Fatal(err)
	}
	lines := map[string]bool{}
	for line := range strings.Lines(string(text)) {
		lines[strings.Join(strings.Fields(line), " ")] = true
	}
	for _, a := range attacks() {
		if line := a.guard + " image/TestAttacks/" + a.name; !lines[line] {
			t.Errorf("guards.txt has no line %q", line)
		}
	}
}

// leaves has a layer lay a link to the host's folder and write below it.
func leaves(t *testing.T, p place) string {
	p.do(t, pack(link("l", p.dir), reg("l/canary/new")), "import", "-", "hostile:1")
	return p.changed()
}

// manyEntries takes a layer of more entries than a layer may have.
func manyEntries(t *testing.T, p place) string {
	r := p.do(t, gzFrom(&repeated{header: pack(dir("d"))[:512], n: 1<<20 + 1}), "import", "-", "hostile:1")
	if r.code == 0 || strings.Contains(r.errors, "panic") {
		return fmt.Sprintf("it was taken: exit %d: %.300s", r.code, r.errors)
	}
	return ""
}

// startRegistry starts one with an image of one layer.
func startRegistry(t *testing.T, author string) (registry *fakereg.Server, host string, image fakereg.Image) {
	t.Helper()
	registry = fakereg.New()
	server := registry.Start()
	t.Cleanup(server.Close)
	layers := [][]byte{pack(reg("f"))}
	config := imageOf(layers)
	config.Author = author
	return registry, strings.TrimPrefix(server.URL, "http://"), registry.AddImage("lie", "1", "", config, gz(layers[0]))
}

// endlessManifest fills the memory.
func endlessManifest(t *testing.T, p place) string {
	registry, host, _ := startRegistry(t, "")
	registry.Inject(fakereg.Fault{Kind: fakereg.Endless, Method: "GET", Status: 200, Path: "/manifests/",
		Header: map[string]string{"Content-Type": "application/vnd.oci.image.manifest.v1+json"}})
	if r := p.do(t, nil, "pull", "-q", host+"/lie:1"); strings.Count(r.errors, "\n") != 1 {
		return fmt.Sprintf("exit %d: %.300s", r.code, r.errors)
	}
	return ""
}

// anotherConfig sends a configuration of the same length in the place of the one that
// the manifest names.
func anotherConfig(t *testing.T, p place) string {
	registry, host, made := startRegistry(t, "good")
	text := string(registry.Blob("lie", made.Config.Digest))
	lie := strings.Replace(text, `"author":"good"`, `"author":"evil"`, 1)
	if lie == text {
		t.Fatalf("no author in %s", text)
	}
	registry.Inject(fakereg.Fault{Kind: fakereg.Answer, Status: 200, Path: string(made.Config.Digest), Body: lie})
	p.do(t, nil, "pull", "-q", host+"/lie:1")
	if r := p.do(t, nil, "inspect", "-f", "{{.Author}}", host+"/lie:1"); strings.Contains(r.out, "evil") {
		return "the image has another configuration than its id says"
	}
	return ""
}

// thief is a host that is none of the registry's, and writes down what it is asked.
func thief(t *testing.T) (url string, asked *[]string) {
	t.Helper()
	asked = new([]string)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		*asked = append(*asked, r.Method+" "+r.URL.String()+" "+r.Header.Get("Authorization"))
		w.WriteHeader(404)
	}))
	t.Cleanup(server.Close)
	return server.URL, asked
}

// secretOf logs the place in at a registry; stolen looks for it.
func (p place) secretOf(t *testing.T, host string) {
	t.Helper()
	p.write(t, "home/.docker/config.json", `{"auths":{"`+host+`":{"auth":"dXNlcjpzM2NyM3Q="}}}`)
}

func stolen(asked []string) string {
	for _, r := range asked {
		if strings.Contains(r, "dXNlcjpzM2NyM3Q=") || strings.Contains(r, "s3cr3t") {
			return "the other host got " + r
		}
	}
	return ""
}

// redirected has a registry that is shown the secret send elsewhere, after so many
// requests that ask for it.
func redirected(part string, skip int) func(t *testing.T, p place) string {
	return func(t *testing.T, p place) string {
		registry, host, _ := startRegistry(t, "")
		url, asked := thief(t)
		registry.RequireBasic("user", "s3cr3t")
		registry.Inject(fakereg.Fault{Kind: fakereg.Redirect, Path: part, To: url, Skip: skip})
		p.secretOf(t, host)
		p.do(t, nil, "pull", "-q", host+"/lie:1").refused(t, "")
		if len(*asked) == 0 {
			t.Error("the other host was never asked: that proves nothing")
		}
		return stolen(*asked)
	}
}

// tokenElsewhere names a token server that is not the registry's.
func tokenElsewhere(t *testing.T, p place) string {
	registry, host, _ := startRegistry(t, "")
	url, asked := thief(t)
	registry.RequireToken("user", "s3cr3t", url+"/token", false, 0)
	p.secretOf(t, host)
	p.do(t, nil, "pull", "-q", host+"/lie:1").refused(t, "")
	return stolen(*asked)
}

// anotherLayer gives load a layer that is not the configuration's.
func anotherLayer(t *testing.T, p place) string {
	image := imageOf([][]byte{pack(reg("good"))})
	if r := p.do(t, archiveOf(image, [][]byte{pack(reg("evil"))}), "load", "-q"); r.code == 0 {
		return "the layer of another image was taken"
	}
	return ""
}

// leadsOut takes an image over from a store of docker's in which a layer's folder is a
// link to the host's.
func leadsOut(t *testing.T, p place) string {
	file := reg("etc/f")
	file.Size = int64(len("canary"))
	layer := pack(dir("etc"), file)
	copy(layer[2*512:], "canary") // so that no digest is wrong
	store := "home/docker/"
	image := imageOf([][]byte{layer})
	config, err := json.Marshal(image)
	if err != nil {
		t.Fatal(err)
	}
	id, chain := digest.FromBytes(config), identity.ChainID([]digest.Digest{image.RootFS.DiffIDs[0]})
	at := store + "image/overlay2/layerdb/sha256/" + chain.Encoded()
	p.write(t, store+"image/overlay2/repositories.json", `{"Repositories":{"lie":{"lie:1":"`+string(id)+`"}}}`)
	p.write(t, store+"image/overlay2/imagedb/content/sha256/"+id.Encoded(), string(config))
	p.write(t, at+"/diff", string(image.RootFS.DiffIDs[0]))
	p.write(t, at+"/cache-id", "abc123")
	split, err := fakereg.Split(layer)
	if err != nil {
		t.Fatal(err)
	}
	p.write(t, at+"/tar-split.json.gz", string(split))
	p.write(t, store+"overlay2/abc123/diff/kept", "")
	if err := os.Symlink(p.dir+"/canary", filepath.Join(p.dir, store, "overlay2/abc123/diff/etc")); err != nil {
		t.Fatal(err)
	}
	if r := p.do(t, nil, "import-from", "--root", filepath.Join(p.dir, store), "docker"); r.code == 0 {
		return "the host's file became one of the image"
	}
	return ""
}
