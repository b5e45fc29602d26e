package registry_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"berth/base/fault"
	"berth/image/registry"
	"berth/image/registry/hosts"
	"berth/test/fakereg"
)

func TestBlobGoesOnWhereItBroke(t *testing.T) {
	data := noise(1<<20, 7)
	for _, k := range []struct {
		name  string
		fault fakereg.Fault
		sent  int64 // at most
	}{
		{"reset", fakereg.Fault{Kind: fakereg.Reset, After: 500_000, Times: 1}, 1<<20 + 500_000},
		{"reset three times", fakereg.Fault{Kind: fakereg.Reset, After: 200_000, Times: 4}, 1<<20 + 800_000},
		{"reset at once", fakereg.Fault{Kind: fakereg.Reset, Times: 2}, 1<<20 + 1},
		{"truncated", fakereg.Fault{Kind: fakereg.Truncate, After: 900_000, Times: 1}, 1<<20 + 1},
		{"short without a length", fakereg.Fault{Kind: fakereg.Short, After: 100_000, Times: 2}, 1<<20 + 1},
		{"stall", fakereg.Fault{Kind: fakereg.Stall, After: 300_000, Times: 2}, 1<<20 + 1},
		{"stall at once", fakereg.Fault{Kind: fakereg.Stall, Times: 1}, 1<<20 + 1},
		{"no answer", fakereg.Fault{Kind: fakereg.Hang, Times: 1}, 1<<20 + 1},
		{"no ranges", fakereg.Fault{Kind: fakereg.NoRange, Skip: 1}, 2<<20 + 1},
		{"burst of 5xx", fakereg.Fault{Kind: fakereg.Answer, Status: 503, Times: 3}, 1<<20 + 100},
	} {
		t.Run(k.name, func(t *testing.T) {
			s, host := serve(t)
			desc := s.AddBlob("a", data)
			if k.name == "no ranges" {
				s.Inject(fakereg.Fault{Kind: fakereg.Reset, Path: "/blobs/", After: 500_000, Times: 1})
			}
			k.fault.Path = "/blobs/"
			s.Inject(k.fault)
			c := client(t, nil)
			b, err := c.Blob(t.Context(), parse(t, host+"/a"), desc, 0)
			whole(t, b, err, data)
			// A reset takes along what lies in buffers; nothing else is lost.
			if n := s.BytesSent("/blobs/"); n > k.sent {
				t.Errorf("%d bytes were sent for %d: it began anew", n, len(data))
			}
			again := s.Requests()
			if k.fault.After > 0 && again[len(again)-1].Range == "" {
				t.Error("the last request was for the whole")
			}
		})
	}
}

func TestBlobFaultsThatStay(t *testing.T) {
	data := noise(500_000, 8)
	for _, k := range []struct {
		name  string
		fault fakereg.Fault
		want  string
		kind  fault.Kind
	}{
		{"wrong size", fakereg.Fault{Kind: fakereg.Answer, Body: "short"}, "has 5 bytes, the manifest says 500000", fault.Invalid},
		{"too long", fakereg.Fault{Kind: fakereg.Long, After: 1}, "more than 500000 bytes", fault.Invalid},
		{"always stalls", fakereg.Fault{Kind: fakereg.Stall}, "no byte came in time", fault.Unavailable},
		{"always resets", fakereg.Fault{Kind: fakereg.Reset, After: 10}, "", fault.Unavailable},
		{"gone", fakereg.Fault{Kind: fakereg.Answer, Status: 404}, "404", fault.NotFound},
		{"coded", fakereg.Fault{Kind: fakereg.Headers, Header: map[string]string{"Content-Encoding": "gzip"}}, `coding "gzip"`, fault.Invalid},
		{"wrong range", fakereg.Fault{Kind: fakereg.Headers, Header: map[string]string{"Content-Range": "bytes 0-1/500000"}}, "Content-Range", fault.Invalid},
		{"endless error", fakereg.Fault{Kind: fakereg.Endless, Status: 400}, "status 400", fault.Invalid},
		{"redirects for ever", fakereg.Fault{Kind: fakereg.Redirect}, "more than 5 redirects", fault.Invalid},
	} {
		t.Run(k.name, func(t *testing.T) {
			s, host := serve(t)
			desc := s.AddBlob("a", data)
			k.fault.Path = "/blobs/"
			s.Inject(k.fault)
			c := client(t, func(o *registry.Options) { o.Stall = 60 * time.Millisecond })
			start := time.Now()
			offset := int64(0)
			if k.name == "wrong range" {
				offset = 7
			}
			b, err := c.Blob(t.Context(), parse(t, host+"/a"), desc, offset)
			if err == nil {
				_, err = io.Copy(io.Discard, b)
				b.Close()
			}
			if !fault.Is(err, k.kind) && k.name != "always resets" || err == nil || !strings.Contains(err.Error(), k.want) || !strings.Contains(err.Error(), string(desc.Digest)) {
				t.Errorf("%v (%v), want %q (%v)", err, fault.KindOf(err), k.want, k.kind)
			}
			if d := time.Since(start); d > 10*time.Second {
				t.Errorf("it took %v", d)
			}
		})
	}
}

// A reader who is slow himself is no stall of the registry.
func TestSlowReaderIsNoStall(t *testing.T) {
	s, host := serve(t)
	data := noise(8<<20, 9)
	desc := s.AddBlob("a", data)
	c := client(t, func(o *registry.Options) { o.Stall, o.Retries = 300*time.Millisecond, -1 })
	b, err := c.Blob(t.Context(), parse(t, host+"/a"), desc, 0)
	if err != nil {
		t.Fatal(err)
	}
	var got bytes.Buffer
	for range 2 {
		_, _ = io.CopyN(&got, b, 100)
		time.Sleep(600 * time.Millisecond)
	}
	if _, err := io.Copy(&got, b); err != nil || !bytes.Equal(got.Bytes(), data) {
		t.Errorf("%d bytes: %v", got.Len(), err)
	}
	b.Close()
	if n := s.Count("GET", "/blobs/"); n != 1 {
		t.Errorf("%d requests", n)
	}
}

func TestNoRanges(t *testing.T) {
	s, host := serve(t)
	s.NoRange = true
	data := noise(100_000, 10)
	desc := s.AddBlob("a", data)
	c := client(t, nil)
	if _, err := c.BlobRange(t.Context(), parse(t, host+"/a"), desc, 10, 20); !fault.Is(err, fault.Unsupported) {
		t.Errorf("a range where none are served: %v", err)
	}
	b, err := c.Blob(t.Context(), parse(t, host+"/a"), desc, 99_000)
	whole(t, b, err, data[99_000:])
}

func TestCancelEndsAtOnce(t *testing.T) {
	s, host := serve(t)
	desc := s.AddBlob("a", noise(1000, 1))
	s.Inject(fakereg.Fault{Kind: fakereg.Stall, Path: "/blobs/", After: 10})
	c := client(t, func(o *registry.Options) { o.Stall = time.Minute })
	ctx, cancel := context.WithCancel(t.Context())
	b, err := c.Blob(ctx, parse(t, host+"/a"), desc, 0)
	if err != nil {
		t.Fatal(err)
	}
	time.AfterFunc(50*time.Millisecond, cancel)
	start := time.Now()
	if _, err := io.Copy(io.Discard, b); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
	if d := time.Since(start); d > 5*time.Second {
		t.Errorf("it took %v", d)
	}
}

func TestRetryAfter(t *testing.T) {
	s, host := serve(t)
	s.AddImage("a", "latest", "", v1.Image{})
	s.Inject(fakereg.Fault{Kind: fakereg.Answer, Path: "/manifests/", Status: 429, Times: 2, Header: map[string]string{"Retry-After": "1"}})
	var pauses atomic.Int64
	c := client(t, func(o *registry.Options) {
		o.OnRetry = func(_ string, d time.Duration, _ error) { pauses.Add(int64(d)) }
	})
	if _, _, err := c.Resolve(t.Context(), parse(t, host+"/a")); err != nil || time.Duration(pauses.Load()) < time.Second {
		t.Errorf("paused %v: %v", time.Duration(pauses.Load()), err)
	}
	s.Heal()
	s.Inject(fakereg.Fault{Kind: fakereg.Answer, Path: "/manifests/", Status: 429, Header: map[string]string{"Retry-After": "86400"}})
	start := time.Now()
	if _, _, err := c.Resolve(t.Context(), parse(t, host+"/a")); !fault.Is(err, fault.Unavailable) || !strings.Contains(err.Error(), "24h0m0s") {
		t.Errorf("a day: %v", err)
	}
	if d := time.Since(start); d > 5*time.Second {
		t.Errorf("it took %v", d)
	}
}

func TestLyingManifests(t *testing.T) {
	for _, k := range []struct {
		name  string
		fault fakereg.Fault
		want  string
		kind  fault.Kind
	}{
		{"endless", fakereg.Fault{Kind: fakereg.Endless, Body: "{", Header: map[string]string{"Content-Type": v1.MediaTypeImageManifest}}, "larger than 4194304 bytes", fault.Invalid},
		{"other bytes", fakereg.Fault{Kind: fakereg.Corrupt, Method: "GET", After: 5}, "the bytes are sha256:", fault.Invalid},
		{"other type", fakereg.Fault{Kind: fakereg.Headers, Header: map[string]string{"Content-Type": v1.MediaTypeImageIndex, "Docker-Content-Digest": ""}}, "sent as application/vnd.oci.image.index.v1+json, but it says", fault.Invalid},
		{"no manifest", fakereg.Fault{Kind: fakereg.Answer, Body: `{"a":1}`, Header: map[string]string{"Content-Type": "text/html"}}, `"text/html" is no manifest`, fault.Invalid},
		{"html", fakereg.Fault{Kind: fakereg.Answer, Body: "<html>"}, "no JSON document", fault.Invalid},
		{"schema 1", fakereg.Fault{Kind: fakereg.Answer, Body: `{"schemaVersion":1,"fsLayers":[]}`}, "schema 1", fault.Unsupported},
		{"both", fakereg.Fault{Kind: fakereg.Answer, Body: `{"manifests":[],"layers":[]}`}, "manifest and index at once", fault.Invalid},
		{"no digest", fakereg.Fault{Kind: fakereg.Headers, Header: map[string]string{"Docker-Content-Digest": "../../etc"}}, `"../../etc" is none`, fault.Invalid},
	} {
		t.Run(k.name, func(t *testing.T) {
			s, host := serve(t)
			img := s.AddImage("a", "latest", "", v1.Image{}, noise(10, 1))
			k.fault.Path = "/manifests/"
			s.Inject(k.fault)
			c := client(t, nil)
			r := parse(t, host+"/a")
			desc, _, err := c.Resolve(t.Context(), r)
			if err == nil && k.name == "other bytes" {
				_, err = c.Manifest(t.Context(), r, desc)
			}
			if !fault.Is(err, k.kind) || !strings.Contains(err.Error(), k.want) {
				t.Errorf("resolve: %v, want %q", err, k.want)
			}
			if _, err := c.Manifest(t.Context(), r, img.Manifest); err == nil && k.name != "no digest" && k.name != "other type" {
				t.Error("the manifest was taken")
			}
		})
	}
	s, host := serve(t)
	img := s.AddImage("a", "latest", "", v1.Image{}, noise(10, 1))
	c := client(t, nil)
	r := parse(t, host+"/a")
	for _, bad := range []v1.Descriptor{
		{Digest: "sha256:../../x", Size: 1}, {Digest: "md5:00", Size: 1}, {}, {Digest: img.Manifest.Digest, Size: 1 << 40}, {Digest: img.Manifest.Digest, Size: 3},
	} {
		if _, err := c.Manifest(t.Context(), r, bad); !fault.Is(err, fault.Invalid) {
			t.Errorf("descriptor %v: %v", bad, err)
		}
	}
	// Content types that say nothing, and no HEAD, are what small servers have.
	s.Inject(fakereg.Fault{Kind: fakereg.Headers, Header: map[string]string{"Content-Type": "application/octet-stream", "Docker-Content-Digest": ""}})
	s.NoHead = true
	if desc, _, err := c.Resolve(t.Context(), r); err != nil || desc.MediaType != v1.MediaTypeImageManifest || desc.Digest != img.Manifest.Digest {
		t.Errorf("a plain web server: %+v %v", desc, err)
	}
}

func TestMirrors(t *testing.T) {
	s, host := serve(t)
	mirror, mirrorHost := serve(t)
	img := s.AddImage("a", "latest", "", v1.Image{}, noise(100_000, 1))
	mirror.AddImage("proxy/a", "latest", "", v1.Image{}, noise(100_000, 1))
	dead, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	deadHost := dead.Addr().String()
	dead.Close()
	conf := t.TempDir() + "/registries.conf"
	write(t, conf, "[[registry]]\nlocation=\""+host+"\"\ninsecure=true\n[[registry.mirror]]\nlocation=\""+deadHost+"\"\ninsecure=true\n[[registry.mirror]]\nlocation=\""+mirrorHost+"/proxy\"\ninsecure=true\n")
	c := client(t, func(o *registry.Options) { o.Hosts = table(t, hosts.Options{RegistriesConf: conf}) })
	r := parse(t, host+"/a")
	desc, ep, err := c.Resolve(t.Context(), r)
	if err != nil || ep.Host != mirrorHost || desc.Digest != img.Manifest.Digest {
		t.Fatalf("resolve: %v %v", ep, err)
	}
	b, err := c.Blob(t.Context(), r, img.Layers[0], 0)
	whole(t, b, err, noise(100_000, 1))
	if n := len(s.Requests()); n != 0 {
		t.Errorf("the registry was asked %d times", n)
	}
	// A mirror that breaks in the middle: the rest comes from the registry.
	mirror.Inject(fakereg.Fault{Kind: fakereg.Reset, Path: "/blobs/", After: 50_000, Times: 1})
	mirror.Inject(fakereg.Fault{Kind: fakereg.Answer, Status: 502})
	b, err = c.Blob(t.Context(), r, img.Layers[0], 0)
	whole(t, b, err, noise(100_000, 1))
	if n := s.BytesSent("/blobs/"); n == 0 || n > 100_000 {
		t.Errorf("the registry sent %d bytes", n)
	}
	// A mirror that lacks it, or lies about it.
	c = client(t, func(o *registry.Options) { o.Hosts = table(t, hosts.Options{RegistriesConf: conf}) })
	mirror.Heal()
	mirror.Remove("proxy/a", "latest")
	if _, ep, err := c.Resolve(t.Context(), r); err != nil || ep.Host != host {
		t.Errorf("the mirror lacks it: %v %v", ep, err)
	}
	mirror.Inject(fakereg.Fault{Kind: fakereg.Corrupt, Path: "/manifests/", Method: "GET", After: 3})
	if raw, err := c.Manifest(t.Context(), r, img.Manifest); err != nil || !bytes.Equal(raw, img.Raw) {
		t.Errorf("the mirror lies: %v", err)
	}
}

// Over HTTP/2, as most registries are reached, streams break, not connections.
func TestHTTP2GoesOnWhereItBroke(t *testing.T) {
	s := fakereg.New()
	h := httptest.NewUnstartedServer(s)
	h.EnableHTTP2 = true
	h.StartTLS()
	t.Cleanup(h.Close)
	data := noise(1<<20, 7)
	desc := s.AddBlob("a", data)
	for _, f := range []fakereg.Fault{
		{Kind: fakereg.Reset, After: 500_000, Times: 2}, {Kind: fakereg.Stall, After: 200_000, Times: 1}, {Kind: fakereg.Hang, Times: 1},
	} {
		s.Heal()
		f.Path = "/blobs/"
		s.Inject(f)
		c := client(t, nil)
		b, err := c.Blob(t.Context(), parse(t, hostOf(h)+"/a"), desc, 0)
		whole(t, b, err, data)
		last := s.Requests()
		if q := last[len(last)-1]; f.After > 0 && q.Range == "" || q.Proto != "HTTP/2.0" {
			t.Errorf("%s: the last request was for the whole, or by %s", f.Kind, q.Proto)
		}
	}
}

// What only a mirror for tags knows is also read from it.
func TestTagOnlyMirror(t *testing.T) {
	s, host := serve(t)
	mirror, mirrorHost := serve(t)
	img := mirror.AddImage("a", "latest", "", v1.Image{}, noise(1000, 1))
	conf := t.TempDir() + "/registries.conf"
	write(t, conf, "[[registry]]\nlocation=\""+host+"\"\ninsecure=true\n[[registry.mirror]]\nlocation=\""+mirrorHost+"\"\ninsecure=true\npull-from-mirror=\"tag-only\"\n")
	c := client(t, func(o *registry.Options) { o.Hosts = table(t, hosts.Options{RegistriesConf: conf}) })
	r := parse(t, host+"/a")
	desc, _, err := c.Resolve(t.Context(), r)
	if err != nil {
		t.Fatal(err)
	}
	if raw, err := c.Manifest(t.Context(), r, desc); err != nil || !bytes.Equal(raw, img.Raw) {
		t.Errorf("manifest: %v", err)
	}
	b, err := c.Blob(t.Context(), r, img.Layers[0], 0)
	whole(t, b, err, noise(1000, 1))
	if n := len(s.Requests()); n != 0 {
		t.Errorf("the registry was asked %d times", n)
	}
	if _, _, err := c.Resolve(t.Context(), parse(t, host+"/a@"+string(desc.Digest))); !fault.Is(err, fault.NotFound) {
		t.Errorf("by digest the mirror is not asked: %v", err)
	}
}

func TestPushFaults(t *testing.T) {
	data := noise(1<<20, 11)
	desc := blobOf(data)
	for _, k := range []struct {
		name   string
		faults []fakereg.Fault
		noKeep bool
	}{
		{"half push, resumed", []fakereg.Fault{{Kind: fakereg.ResetUpload, Method: "PATCH", After: 300_000, Times: 1}}, false},
		{"half push, forgotten", []fakereg.Fault{{Kind: fakereg.ResetUpload, Method: "PATCH", After: 300_000, Times: 1}}, true},
		{"5xx at the end", []fakereg.Fault{{Kind: fakereg.Answer, Method: "PUT", Status: 502, Times: 2}}, false},
		{"5xx at the start", []fakereg.Fault{{Kind: fakereg.Answer, Method: "POST", Status: 500, Times: 2}}, false},
		{"session lost", []fakereg.Fault{{Kind: fakereg.ResetUpload, Method: "PATCH", After: 1000, Times: 1}, {Kind: fakereg.Answer, Method: "GET", Status: 404, Times: 1}}, false},
		{"401 in the middle", []fakereg.Fault{{Kind: fakereg.Answer, Method: "PATCH", Status: 401, Times: 1, Header: map[string]string{"WWW-Authenticate": "Basic realm=x"}}}, false},
		{"stall", []fakereg.Fault{{Kind: fakereg.Stall, Method: "POST", Times: 1}}, false},
		{"no answer", []fakereg.Fault{{Kind: fakereg.Hang, Method: "POST", Times: 1}}, false},
	} {
		t.Run(k.name, func(t *testing.T) {
			s, host := serve(t)
			s.NoPatch = k.noKeep
			for _, f := range k.faults {
				f.Path = "/uploads"
				s.Inject(f)
			}
			c := client(t, func(o *registry.Options) { o.Credentials = as(host, "u", "p") })
			r := parse(t, host+"/a")
			if err := c.PushBlob(t.Context(), r, desc, opener(data), nil); err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(s.Blob("a", desc.Digest), data) {
				t.Error("other bytes arrived")
			}
			got := s.BytesReceived("/uploads")
			if k.name == "half push, resumed" && got > int64(len(data))+1000 {
				t.Errorf("%d bytes came in: it began anew", got)
			}
		})
	}
	s, host := serve(t)
	c := client(t, nil)
	err := c.PushBlob(t.Context(), parse(t, host+"/a"), desc, opener(noise(1<<20, 12)), nil)
	if !fault.Is(err, fault.Invalid) || !strings.Contains(err.Error(), "digest invalid") || s.Count("POST", "") != 1 {
		t.Errorf("wrong bytes: %v, %d uploads", err, s.Count("POST", ""))
	}
	s.Inject(fakereg.Fault{Kind: fakereg.Answer, Method: "POST", Status: 403, Body: `{"errors":[{"code":"DENIED","message":"requested access to the resource is denied"}]}`})
	err = c.PushBlob(t.Context(), parse(t, host+"/a"), desc, opener(data), nil)
	if !fault.Is(err, fault.Permission) || !strings.Contains(err.Error(), "denied: requested access to the resource is denied") {
		t.Errorf("denied: %v", err)
	}
	if n := s.Uploads(); n > 1 {
		t.Errorf("%d uploads were left open", n)
	}
}

func TestHugeTokensAndErrors(t *testing.T) {
	s, host := serve(t)
	s.AddImage("a", "latest", "", v1.Image{})
	s.RequireToken("u", "p", "", true, 0)
	s.Inject(fakereg.Fault{Kind: fakereg.Endless, Path: "/token", Body: `{"token":"x"`})
	c := client(t, nil)
	if _, _, err := c.Resolve(t.Context(), parse(t, host+"/a")); !fault.Is(err, fault.Invalid) || !strings.Contains(err.Error(), "larger than 1048576 bytes") {
		t.Errorf("an endless token: %v", err)
	}
	for body, want := range map[string]string{
		`{}`:                    "there is no token",
		`{"token":"a\r\nX: y"}`: "there is no token",
		`[`:                     "unexpected end",
	} {
		s.Heal()
		s.Inject(fakereg.Fault{Kind: fakereg.Answer, Path: "/token", Body: body})
		if _, _, err := c.Resolve(t.Context(), parse(t, host+"/a")); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("token %q: %v, want %q", body, err, want)
		}
	}
	s.Heal()
	s.Inject(fakereg.Fault{Kind: fakereg.Endless, Path: "/manifests/", Status: 404, Body: `{"errors":[`})
	if _, _, err := c.Resolve(t.Context(), parse(t, host+"/a")); !fault.Is(err, fault.NotFound) || len(err.Error()) > 1000 {
		t.Errorf("an endless error: %.1000v", err)
	}
}

// An insecure registry that closes the connection instead of answering TLS is
// asked by http; one that once answered by https never is.
func TestInsecureFallsBackOnlyOnce(t *testing.T) {
	s, behind := serve(t)
	s.AddImage("a", "latest", "", v1.Image{})
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				first := make([]byte, 1)
				if _, err := io.ReadFull(conn, first); err != nil || first[0] == 22 { // a TLS record
					conn.Close()
					return
				}
				other, err := net.Dial("tcp", behind)
				if err != nil {
					conn.Close()
					return
				}
				_, _ = other.Write(first)
				go func() { _, _ = io.Copy(other, conn); other.Close() }()
				_, _ = io.Copy(conn, other)
				conn.Close()
			}()
		}
	}()
	c := client(t, func(o *registry.Options) { o.Delay = time.Hour })
	if _, ep, err := c.Resolve(t.Context(), parse(t, l.Addr().String()+"/a")); err != nil || ep.Scheme != "http" {
		t.Errorf("%v %v", ep, err)
	}

	tlsServer, host, _ := serveTLS(t)
	img := tlsServer.AddImage("a", "latest", "", v1.Image{}, noise(1000, 1))
	c = client(t, nil) // loopback is insecure
	r := parse(t, host+"/a")
	if _, ep, err := c.Resolve(t.Context(), r); err != nil || ep.Scheme != "https" {
		t.Fatalf("%v %v", ep, err)
	}
	tlsServer.Inject(fakereg.Fault{Kind: fakereg.Reset, Path: "/blobs/"})
	if b, err := c.Blob(t.Context(), r, img.Layers[0], 0); err == nil {
		_, err = io.Copy(io.Discard, b)
		b.Close()
		if err == nil || strings.Contains(err.Error(), "http://") {
			t.Errorf("%v", err)
		}
	} else if strings.Contains(err.Error(), "http://") {
		t.Errorf("%v", err)
	}
}
