package manifest

import (
	"bytes"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"berth/base/fault"
)

var (
	sum1 = strings.Repeat("1", 64)
	sum2 = strings.Repeat("2", 64)
)

func desc(mediaType, sum string, size int) string {
	return fmt.Sprintf(`{"mediaType":%q,"digest":"sha256:%s","size":%d}`, mediaType, sum, size)
}

func image(mediaType, config string, layers ...string) string {
	field := ""
	if mediaType != "" {
		field = fmt.Sprintf(`"mediaType":%q,`, mediaType)
	}
	return `{"schemaVersion":2,` + field + `"config":` + desc(config, sum1, 7) + `,"layers":[` + strings.Join(layers, ",") + `]}`
}

func TestDecodeKinds(t *testing.T) {
	gz := desc(v1.MediaTypeImageLayerGzip, sum2, 9)
	for _, c := range []struct {
		name, declared, raw, mediaType string
		kind                           Kind
	}{
		{"oci", v1.MediaTypeImageManifest, image(v1.MediaTypeImageManifest, v1.MediaTypeImageConfig, gz), v1.MediaTypeImageManifest, ImageKind},
		{"oci unnamed", "", image("", v1.MediaTypeImageConfig, gz), v1.MediaTypeImageManifest, ImageKind},
		{"oci declared", v1.MediaTypeImageManifest, image("", v1.MediaTypeImageConfig, gz), v1.MediaTypeImageManifest, ImageKind},
		{"docker", DockerManifest, image(DockerManifest, DockerConfig, desc(DockerLayerGzip, sum2, 9)), DockerManifest, ImageKind},
		{"no layers", "", image("", v1.MediaTypeImageConfig), v1.MediaTypeImageManifest, ImageKind},
		{"zstd", "", image("", v1.MediaTypeImageConfig, desc(v1.MediaTypeImageLayerZstd, sum2, 9)), v1.MediaTypeImageManifest, ImageKind},
		{"attestation", "", image("", v1.MediaTypeImageConfig, desc("application/vnd.in-toto+json", sum2, 9)), v1.MediaTypeImageManifest, AttestationKind},
		{"signature", "", image("", v1.MediaTypeImageConfig, desc("application/vnd.dev.cosign.simplesigning.v1+json", sum2, 9)), v1.MediaTypeImageManifest, ArtifactKind},
		{"helm", "", image("", "application/vnd.cncf.helm.config.v1+json", gz), v1.MediaTypeImageManifest, ArtifactKind},
		{"index", "", `{"schemaVersion":2,"manifests":[` + desc(v1.MediaTypeImageManifest, sum1, 5) + `]}`, v1.MediaTypeImageIndex, IndexKind},
		{"list", DockerIndex, `{"schemaVersion":2,"mediaType":"` + DockerIndex + `","manifests":[]}`, DockerIndex, IndexKind},
	} {
		d, err := Decode(c.declared, []byte(c.raw))
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		if d.MediaType != c.mediaType || d.Kind() != c.kind || string(d.Raw()) != c.raw {
			t.Errorf("%s: %s kind %d", c.name, d.MediaType, d.Kind())
		}
		if own := d.Descriptor(); own.Digest != digest.FromString(c.raw) || own.Size != int64(len(c.raw)) {
			t.Errorf("%s: descriptor %v", c.name, own)
		}
	}
}

func TestDecodeRefuses(t *testing.T) {
	gz := desc(v1.MediaTypeImageLayerGzip, sum2, 9)
	good := image(v1.MediaTypeImageManifest, v1.MediaTypeImageConfig, gz)
	deep := strings.Repeat(`{"a":`, 65) + "1" + strings.Repeat("}", 65)
	for _, c := range []struct{ name, declared, raw, want string }{
		{"both", "", `{"schemaVersion":2,"manifests":[],"config":` + gz + `,"layers":[]}`, "has both manifests and layers"},
		{"other type", DockerManifest, good, "was sent as"},
		{"index called manifest", v1.MediaTypeImageManifest, `{"schemaVersion":2,"manifests":[]}`, "content is not that of"},
		{"schema 1", "", `{"schemaVersion":1,"fsLayers":[]}`, "schema 1 is not supported"},
		{"schema 1 type", dockerSchema1Signed, `{}`, "schema 1 is not supported"},
		{"no version", "", `{"manifests":[]}`, "schemaVersion is 0"},
		{"unknown type", "text/html", `{"schemaVersion":2,"manifests":[]}`, `"text/html" is not supported`},
		{"empty", "", ``, "unexpected end"},
		{"array", "", `[]`, "not a JSON object"},
		{"string", "", `"x"`, "not a JSON object"},
		{"short", "", good[:len(good)-1], "too early"},
		{"trailing", "", good + "{}", "something follows"},
		{"twice", "", strings.Replace(good, `"schemaVersion":2,`, `"schemaVersion":2,"layers":[],`, 1), `"layers" stands twice`},
		{"twice in case", "", strings.Replace(good, `"schemaVersion":2,`, `"schemaVersion":2,"Layers":[],`, 1), `"layers" stands twice`},
		{"deep", "", deep, "nested more than 64 deep"},
		{"bad digest", "", strings.Replace(good, sum2, "../../../etc/passwd", 1), "layer 0: digest"},
		{"upper digest", "", strings.Replace(good, sum2, strings.Repeat("A", 64), 1), "layer 0: digest"},
		{"md5", "", strings.Replace(good, "sha256:"+sum2, "md5:"+sum2[:32], 1), "unsupported digest algorithm"},
		{"negative", "", strings.Replace(good, `"size":9`, `"size":-9`, 1), "size -9"},
		{"huge config", "", strings.Replace(good, `"size":7`, `"size":5000000`, 1), "config: 5000000 bytes"},
		{"overflow", "", strings.Replace(good, `"size":9`, `"size":99999999999999999999`, 1), "cannot unmarshal"},
		{"no type", "", strings.Replace(good, v1.MediaTypeImageLayerGzip, "", 1), "has no media type"},
		{"two lines", "", strings.Replace(good, v1.MediaTypeImageLayerGzip, `a\nb`, 1), "no plain line"},
		{"wrong data", "", strings.Replace(good, `"size":9`, `"size":9,"data":"YWJj"`, 1), "data of another digest"},
		{"layers", "", image("", v1.MediaTypeImageConfig, slices.Repeat([]string{gz}, MaxLayers+1)...), "1025 layers"},
		{"big", "", good + strings.Repeat(" ", MaxSize), "more than 4194304"},
		{"no config", "", `{"schemaVersion":2,"layers":[` + gz + `]}`, "config: digest"},
	} {
		d, err := Decode(c.declared, []byte(c.raw))
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, %v; want %q", c.name, d, err, c.want)
		} else if k := fault.KindOf(err); k != fault.Invalid && k != fault.Unsupported || len(err.Error()) > 600 {
			t.Errorf("%s: kind %v, %q", c.name, k, err)
		}
	}
}

func TestDecodeBlob(t *testing.T) {
	raw := []byte(image("", v1.MediaTypeImageConfig))
	d := v1.Descriptor{MediaType: v1.MediaTypeImageManifest, Digest: digest.SHA512.FromBytes(raw), Size: int64(len(raw))}
	if doc, err := DecodeBlob(d, raw); err != nil || doc.Descriptor().Digest != d.Digest {
		t.Error(doc, err)
	}
	if _, err := DecodeBlob(d, append(raw, ' ')); err == nil {
		t.Error("another size was taken")
	}
	d.Digest = digest.FromString("other")
	if _, err := DecodeBlob(d, raw); !fault.Is(err, fault.Invalid) {
		t.Error(err)
	}
}

func TestChildrenAndLabels(t *testing.T) {
	d, err := Decode("", []byte(image("", v1.MediaTypeImageConfig, desc(v1.MediaTypeImageLayer, sum2, 1), desc(v1.MediaTypeImageLayer, sum1, 1))))
	if err != nil {
		t.Fatal(err)
	}
	if c := d.Children(); len(c) != 3 || c[0].MediaType != v1.MediaTypeImageConfig {
		t.Error(c)
	}
	want := map[string]string{
		"containerd.io/gc.ref.content.config": "sha256:" + sum1,
		"containerd.io/gc.ref.content.l.0":    "sha256:" + sum2,
		"containerd.io/gc.ref.content.l.1":    "sha256:" + sum1,
	}
	if got := d.GCLabels(nil); !maps.Equal(got, want) {
		t.Error(got)
	}
	x, err := NewIndex(v1.Index{Manifests: []v1.Descriptor{d.Descriptor(), d.Descriptor()}})
	if err != nil {
		t.Fatal(err)
	}
	got := x.GCLabels(func(i int) bool { return i == 1 })
	if !maps.Equal(got, map[string]string{"containerd.io/gc.ref.content.m.1": string(d.Digest)}) {
		t.Error(got)
	}
}

func TestLayerOf(t *testing.T) {
	for in, want := range map[string]Layer{
		v1.MediaTypeImageLayer:     {},
		v1.MediaTypeImageLayerGzip: {Compression: Gzip},
		v1.MediaTypeImageLayerZstd: {Compression: Zstd},
		DockerLayer:                {},
		DockerLayerGzip:            {Compression: Gzip},
		DockerForeignLayer:         {Compression: Gzip, Foreign: true},
		"application/vnd.oci.image.layer.nondistributable.v1.tar+zstd": {Compression: Zstd, Foreign: true},
		"application/vnd.oci.image.layer.nondistributable.v1.tar":      {Foreign: true},
	} {
		if got, ok := LayerOf(in); !ok || got != want {
			t.Errorf("LayerOf(%q) = %v, %v", in, got, ok)
		}
	}
	for _, in := range []string{"", "text/plain", v1.MediaTypeImageLayerGzip + "+encrypted", v1.MediaTypeImageLayer + "+xz"} {
		if got, ok := LayerOf(in); ok {
			t.Errorf("LayerOf(%q) = %v", in, got)
		}
	}
	for _, c := range []Compression{Uncompressed, Gzip, Zstd} {
		if l, ok := LayerOf(LayerType(c)); !ok || l.Compression != c {
			t.Error(c, l)
		}
	}
}

func FuzzDecode(f *testing.F) {
	gz := desc(v1.MediaTypeImageLayerGzip, sum2, 9)
	f.Add("", []byte(image("", v1.MediaTypeImageConfig, gz)))
	f.Add(DockerManifest, []byte(image(DockerManifest, DockerConfig, gz)))
	f.Add("", []byte(`{"schemaVersion":2,"manifests":[`+gz+`],"annotations":{"a":"b","A":"c"},"subject":`+gz+`}`))
	f.Add("", []byte(`{"schemaVersion":2,"manifests":[],"layers":null}`))
	f.Fuzz(func(t *testing.T, mediaType string, raw []byte) {
		orig := bytes.Clone(raw)
		d, err := Decode(mediaType, raw)
		if err != nil {
			if strings.ContainsAny(err.Error(), "\n\x00") {
				t.Fatalf("error of more than one line: %q", err)
			}
			return
		}
		if (d.Index == nil) == (d.Manifest == nil) || !bytes.Equal(d.Raw(), orig) || IsIndex(d.MediaType) != (d.Index != nil) {
			t.Fatalf("%+v", d)
		}
		for _, c := range d.Children() {
			if err := CheckDescriptor(c); err != nil {
				t.Fatal(err)
			}
		}
		if d.GCLabels(nil); d.Kind() == 0 {
			t.Fatal("no kind")
		}
		if again, err := Decode(d.MediaType, raw); err != nil || again.MediaType != d.MediaType {
			t.Fatal("decoded with its own media type:", err)
		}
		if d.Index != nil {
			_, _ = Select(d.Index, Host())
		}
	})
}
