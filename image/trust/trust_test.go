package trust

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ed25519"
	"encoding/base64"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"berth/base/fault"
	"berth/image/manifest"
	"berth/image/ref"
)

func name(t testing.TB, s string) ref.Ref {
	t.Helper()
	r, err := ref.Docker(s)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func noKeys(string) ([]byte, error) { return nil, errors.New("no key files here") }

func TestRule(t *testing.T) {
	p, err := ParsePolicy([]byte(`
default = "reject"
[[rule]]
prefix = "docker.io"
action = "accept"
[[rule]]
prefix = "docker.io/library/alpine"
action = "reject"
[[rule]]
prefix = "docker.io/busybox"
action = "reject"
[[rule]]
prefix = "*.example.com"
action = "accept"
[[rule]]
prefix = "bad.example.com"
action = "reject"
[[rule]]
prefix = "localhost:5000/team"
action = "accept"
`), noKeys)
	if err != nil {
		t.Fatal(err)
	}
	for in, want := range map[string]Action{
		"alpine": Reject, "docker.io/library/alpine:3": Reject, "alpine2": Accept, "corp/alpine": Accept, "busybox": Reject,
		"busybox/x": Reject, "quay.io/x": Reject, "a.example.com/x": Accept, "a.b.example.com/x": Accept, "bad.example.com/x": Reject,
		"example.com/x": Reject, "evilexample.com/x": Reject, "localhost:5000/team/x": Accept, "localhost:5000/team": Accept,
		"localhost:5000/teams": Reject, "localhost/team/x": Reject,
	} {
		if got := p.Rule(name(t, in)).Action; got != want {
			t.Errorf("%s: %s, want %s", in, got, want)
		}
		err := p.Check(t.Context(), name(t, in), nil, "sha256:x")
		if (err == nil) != (want == Accept) || err != nil && !fault.Is(err, fault.Permission) {
			t.Errorf("%s: %v", in, err)
		}
	}
	var zero Policy
	if err := zero.Check(t.Context(), name(t, "x"), nil, "sha256:x"); err != nil {
		t.Error(err)
	}
}

func TestPinned(t *testing.T) {
	a, b, c := digest.FromString("a"), digest.FromString("b"), digest.FromString("c")
	p, err := ParsePolicy([]byte("[[rule]]\nprefix='quay.io/x'\naction='pinned'\ndigests=['"+string(a)+"']"), noKeys)
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Check(t.Context(), name(t, "quay.io/x:1"), nil, b, a); err != nil {
		t.Error(err)
	}
	if err := p.Check(t.Context(), name(t, "quay.io/x:1"), nil, b, c); !fault.Is(err, fault.Permission) || !strings.Contains(err.Error(), string(c)) {
		t.Error(err)
	}
	if err := p.Check(t.Context(), name(t, "alpine@"+string(a)), nil, b); !fault.Is(err, fault.Conflict) {
		t.Error(err)
	}
	if err := p.Check(t.Context(), name(t, "alpine@"+string(a)), nil, a, b); err != nil {
		t.Error(err)
	}
}

func TestParsePolicyRefuses(t *testing.T) {
	rule := "[[rule]]\nprefix = 'quay.io'\n"
	for in, want := range map[string]string{
		"x = 1":                             `line 1: unknown word "x"`,
		rule + "action = 'accept'\nkey='a'": `unknown word`,
		"default = 'maybe'":                 "not accept or reject",
		"default = ":                        "line 1",
		rule:                                "action is",
		rule + "action = 'signed'":          "signed needs keys",
		rule + "action = 'pinned'":          "pinned needs digests",
		rule + "action = 'pinned'\ndigests=['sha256:x']":          "digest",
		rule + "action = 'accept'\nkeys=['x']":                    "keys and as are for signed",
		rule + "action = 'accept'\ndigests=['x']":                 "digests are for pinned",
		rule + "action = 'signed'\nkeys=['x']":                    `key "x": no key files here`,
		rule + "action = 'signed'\nkeys=['-----BEGIN X-----']":    "no PEM key",
		rule + "action = 'accept'\n" + rule + "action = 'reject'": "two rules",
		"[[rule]]\nprefix='alpine'\naction='accept'":              "",
		"[[rule]]\nprefix='quay.io/'\naction='accept'":            "prefix is",
		"[[rule]]\nprefix='Quay.io/X'\naction='accept'":           "prefix is",
		"[[rule]]\nprefix=''\naction='accept'":                    "prefix is",
		"[[rule]]\nprefix='quay.io/x:1'\naction='accept'":         "prefix is",
		"[[rule]]\nprefix='index.docker.io'\naction='accept'":     "prefix is",
		strings.Repeat("#", MaxPolicy+1):                          "more than",
	} {
		p, err := ParsePolicy([]byte(in), noKeys)
		if want == "" {
			want = "prefix is"
		}
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%.100q: %v, %v; want %q", in, p, err, want)
		}
	}
}

// registry is a Fetcher that has what was put into it.
type registry struct {
	manifests map[ref.Ref]*manifest.Document
	blobs     map[digest.Digest][]byte
	down      error
}

func (r *registry) Manifest(_ context.Context, n ref.Ref) (*manifest.Document, error) {
	if r.down != nil {
		return nil, r.down
	}
	if d, ok := r.manifests[n]; ok {
		return d, nil
	}
	return nil, fault.New(fault.NotFound, "no %s", n)
}

func (r *registry) Blob(_ context.Context, _ ref.Ref, d v1.Descriptor) ([]byte, error) {
	if b, ok := r.blobs[d.Digest]; ok {
		return b, nil
	}
	return nil, fault.New(fault.NotFound, "no %s", d.Digest)
}

func (r *registry) push(t *testing.T, n ref.Ref, d digest.Digest, s *Signature) {
	at, err := SignatureRef(n, d)
	if err != nil {
		t.Fatal(err)
	}
	if r.manifests == nil {
		r.manifests, r.blobs = map[ref.Ref]*manifest.Document{}, map[digest.Digest][]byte{}
	}
	r.manifests[at] = s.Document
	for _, b := range s.Blobs {
		r.blobs[b.Descriptor.Digest] = b.Data
	}
}

func newKey(t *testing.T) (crypto.Signer, string) {
	priv, pub, err := NewKey()
	if err != nil {
		t.Fatal(err)
	}
	key, err := ParsePrivateKey(priv)
	if err != nil {
		t.Fatal(err)
	}
	return key, string(pub)
}

func TestSigned(t *testing.T) {
	n, d, other := name(t, "quay.io/team/app:1"), digest.FromString("image"), digest.FromString("other")
	mine, minePEM := newKey(t)
	yours, yoursPEM := newKey(t)
	policy := func(text string) *Policy {
		p, err := ParsePolicy([]byte("[[rule]]\nprefix='quay.io/team'\naction='signed'\n"+text), noKeys)
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	byMe := policy("keys=['''" + minePEM + "''']")
	byBoth := policy("keys=['''" + minePEM + "''', '''" + yoursPEM + "''']")
	check := func(what string, p *Policy, r *registry, want string, digests ...digest.Digest) {
		t.Helper()
		err := p.Check(t.Context(), n, r, digests...)
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%s: %v; want %q", what, err, want)
		}
		if want != "" && want != "connection" && !fault.Is(err, fault.Permission) {
			t.Errorf("%s: kind %v", what, fault.KindOf(err))
		}
	}
	r := &registry{}
	check("none", byMe, r, "there is no signature", d)
	s, err := Sign(yours, n, d, nil)
	if err != nil {
		t.Fatal(err)
	}
	r.push(t, n, d, s)
	if at, _ := SignatureRef(n, d); at.String() != "quay.io/team/app:sha256-"+d.Encoded()+".sig" {
		t.Error(at)
	}
	check("another's", byMe, r, "no key of the policy made the signature", d)
	check("one of two keys", byBoth, r, "", d)
	s, err = Sign(mine, n, d, s.Document)
	if err != nil {
		t.Fatal(err)
	}
	r.push(t, n, d, s)
	check("second signature", byMe, r, "", d)
	check("index is signed", byMe, r, "", d, other)
	check("other image", byMe, r, "there is no signature", other)
	at, _ := SignatureRef(n, other)
	r.manifests[at] = s.Document
	check("moved signature", byMe, r, "not of "+string(other), other)
	delete(r.blobs, s.Blobs[1].Descriptor.Digest)
	check("no payload", byMe, r, "asks for a signature", d)
	r.blobs[s.Blobs[1].Descriptor.Digest] = []byte("{}")
	check("changed payload", byMe, r, "has another digest", d)
	r.down = fault.New(fault.Unavailable, "connection refused")
	check("down", byMe, r, "connection", d)

	elsewhere, err := Sign(mine, name(t, "quay.io/team/old"), d, nil)
	if err != nil {
		t.Fatal(err)
	}
	r = &registry{}
	r.push(t, n, d, elsewhere)
	check("other repository", byMe, r, `is for "quay.io/team/old", not for quay.io/team/app`, d)
	check("as", policy("as='quay.io/team/old'\nkeys=['''"+minePEM+"''']"), r, "", d)
}

// TestOpenSSL: keys and signatures are openssl's own, both ways.
func TestOpenSSL(t *testing.T) {
	dir := t.TempDir()
	file := func(name string) string { return filepath.Join(dir, name) }
	run := func(args ...string) {
		t.Helper()
		if out, err := exec.Command("openssl", args...).CombinedOutput(); err != nil {
			t.Fatalf("openssl %v: %v: %s", args, err, out)
		}
	}
	read := func(name string) []byte {
		raw, err := os.ReadFile(file(name))
		if err != nil {
			t.Fatal(err)
		}
		return raw
	}
	n, d := name(t, "quay.io/x"), digest.FromString("image")
	for _, c := range []struct {
		name string
		gen  []string
	}{
		{"ec", []string{"ecparam", "-name", "prime256v1", "-genkey", "-out", file("key")}},
		{"pkcs8", []string{"genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out", file("key")}},
		{"ed25519", []string{"genpkey", "-algorithm", "ED25519", "-out", file("key")}},
	} {
		run(c.gen...)
		run("pkey", "-in", file("key"), "-pubout", "-out", file("pub"))
		key, err := ParsePrivateKey(read("key"))
		if err != nil {
			t.Fatalf("%s: %v", c.name, err)
		}
		pub, err := ParsePublicKey(read("pub"))
		if err != nil {
			t.Fatalf("%s: %v", c.name, err)
		}
		s, err := Sign(key, n, d, nil)
		if err != nil {
			t.Fatalf("%s: %v", c.name, err)
		}
		sig, _ := base64.StdEncoding.DecodeString(s.Document.Manifest.Layers[0].Annotations[signatureAnnotation])
		if err := errors.Join(os.WriteFile(file("payload"), s.Blobs[1].Data, 0o600), os.WriteFile(file("sig"), sig, 0o600)); err != nil {
			t.Fatal(err)
		}
		digestArg := []string{"-digest", "sha256"}
		if c.name == "ed25519" {
			digestArg = nil
		}
		args := append([]string{"-rawin", "-in", file("payload")}, digestArg...)
		run(append([]string{"pkeyutl", "-verify", "-pubin", "-inkey", file("pub"), "-sigfile", file("sig")}, args...)...)
		run(append([]string{"pkeyutl", "-sign", "-inkey", file("key"), "-out", file("sig2")}, args...)...)
		if err := Verify([]crypto.PublicKey{pub}, s.Blobs[1].Data, read("sig2"), n.Name(), d); err != nil {
			t.Errorf("%s: %v", c.name, err)
		}
		if err := Verify([]crypto.PublicKey{pub}, append(s.Blobs[1].Data, ' '), read("sig2"), n.Name(), d); !fault.Is(err, fault.Permission) {
			t.Errorf("%s: %v", c.name, err)
		}
	}
	for _, c := range [][]string{
		{"genpkey", "-algorithm", "RSA", "-out", file("key")},
		{"genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-384", "-out", file("key")},
		{"genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-aes128", "-pass", "pass:xxxx", "-out", file("key")},
	} {
		run(c...)
		if _, err := ParsePrivateKey(read("key")); !fault.Is(err, fault.Unsupported) {
			t.Errorf("%v: %v", c, err)
		}
	}
}

func TestLayersOfOthers(t *testing.T) {
	l := v1.Descriptor{MediaType: v1.MediaTypeImageLayerGzip, Digest: digest.FromString("x"), Size: 1}
	doc, err := manifest.NewManifest(v1.Manifest{Config: v1.Descriptor{MediaType: v1.MediaTypeImageConfig, Digest: l.Digest}, Layers: []v1.Descriptor{l}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Layers(doc); !fault.Is(err, fault.NotFound) {
		t.Error(err)
	}
	index, err := manifest.NewIndex(v1.Index{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Layers(index); !fault.Is(err, fault.Invalid) {
		t.Error(err)
	}
}

func FuzzParsePolicy(f *testing.F) {
	f.Add([]byte("default='reject'\n[[rule]]\nprefix='*.x.y/z'\naction='signed'\nkeys=['a']\nas='quay.io/x'"))
	f.Add([]byte("[[rule]]\nprefix='a:1'\naction='pinned'\ndigests=['sha256:" + strings.Repeat("a", 64) + "']"))
	_, pub, err := NewKey()
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		p, err := ParsePolicy(raw, func(string) ([]byte, error) { return pub, nil })
		if err != nil {
			if strings.Contains(err.Error(), "\n") {
				t.Fatalf("%q", err)
			}
			return
		}
		if p.Default == Reject && len(p.Rules) == 0 && p.Rule(name(t, "x")).Action != Reject {
			t.Fatal("the default is lost")
		}
	})
}

func FuzzVerify(f *testing.F) {
	pub, priv, err := ed25519.GenerateKey(bytes.NewReader(make([]byte, 64)))
	if err != nil {
		f.Fatal(err)
	}
	d := digest.FromString("x")
	s, err := Sign(priv, name(f, "quay.io/x"), d, nil)
	if err != nil {
		f.Fatal(err)
	}
	good := s.Blobs[1].Data
	f.Add(good, false)
	f.Add([]byte(`{"critical":null}`), true)
	f.Fuzz(func(t *testing.T, payload []byte, resign bool) {
		sig, err := sign(priv, good)
		if resign {
			sig, err = sign(priv, payload)
		}
		if err != nil {
			t.Fatal(err)
		}
		err = Verify([]crypto.PublicKey{pub}, payload, sig, "quay.io/x", d)
		if err == nil && !resign && !bytes.Equal(payload, good) {
			t.Fatal("a payload that was not signed")
		}
		if err == nil && !bytes.Contains(payload, []byte(d.Encoded())) && !bytes.Contains(payload, []byte(`\u`)) {
			t.Fatal("a payload of another image")
		}
	})
}
