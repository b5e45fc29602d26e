package fakereg_test

import (
	"io"
	"net/http"
	"os"
	"path/filepath"
	"testing"

	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"berth/test/fakereg"
)

func get(t *testing.T, url string) (int, string, error) {
	t.Helper()
	resp, err := http.Get(url)
	if err != nil {
		return 0, "", err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	return resp.StatusCode, string(b), err
}

// Each fault must be seen by a plain client, or tests of others see nothing.
func TestFaultsHappen(t *testing.T) {
	s := fakereg.New()
	h := s.Start()
	defer h.Close()
	other := fakereg.New().Start()
	defer other.Close()
	d := s.AddBlob("a", []byte("0123456789"))
	url := h.URL + "/v2/a/blobs/" + string(d.Digest)
	for _, k := range []struct {
		fault  fakereg.Fault
		status int
		body   string
		fails  bool
	}{
		{fakereg.Fault{Kind: fakereg.Headers}, 200, "0123456789", false},
		{fakereg.Fault{Kind: fakereg.Corrupt, After: 2}, 200, "0133456789", false},
		{fakereg.Fault{Kind: fakereg.Short, After: 4}, 200, "0123", false},
		{fakereg.Fault{Kind: fakereg.Long, After: 1}, 200, "0123456789\x00", false},
		{fakereg.Fault{Kind: fakereg.Truncate, After: 3}, 200, "012", true},
		{fakereg.Fault{Kind: fakereg.Reset, After: 3}, 200, "", true},
		{fakereg.Fault{Kind: fakereg.Answer, Status: 503, Body: "x"}, 503, "x", false},
		{fakereg.Fault{Kind: fakereg.Redirect, To: other.URL + "/x"}, 404, "no such page\n", false},
		{fakereg.Fault{Kind: fakereg.Answer, Status: 503, Skip: 1}, 200, "0123456789", false},
		{fakereg.Fault{Kind: fakereg.Answer, Status: 503, Path: "/manifests/"}, 200, "0123456789", false},
		{fakereg.Fault{Kind: fakereg.Answer, Status: 503, Method: "PUT"}, 200, "0123456789", false},
	} {
		s.Heal()
		s.Inject(k.fault)
		status, body, err := get(t, url)
		if (err != nil) != k.fails || !k.fails && (status != k.status || body != k.body) {
			t.Errorf("%+v: %d %q %v", k.fault, status, body, err)
		}
	}
	if n := s.Count("GET", string(d.Digest)); n < 11 {
		t.Errorf("%d requests were counted", n)
	}
}

func TestLoadLayout(t *testing.T) {
	dir := t.TempDir()
	raw := []byte(`{"schemaVersion":2,"layers":[]}`)
	d := digest.FromBytes(raw)
	for name, text := range map[string]string{
		"blobs/sha256/" + d.Encoded(): string(raw),
		"index.json":                  `{"schemaVersion":2,"manifests":[{"mediaType":"` + v1.MediaTypeImageManifest + `","digest":"` + string(d) + `","size":31,"annotations":{"org.opencontainers.image.ref.name":"v1"}}]}`,
	} {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	s := fakereg.New()
	h := s.Start()
	defer h.Close()
	if err := s.LoadLayout(dir, "team/app"); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{"/v2/team/app/manifests/v1", "/v2/team/app/blobs/" + string(d)} {
		if status, body, err := get(t, h.URL+path); err != nil || status != 200 || body != string(raw) {
			t.Errorf("%s: %d %q %v", path, status, body, err)
		}
	}
}
