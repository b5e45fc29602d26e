package image

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"berth/test/fakereg"
)

// A registry may answer whatever it likes. The last one is the truth.
func TestLyingRegistry(t *testing.T) {
	layers := [][]byte{pack(reg("f"))}
	deep := strings.Repeat(`{"a":`, 200_000) + "1" + strings.Repeat("}", 200_000)
	list := strings.Repeat("[", 1_000_000)
	for name, c := range map[string]struct {
		fault func(fakereg.Image) fakereg.Fault
		says  string
	}{
		"401 for ever": {func(fakereg.Image) fakereg.Fault {
			return fakereg.Fault{Kind: fakereg.Answer, Status: 401, Header: map[string]string{"WWW-Authenticate": `Basic realm="x"`}}
		}, ""},
		"a challenge of 1 MB": {func(fakereg.Image) fakereg.Fault {
			return fakereg.Fault{Kind: fakereg.Answer, Status: 401, Header: map[string]string{"WWW-Authenticate": "Bearer " + strings.Repeat("a=b,", 200_000)}}
		}, ""},
		"a token server that is a file": {func(fakereg.Image) fakereg.Fault {
			return fakereg.Fault{Kind: fakereg.Answer, Status: 401, Header: map[string]string{"WWW-Authenticate": `Bearer realm="file:///etc/passwd",service="x"`}}
		}, ""},
		"an endless error": {func(fakereg.Image) fakereg.Fault {
			return fakereg.Fault{Kind: fakereg.Endless, Status: 403, Path: "/manifests/", Body: `{"errors":[`}
		}, ""},
		"an error with control characters": {func(fakereg.Image) fakereg.Fault {
			return fakereg.Fault{Kind: fakereg.Answer, Status: 403, Path: "/manifests/", Body: `{"errors":[{"code":"DENIED","message":"no\u001b]0;x\u0007\nroot# "}]}`}
		}, "no"},
		"deep JSON": {func(fakereg.Image) fakereg.Fault {
			return fakereg.Fault{Kind: fakereg.Answer, Status: 200, Method: "GET", Path: "/manifests/", Body: deep, Header: map[string]string{"Content-Type": "application/vnd.oci.image.manifest.v1+json"}}
		}, ""},
		"a list of lists": {func(fakereg.Image) fakereg.Fault {
			return fakereg.Fault{Kind: fakereg.Answer, Status: 200, Method: "GET", Path: "/manifests/", Body: list, Header: map[string]string{"Content-Type": "application/vnd.oci.image.index.v1+json"}}
		}, ""},
		"redirects in a ring": {func(fakereg.Image) fakereg.Fault {
			return fakereg.Fault{Kind: fakereg.Redirect, Path: "/blobs/", To: ""}
		}, ""},
		"429 for ever": {func(fakereg.Image) fakereg.Fault {
			return fakereg.Fault{Kind: fakereg.Answer, Status: 429, Header: map[string]string{"Retry-After": "0"}}
		}, ""},
		"a layer of another's bytes": {func(i fakereg.Image) fakereg.Fault {
			return fakereg.Fault{Kind: fakereg.Answer, Status: 200, Path: string(i.Layers[0].Digest), Body: strings.Repeat("x", int(i.Layers[0].Size))}
		}, "sha256:"},
		"a layer without an end": {func(i fakereg.Image) fakereg.Fault {
			return fakereg.Fault{Kind: fakereg.Endless, Status: 200, Path: string(i.Layers[0].Digest)}
		}, "sha256:"},
		"resets": {func(i fakereg.Image) fakereg.Fault {
			return fakereg.Fault{Kind: fakereg.Reset, Path: string(i.Layers[0].Digest), After: 10}
		}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			p := newPlace(t)
			registry := fakereg.New()
			server := registry.Start()
			defer server.Close()
			image := strings.TrimPrefix(server.URL, "http://") + "/lie:1"
			made := registry.AddImage("lie", "1", "", imageOf(layers), gz(layers[0]))
			fault := c.fault(made)
			if fault.Kind == fakereg.Redirect {
				fault.To = server.URL
			}
			registry.Inject(fault)
			p.do(t, nil, "pull", "-q", image).refused(t, c.says)
			p.untouched(t)
			registry.Heal()
			p.do(t, nil, "pull", "-q", image).well(t)
			p.do(t, nil, "rmi", image).well(t)
			p.empty(t)
		})
	}
}

// Configurations that are none: the command that reads them says which and
// where, and does nothing. Those of /etc are image/registry/hosts's to test.
func TestHostileSettings(t *testing.T) {
	deep := strings.Repeat(`{"auths":`, 100_000)
	for _, c := range []struct{ file, text, says string }{
		{"home/.docker/config.json", `{"auths":`, "config.json"},
		{"home/.docker/config.json", deep, "config.json"},
		{"home/.docker/config.json", strings.Repeat(" ", 20<<20), "config.json"},
		{"home/.docker/config.json", `{"auths":{"HOST":{"auth":"!!!"}}}`, "config.json"},
		{"home/.docker/config.json", `{"credHelpers":{"HOST":"../../../../bin/sh"}}`, ""},
		{"home/.docker/config.json", `{"credsStore":"a b;id"}`, ""},
	} {
		name := filepath.Base(c.file) + " " + c.text[:min(len(c.text), 20)]
		t.Run(name, func(t *testing.T) {
			p := newPlace(t)
			registry := fakereg.New()
			server := registry.Start()
			defer server.Close()
			host := strings.TrimPrefix(server.URL, "http://")
			layers := [][]byte{pack(reg("f"))}
			registry.AddImage("good", "1", "", imageOf(layers), gz(layers[0]))
			registry.Inject(fakereg.Fault{Kind: fakereg.Answer, Status: 401, Header: map[string]string{"WWW-Authenticate": `Basic realm="x"`}})
			at := strings.ReplaceAll(c.file, "HOST", host)
			p.write(t, at, strings.ReplaceAll(c.text, "HOST", host))
			r := p.do(t, nil, "pull", "-q", host+"/good:1")
			// Docker's warning of a file that it passes over comes first.
			if first, rest, _ := strings.Cut(r.errors, "\n"); strings.HasPrefix(first, "WARNING: Error loading config file: "+p.dir) {
				r.errors = rest
			}
			r.refused(t, c.says)
			p.untouched(t)
			if err := os.Remove(filepath.Join(p.dir, at)); err != nil {
				t.Fatal(err)
			}
			p.empty(t)
			registry.Heal()
			p.do(t, nil, "pull", "-q", host+"/good:1").well(t)
		})
	}
}
