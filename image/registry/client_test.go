package registry_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"berth/base/fault"
	"berth/image/ref"
	"berth/image/registry"
	"berth/image/registry/credential"
	"berth/image/registry/hosts"
	"berth/test/fakereg"
)

// noise is n bytes that are the same for the same seed.
func noise(n int, seed byte) []byte {
	b := make([]byte, n)
	_, _ = rand.NewChaCha8([32]byte{seed}).Read(b)
	return b
}

// serve starts a registry and gives its host:port.
func serve(t *testing.T) (*fakereg.Server, string) {
	t.Helper()
	s := fakereg.New()
	h := s.Start()
	t.Cleanup(h.Close)
	return s, hostOf(h)
}

func hostOf(h *httptest.Server) string {
	_, host, _ := strings.Cut(h.URL, "://")
	return host
}

func parse(t *testing.T, s string) ref.Ref {
	t.Helper()
	r, err := ref.Docker(s)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// client has short times; change edits its options.
func client(t *testing.T, change func(*registry.Options)) *registry.Client {
	t.Helper()
	o := registry.Options{Delay: 2 * time.Millisecond, Stall: 400 * time.Millisecond}
	if change != nil {
		change(&o)
	}
	c := registry.New(o)
	t.Cleanup(c.Close)
	return c
}

func table(t *testing.T, o hosts.Options) *hosts.Table {
	t.Helper()
	h, err := hosts.Load(o)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

// as shows one credential for one registry.
func as(registryName, user, password string) func(context.Context, string, string) (credential.Credential, error) {
	return func(_ context.Context, name, _ string) (credential.Credential, error) {
		if name == registryName {
			return credential.Credential{Username: user, Password: password}, nil
		}
		return credential.Credential{}, nil
	}
}

// whole reads a blob and compares it.
func whole(t *testing.T, b *registry.BlobReader, err error, want []byte) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	got, err := io.ReadAll(b)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Fatalf("%d bytes of %d, or other ones", len(got), len(want))
	}
}

func TestPull(t *testing.T) {
	s, host := serve(t)
	layer := noise(300_000, 1)
	img := s.AddImage("team/app", "v1", "", v1.Image{}, layer, noise(10, 2))
	c := client(t, nil)
	r := parse(t, host+"/team/app:v1")
	desc, ep, err := c.Resolve(t.Context(), r)
	if err != nil || desc.Digest != img.Manifest.Digest || desc.Size != img.Manifest.Size || desc.MediaType != v1.MediaTypeImageManifest {
		t.Fatalf("resolve: %+v %v", desc, err)
	}
	if ep.Scheme != "http" || ep.Host != host {
		t.Errorf("endpoint %v", ep)
	}
	if n := s.Count("GET", "/manifests/"); n != 0 {
		t.Errorf("resolving made %d GETs, which Docker Hub counts", n)
	}
	raw, err := c.Manifest(t.Context(), r, desc)
	if err != nil || !bytes.Equal(raw, img.Raw) {
		t.Fatalf("manifest: %v", err)
	}
	b, err := c.Blob(t.Context(), r, img.Layers[0], 0)
	whole(t, b, err, layer)
	b, err = c.Blob(t.Context(), r, img.Layers[0], 299_000)
	whole(t, b, err, layer[299_000:])
	b, err = c.Blob(t.Context(), r, img.Layers[0], 300_000)
	whole(t, b, err, nil)
	b, err = c.BlobRange(t.Context(), r, img.Layers[0], 1000, 2000)
	whole(t, b, err, layer[1000:2000])
	if sent := s.BytesSent(string(img.Layers[0].Digest)); sent != 300_000+1000+1000 {
		t.Errorf("%d bytes went out", sent)
	}
	byDigest := parse(t, host+"/team/app@"+string(img.Manifest.Digest))
	if desc, _, err = c.Resolve(t.Context(), byDigest); err != nil || desc.Digest != img.Manifest.Digest {
		t.Errorf("by digest: %+v %v", desc, err)
	}
}

func TestParallelRanges(t *testing.T) {
	s, host := serve(t)
	data := noise(1<<20, 3)
	desc := s.AddBlob("a", data)
	c := client(t, nil)
	r := parse(t, host+"/a")
	got := make([]byte, len(data))
	var wg sync.WaitGroup
	const part = 100_000
	for from := int64(0); from < desc.Size; from += part {
		wg.Go(func() {
			to := min(from+part, desc.Size)
			b, err := c.BlobRange(t.Context(), r, desc, from, to)
			if err != nil {
				t.Error(err)
				return
			}
			defer b.Close()
			if _, err := io.ReadFull(b, got[from:to]); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if !bytes.Equal(got, data) {
		t.Error("the parts are not the whole")
	}
}

// opener gives a blob's bytes from an offset on, as PushBlob wants them.
func opener(data []byte) func(int64) (io.ReadCloser, error) {
	return func(offset int64) (io.ReadCloser, error) {
		return io.NopCloser(bytes.NewReader(data[offset:])), nil
	}
}

func blobOf(data []byte) v1.Descriptor {
	return v1.Descriptor{Digest: digest.FromBytes(data), Size: int64(len(data))}
}

func TestPushMountExists(t *testing.T) {
	s, host := serve(t)
	s.RequireToken("u", "p", "", false, 300)
	c := client(t, func(o *registry.Options) { o.Credentials = as(host, "u", "p") })
	r := parse(t, host+"/dst:1")
	data := noise(200_000, 4)
	desc := blobOf(data)
	if have, err := c.Exists(t.Context(), r, desc); have || err != nil {
		t.Fatalf("exists before: %v %v", have, err)
	}
	var last int64
	if err := c.PushBlob(t.Context(), r, desc, opener(data), func(n int64) { last = n }); err != nil {
		t.Fatal(err)
	}
	if last != desc.Size || !bytes.Equal(s.Blob("dst", desc.Digest), data) {
		t.Errorf("reported %d", last)
	}
	if have, err := c.Exists(t.Context(), r, desc); !have || err != nil {
		t.Fatalf("exists after: %v %v", have, err)
	}
	s.Forget()
	other := parse(t, host+"/other:1")
	if mounted, err := c.MountBlob(t.Context(), other, desc, "dst"); !mounted || err != nil {
		t.Fatalf("mount: %v %v", mounted, err)
	}
	if n := s.BytesReceived("/blobs/"); n != 0 {
		t.Errorf("a mount sent %d bytes", n)
	}
	if mounted, err := c.MountBlob(t.Context(), other, blobOf([]byte("x")), "dst"); mounted || err != nil {
		t.Errorf("mount of nothing: %v %v", mounted, err)
	}
	if n := s.Uploads(); n != 0 {
		t.Errorf("%d uploads were left open", n)
	}
	empty := blobOf(nil)
	if err := c.PushBlob(t.Context(), r, empty, opener(nil), nil); err != nil {
		t.Errorf("an empty blob: %v", err)
	}
	manifest := fmt.Appendf(nil, `{"schemaVersion":2,"mediaType":%q,"config":{"mediaType":"c","digest":%q,"size":0},"layers":[]}`, v1.MediaTypeImageManifest, empty.Digest)
	d, err := c.PushManifest(t.Context(), r, v1.MediaTypeImageManifest, manifest)
	if err != nil || d != digest.FromBytes(manifest) || !bytes.Equal(s.Manifest("dst", "1"), manifest) {
		t.Errorf("push manifest: %s %v", d, err)
	}
	if _, err := c.PushManifest(t.Context(), other, v1.MediaTypeImageManifest, manifest); !fault.Is(err, fault.Invalid) || !strings.Contains(err.Error(), "blob unknown") {
		t.Errorf("a manifest without its blobs: %v", err)
	}
}

func TestTags(t *testing.T) {
	s, host := serve(t)
	var want []string
	for i := range 2500 {
		tag := fmt.Sprintf("t%04d", i)
		want = append(want, tag)
		s.AddManifest("many", tag, v1.MediaTypeImageManifest, []byte("{}"))
	}
	c := client(t, nil)
	got, err := c.Tags(t.Context(), parse(t, host+"/many"))
	if err != nil || !slices.Equal(got, want) || s.Count("GET", "/tags/") != 3 {
		t.Errorf("%d tags in %d pages: %v", len(got), s.Count("GET", "/tags/"), err)
	}
	if _, err := c.Tags(t.Context(), parse(t, host+"/none")); !fault.Is(err, fault.NotFound) || !strings.Contains(err.Error(), "name unknown: repository name not known to registry") {
		t.Errorf("no repository: %v", err)
	}
	for link, want := range map[string]string{
		`<http://127.0.0.2:1/v2/many/tags/list>; rel="next"`: "on another host",
		`</v2/many/tags/list?n=1000>; rel=next`:              "do not end",
	} {
		s.Heal()
		s.Inject(fakereg.Fault{Kind: fakereg.Headers, Path: "/tags/", Header: map[string]string{"Link": link}})
		if _, err := c.Tags(t.Context(), parse(t, host+"/many")); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("link %s: %v", link, err)
		}
	}
	s.Heal()
	s.Inject(fakereg.Fault{Kind: fakereg.Answer, Path: "/tags/", Body: `{"tags":["../../x"]}`})
	if _, err := c.Tags(t.Context(), parse(t, host+"/many")); !fault.Is(err, fault.Invalid) {
		t.Errorf("a tag that is none: %v", err)
	}
}

func TestSearch(t *testing.T) {
	s, host := serve(t)
	c := client(t, nil)
	_, err := c.Search(t.Context(), host, "x", 0, nil)
	if !fault.Is(err, fault.Unsupported) || !strings.Contains(err.Error(), host) {
		t.Errorf("a registry without search: %v", err)
	}
	s.AddFound(fakereg.Found{Name: "busybox", Stars: 10, Official: true}, fakereg.Found{Name: "u/busybox", Description: "a\x1b[31m\nb", Stars: 1, Automated: true}, fakereg.Found{Name: "else"})
	for _, f := range []struct {
		filters map[string][]string
		want    string
	}{
		{nil, "[busybox u/busybox]"},
		{map[string][]string{"stars": {"5"}}, "[busybox]"},
		{map[string][]string{"is-official": {"false"}}, "[u/busybox]"},
		{map[string][]string{"is-automated": {"true"}}, "[u/busybox]"},
	} {
		found, err := c.Search(t.Context(), host, "busybox", 0, f.filters)
		var names []string
		for _, x := range found {
			names = append(names, x.Name)
			if strings.ContainsAny(x.Description, "\x1b\n") {
				t.Errorf("control characters came through: %q", x.Description)
			}
		}
		if err != nil || fmt.Sprint(names) != f.want {
			t.Errorf("%v: %v %v, want %s", f.filters, names, err, f.want)
		}
	}
	if _, err := c.Search(t.Context(), host, "x", 0, map[string][]string{"fun": {"1"}}); !fault.Is(err, fault.Invalid) {
		t.Errorf("an unknown filter: %v", err)
	}
	if _, err := c.Search(t.Context(), host, "x", 101, nil); !fault.Is(err, fault.Invalid) {
		t.Errorf("limit 101: %v", err)
	}
}

func TestLogin(t *testing.T) {
	s, host := serve(t)
	c := client(t, nil)
	good, bad := credential.Credential{Username: "u", Password: "p"}, credential.Credential{Username: "u", Password: "x"}
	s.RequireBasic("u", "p")
	kept, err := c.Login(t.Context(), host, good)
	if err != nil || kept != good {
		t.Errorf("basic: %+v %v", kept, err)
	}
	if _, err := c.Login(t.Context(), host, bad); !fault.Is(err, fault.Permission) || !strings.Contains(err.Error(), "unauthorized: authentication required") {
		t.Errorf("basic, wrong password: %v", err)
	}
	s.RequireToken("u", "p", "", false, 0)
	kept, err = c.Login(t.Context(), host, good)
	if err != nil || kept.IdentityToken != "identity-u" || kept.Password != "" {
		t.Errorf("token: %+v %v", kept, err)
	}
	if _, err := c.Login(t.Context(), host, bad); !fault.Is(err, fault.Permission) || !strings.Contains(err.Error(), "unauthorized: incorrect username or password") {
		t.Errorf("token, wrong password: %v", err)
	}
	// What was kept is good for a pull.
	s.AddImage("a", "latest", "", v1.Image{})
	withToken := client(t, func(o *registry.Options) {
		o.Credentials = func(context.Context, string, string) (credential.Credential, error) { return kept, nil }
	})
	if _, _, err := withToken.Resolve(t.Context(), parse(t, host+"/a")); err != nil {
		t.Errorf("pull by identity token: %v", err)
	}
	if err := c.Ping(t.Context(), "127.0.0.1:1"); !fault.Is(err, fault.Unavailable) {
		t.Errorf("nobody there: %v", err)
	}
}

func TestTokensAreKeptAndRefreshedOnce(t *testing.T) {
	s, host := serve(t)
	s.RequireToken("u", "p", "", true, 300)
	img := s.AddImage("a", "latest", "", v1.Image{}, noise(100, 1))
	c := client(t, nil)
	r := parse(t, host+"/a")
	var wg sync.WaitGroup
	if _, _, err := c.Resolve(t.Context(), r); err != nil {
		t.Fatal(err)
	}
	for range 20 {
		wg.Go(func() {
			b, err := c.Blob(t.Context(), r, img.Layers[0], 0)
			if err != nil {
				t.Error(err)
				return
			}
			b.Close()
		})
	}
	wg.Wait()
	if n := s.Count("", "/token"); n != 1 {
		t.Errorf("%d tokens were fetched", n)
	}
	s.ExpireTokens()
	if _, _, err := c.Resolve(t.Context(), r); err != nil || s.Count("", "/token") != 2 {
		t.Errorf("after expiry: %d tokens, %v", s.Count("", "/token"), err)
	}
	// A registry that takes no token at all is asked twice, not for ever.
	s.Forget()
	s.Inject(fakereg.Fault{Kind: fakereg.Answer, Path: "/manifests/", Status: 401, Header: map[string]string{
		"WWW-Authenticate": `Bearer realm="http://` + host + `/token",service="fakereg"`}})
	_, _, err := c.Resolve(t.Context(), r)
	if !fault.Is(err, fault.Permission) || !strings.Contains(err.Error(), "pull access denied for "+host+"/a, repository does not exist or may require 'docker login': unauthorized: authentication required") {
		t.Errorf("401 for ever: %v", err)
	}
	if n := s.Count("", "/manifests/"); n > 4 { // HEAD and GET, each refreshed once
		t.Errorf("%d requests", n)
	}
}

func TestRefusalsInDockersWords(t *testing.T) {
	s, host := serve(t)
	s.AddImage("a", "latest", "", v1.Image{})
	c := client(t, nil)
	for _, k := range []struct {
		name, body, want string
		status           int
		kind             fault.Kind
	}{
		{"a:none", "", "manifest for " + host + "/a:none not found: manifest unknown: manifest unknown", 0, fault.NotFound},
		{"a", `{"errors":[{"code":"NAME_UNKNOWN","message":"repository name not known to registry"}]}`, "repository " + host + "/a not found: name unknown: repository name not known to registry", 404, fault.NotFound},
		{"a", `{"errors":[{"code":"DENIED","message":"requested access to the resource is denied"}]}`, "pull access denied for " + host + "/a, repository does not exist or may require 'docker login': denied: requested access to the resource is denied", 403, fault.Permission},
		{"a", "", "pull access denied for " + host + "/a, repository does not exist or may require 'docker login': unauthorized: authentication required", 401, fault.Permission},
		{"a", "<html>", "manifest for " + host + "/a:latest not found: manifest unknown: manifest unknown", 404, fault.NotFound},
		{"a", `{"errors":[{"code":"TOOMANYREQUESTS","message":"You have reached your pull rate limit."}]}`, "toomanyrequests: You have reached your pull rate limit.", 429, fault.Unavailable},
		{"a", "", "status 500 Internal Server Error", 500, fault.Unavailable},
		{"a", "{\"errors\":[{\"code\":\"X\\n\",\"message\":\"a\\r\\n\\u001b[2Jb\"}]}", "x: a [2Jb", 400, fault.Invalid},
	} {
		s.Heal()
		if k.status != 0 {
			s.Inject(fakereg.Fault{Kind: fakereg.Answer, Path: "/manifests/", Status: k.status, Body: k.body})
		}
		_, _, err := c.Resolve(t.Context(), parse(t, host+"/"+k.name))
		if !fault.Is(err, k.kind) || !strings.Contains(err.Error(), k.want) || strings.ContainsAny(err.Error(), "\n\r\x1b") {
			t.Errorf("%d %s: %v (%v), want %v", k.status, k.body, err, fault.KindOf(err), k.want)
		}
	}
	var e *registry.Error
	s.Heal()
	if _, err := c.Tags(t.Context(), parse(t, host+"/none")); !errors.As(err, &e) || e.Status != 404 {
		t.Errorf("the status is not to be seen: %v", err)
	}
}

func TestSha512(t *testing.T) {
	s, host := serve(t)
	img := s.AddImage("a", "latest", "", v1.Image{})
	d := digest.SHA512.FromBytes(img.Raw)
	s.AddManifest("a", string(d), v1.MediaTypeImageManifest, img.Raw)
	c := client(t, nil)
	desc, _, err := c.Resolve(t.Context(), parse(t, host+"/a@"+string(d)))
	if err != nil || desc.Digest != d {
		t.Fatalf("resolve: %+v %v", desc, err)
	}
	raw, err := c.Manifest(t.Context(), parse(t, host+"/a"), desc)
	if err != nil || sha256.Sum256(raw) != sha256.Sum256(img.Raw) {
		t.Errorf("manifest: %v", err)
	}
}
