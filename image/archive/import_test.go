package archive

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"

	"berth/base/fault"
	"berth/image/manifest"
)

func TestImport(t *testing.T) {
	plain := makeTar(t, file{name: "etc/motd", data: "hello"})
	for what, data := range map[string][]byte{"plain": plain, "gzip": gzipped(t, plain), "zstd": zstded(t, plain)} {
		store := newStore(t)
		img, err := Import(t.Context(), store, onePass{bytes.NewReader(data)}, ImportOptions{Changes: []string{`CMD ["/x"]`},
			Message: "from a tar", Author: "me", Created: time.Unix(1e9, 0).UTC(), Platform: manifest.Platform{OS: "linux", Architecture: "arm64"}})
		if err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		_, config := readImage(t, store, img.Target)
		want := `{"created":"2001-09-09T01:46:40Z","author":"me","architecture":"arm64","os":"linux","config":{"Cmd":["/x"]},` +
			`"rootfs":{"type":"layers","diff_ids":["` + string(digest.FromBytes(plain)) + `"]},` +
			`"history":[{"created":"2001-09-09T01:46:40Z","comment":"from a tar"}]}`
		if got := string(config.Raw()); got != want {
			t.Errorf("%s:\n got %s\nwant %s", what, got, want)
		}
		checkWhole(t, store, img, 1)
	}
	if _, err := Import(t.Context(), newStore(t), bytes.NewReader(make([]byte, 10240)), ImportOptions{}); err != nil {
		t.Error("the tar of nothing:", err)
	}
	for what, c := range map[string]struct {
		data    []byte
		changes []string
		want    string
	}{
		"text":   {[]byte(strings.Repeat("hello ", 200)), nil, "it is no tar"},
		"empty":  {nil, nil, "it is no tar"},
		"change": {plain, []string{"RUN x"}, "not a valid change command"},
		"cut":    {gzipped(t, bytes.Repeat(plain, 9))[:100], nil, "unexpected EOF"},
		"sum":    {append(gzipped(t, plain)[:len(gzipped(t, plain))-8], make([]byte, 8)...), nil, "checksum"},
	} {
		if img, err := Import(t.Context(), newStore(t), bytes.NewReader(c.data), ImportOptions{Changes: c.changes}); !fault.Is(err, fault.Invalid) ||
			!strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, %v", what, img, err)
		}
	}
}

// TestLoadBoth: names that only manifest.json has are those of the images of
// index.json.
func TestLoadBoth(t *testing.T) {
	files, _ := ociFiles(t)
	store := newStore(t)
	images, err := Load(t.Context(), store, bytes.NewReader(makeTar(t, files...)), LoadOptions{})
	if err != nil {
		t.Fatal(err)
	}
	var saved bytes.Buffer
	if err := Save(t.Context(), &saved, store, Blobs(store), []Source{{Target: images[0].Target}}, SaveOptions{
		Platform: &manifest.Platform{OS: "linux", Architecture: "amd64"}}); err != nil {
		t.Fatal(err)
	}
	var list []file
	readTar(t, saved.Bytes(), func(name string, data []byte) {
		if name == dockerFile {
			data = bytes.Replace(data, []byte(`"RepoTags":[]`), []byte(`"RepoTags":["n:1","m"]`), 1)
		}
		list = append(list, file{name: name, data: string(data)})
	})
	images, err = Load(t.Context(), newStore(t), bytes.NewReader(makeTar(t, list...)), LoadOptions{})
	if err != nil || len(images) != 1 || names(images[0]) != "docker.io/library/n:1 docker.io/library/m:latest" ||
		images[0].Target.MediaType != "application/vnd.oci.image.manifest.v1+json" {
		t.Error(images, err)
	}
}
