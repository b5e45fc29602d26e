package registry

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"berth/image/ref"
	"berth/image/registry/hosts"
)

func TestChallenges(t *testing.T) {
	for header, want := range map[string][]challenge{
		`Bearer realm="https://auth.docker.io/token",service="registry.docker.io",scope="repository:library/a:pull,push"`: {
			{"bearer", map[string]string{"realm": "https://auth.docker.io/token", "service": "registry.docker.io", "scope": "repository:library/a:pull,push"}}},
		`basic realm="a \"b\" c"`: {{"basic", map[string]string{"realm": `a "b" c`}}},
		`Basic`:                   {{"basic", map[string]string{}}},
		`Negotiate, Basic realm=x, Bearer realm="y" , service = z`: {
			{"negotiate", map[string]string{}}, {"basic", map[string]string{"realm": "x"}}, {"bearer", map[string]string{"realm": "y", "service": "z"}}},
		`Bearer realm=https://a/b,service=c`:  {{"bearer", map[string]string{"realm": "https://a/b", "service": "c"}}},
		`Bearer realm="a",realm="b"`:          {{"bearer", map[string]string{"realm": "a"}}},
		`Bearer realm="open`:                  {{"bearer", map[string]string{}}},
		`Bearer realm="open\`:                 {{"bearer", map[string]string{}}},
		``:                                    nil,
		`"`:                                   nil,
		"Basic " + strings.Repeat("x", 1<<20): nil,
	} {
		if d := cmp.Diff(want, parseChallenges(header), cmp.AllowUnexported(challenge{})); d != "" {
			t.Errorf("%.60s (-want +got):\n%s", header, d)
		}
	}
	h := http.Header{"Www-Authenticate": {`Basic realm="x"`, `Bearer realm="y"`}}
	if c, ok := pick(h); !ok || c.scheme != "bearer" {
		t.Errorf("bearer comes first: %+v", c)
	}
}

func TestContentRange(t *testing.T) {
	for s, want := range map[string][3]int64{
		"bytes 0-9/10": {0, 10, 1}, "bytes 5-9/*": {5, -1, 1}, "bytes 5-9/9": {5, 9, 0}, "bytes 9-5/20": {0, 0, 0},
		"bytes */10": {0, 0, 0}, "": {0, 0, 0}, "bytes -1-5/10": {0, 0, 0}, "bytes 0-9/99999999999999999999": {0, 0, 0},
	} {
		from, size, ok := contentRange(s)
		if ok != (want[2] == 1) || ok && (from != want[0] || size != want[1]) {
			t.Errorf("%q: %d %d %v", s, from, size, ok)
		}
	}
}

func TestUploaded(t *testing.T) {
	for s, want := range map[string]int64{"0-0": 0, "0-9": 10, "bytes=0-9": 10, "": 0, "1-2": -1, "0-x": -1, "0--5": -1} {
		n, ok := uploaded(s)
		if ok != (want >= 0) || ok && n != want {
			t.Errorf("%q: %d %v", s, n, ok)
		}
	}
}

func TestRetryAfterForms(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	for s, want := range map[string]time.Duration{
		"7": 7 * time.Second, "": 0, "-1": 0, "x": 0, "99999999999999": 0,
		"Fri, 02 Jan 2026 03:04:35 GMT": 30 * time.Second, "Fri, 02 Jan 2025 03:04:35 GMT": 0,
	} {
		if got := retryAfter(s, now); got != want {
			t.Errorf("%q: %v", s, got)
		}
	}
}

func FuzzChallenge(f *testing.F) {
	f.Add(`Bearer realm="https://a/b",service="c",scope="repository:a:pull"`)
	f.Add(`Negotiate abc==, Basic realm="a\"b"`)
	f.Fuzz(func(t *testing.T, s string) {
		for _, c := range parseChallenges(s) {
			if c.scheme == "" || c.scheme != strings.ToLower(c.scheme) {
				t.Errorf("scheme %q", c.scheme)
			}
		}
		c, ok := pick(http.Header{"Www-Authenticate": {s}})
		if !ok {
			return
		}
		ep := hosts.Endpoint{Scheme: "https", Host: "r.example"}
		for _, secret := range []bool{true, false} {
			if u, err := realmOf(ep, c.params["realm"], secret); err == nil && u.Scheme != "https" {
				t.Errorf("a realm by %s", u.Scheme)
			}
		}
		ep.Scheme = "http"
		if u, err := realmOf(ep, c.params["realm"], true); err == nil && origin(u.Scheme, u.Host) != originOf(ep) {
			t.Errorf("the credential would go to %s", u)
		}
	})
}

func FuzzLink(f *testing.F) {
	f.Add(`</v2/a/tags/list?last=b&n=1>; rel="next"`)
	f.Add(`<https://x/>; rel=prev, <//y/z>; rel=next`)
	f.Fuzz(func(t *testing.T, s string) {
		at := &url.URL{Scheme: "https", Host: "r.example", Path: "/v2/a/tags/list"}
		next, err := nextPage(at, []string{s})
		if err != nil && strings.ContainsAny(err.Error(), "\r\n") {
			t.Errorf("more than one line: %q", err)
		}
		if next != nil && (origin(next.Scheme, next.Host) != "https://r.example" || next.User != nil) {
			t.Errorf("next page %s", next)
		}
	})
}

func FuzzLocation(f *testing.F) {
	f.Add("/v2/a/blobs/uploads/x?_state=y")
	f.Add("http://r.example/x")
	f.Add("//other/x")
	f.Fuzz(func(t *testing.T, s string) {
		at := &url.URL{Scheme: "https", Host: "r.example", Path: "/v2/"}
		next, err := location(at, s)
		if err == nil && (next.Scheme != "https" || next.Host == "" || next.User != nil) {
			t.Errorf("location %s", next)
		}
	})
}

// What a name becomes is an address of its endpoint and of nothing else.
func FuzzReferenceToURL(f *testing.F) {
	f.Add("r.example:5000/a/b:c", "ns.example")
	f.Add("alpine@sha256:0123456789012345678901234567890123456789012345678901234567890123", "")
	f.Fuzz(func(t *testing.T, name, ns string) {
		r, err := ref.Docker(name)
		if err != nil {
			return
		}
		r = r.OrLatest()
		table, err := hosts.Load(hosts.Options{})
		if err != nil {
			t.Fatal(err)
		}
		list, err := table.Endpoints(r.Domain, r.Path, hosts.Tag)
		if err != nil {
			return
		}
		for _, ep := range list {
			ep.Namespace = ns
			u, err := url.Parse(endpointURL(manifestCall("GET", ep, r)).String())
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			what := r.Tag
			if r.Digest != "" {
				what = string(r.Digest)
			}
			if u.Host != ep.Host || u.Path != "/v2/"+r.Path+"/manifests/"+what || u.Fragment != "" || u.User != nil || u.Query().Get("ns") != ns {
				t.Errorf("%s became %s", name, u)
			}
		}
	})
}
