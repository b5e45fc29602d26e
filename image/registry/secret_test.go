package registry_test

import (
	"crypto/tls"
	"encoding/pem"
	"net/http/httptest"
	"os"
	"strings"
	"testing"

	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"berth/base/fault"
	"berth/image/registry"
	"berth/image/registry/hosts"
	"berth/test/fakereg"
)

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// serveTLS starts a registry with a certificate that nobody knows yet, and
// gives its authority as a file.
func serveTLS(t *testing.T) (s *fakereg.Server, host, ca string) {
	t.Helper()
	s = fakereg.New()
	h := httptest.NewTLSServer(s)
	t.Cleanup(h.Close)
	ca = t.TempDir() + "/ca.crt"
	write(t, ca, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: h.Certificate().Raw})))
	return s, hostOf(h), ca
}

// certs makes a certs.d that trusts the authorities for the hosts.
func certs(t *testing.T, ca map[string]string) hosts.Options {
	t.Helper()
	dir := t.TempDir()
	for host, file := range ca {
		if err := os.Mkdir(dir+"/"+host, 0o700); err != nil {
			t.Fatal(err)
		}
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		write(t, dir+"/"+host+"/ca.crt", string(b))
	}
	return hosts.Options{CertDirs: []string{dir}, SecureLoopback: true}
}

// clean fails if a trap saw anything that is ours.
func clean(t *testing.T, trap *fakereg.Server, mustBeAsked bool) {
	t.Helper()
	seen := trap.Requests()
	if mustBeAsked && len(seen) == 0 {
		t.Error("the other host was never asked: this test sees nothing")
	}
	for _, r := range seen {
		if r.Authorization != "" || r.Header.Get("Cookie") != "" || r.Header.Get("X-Secret") != "" || strings.Contains(r.Query, "account") {
			t.Errorf("%s %s came with %q", r.Method, r.Path, r.Authorization)
		}
	}
}

func TestTLS(t *testing.T) {
	s, host, ca := serveTLS(t)
	s.AddImage("a", "latest", "", v1.Image{})
	r := parse(t, host+"/a")
	c := client(t, func(o *registry.Options) { o.Hosts = table(t, hosts.Options{SecureLoopback: true}) })
	if _, _, err := c.Resolve(t.Context(), r); err == nil || !strings.Contains(err.Error(), "certificate") || s.Count("", "") != 0 {
		t.Errorf("an unknown authority: %v", err)
	}
	c = client(t, func(o *registry.Options) { o.Hosts = table(t, certs(t, map[string]string{host: ca})) })
	if _, ep, err := c.Resolve(t.Context(), r); err != nil || ep.Scheme != "https" {
		t.Errorf("a known authority: %v", err)
	}
	// Insecure: https without verification, and not http beside it.
	c = client(t, func(o *registry.Options) {
		o.Hosts = table(t, hosts.Options{SecureLoopback: true, Insecure: []string{host}})
	})
	if _, ep, err := c.Resolve(t.Context(), r); err != nil || ep.Scheme != "https" {
		t.Errorf("insecure: %v %v", ep, err)
	}
	// An empty registry answers by https: its 404 is the answer.
	if _, ep, err := c.Resolve(t.Context(), parse(t, host+"/none")); !fault.Is(err, fault.NotFound) || ep.Scheme != "https" {
		t.Errorf("insecure, absent: %v %v", ep, err)
	}
}

func TestClientCertificate(t *testing.T) {
	s := fakereg.New()
	s.AddImage("a", "latest", "", v1.Image{})
	h := httptest.NewUnstartedServer(s)
	h.TLS = &tls.Config{ClientAuth: tls.RequireAnyClientCert}
	h.StartTLS()
	t.Cleanup(h.Close)
	host := hostOf(h)
	dir := t.TempDir()
	o := hosts.Options{CertDirs: []string{dir}, SecureLoopback: true}
	authority := makeCA(t)
	_ = os.Mkdir(dir+"/"+host, 0o700)
	write(t, dir+"/"+host+"/server.crt", string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: h.Certificate().Raw})))
	c := client(t, func(x *registry.Options) { x.Hosts, x.Retries = table(t, o), -1 })
	if _, _, err := c.Resolve(t.Context(), parse(t, host+"/a")); err == nil {
		t.Error("it went without a certificate: this test sees nothing")
	}
	authority.issue(t, dir+"/"+host+"/me.cert", dir+"/"+host+"/me.key")
	c = client(t, func(x *registry.Options) { x.Hosts = table(t, o) })
	if _, _, err := c.Resolve(t.Context(), parse(t, host+"/a")); err != nil {
		t.Errorf("with a certificate: %v", err)
	}
}

// The credential goes to the registry; the place where blobs lie gets none.
func TestRedirectGetsNoSecret(t *testing.T) {
	for _, scheme := range []string{"basic", "bearer"} {
		s, host := serve(t)
		trap, trapHost := serve(t)
		data := noise(1000, 1)
		img := s.AddImage("a", "latest", "", v1.Image{}, data)
		trap.AddBlob("a", data)
		if scheme == "basic" {
			s.RequireBasic("u", "p")
		} else {
			s.RequireToken("u", "p", "", false, 0)
		}
		s.Inject(fakereg.Fault{Kind: fakereg.Redirect, Method: "GET", Path: "/blobs/", To: "http://" + trapHost})
		dir := t.TempDir()
		if err := os.Mkdir(dir+"/"+host, 0o700); err != nil {
			t.Fatal(err)
		}
		write(t, dir+"/"+host+"/hosts.toml", "server=\"http://"+host+"\"\n[header]\nX-Secret=\"s\"\n")
		c := client(t, func(o *registry.Options) {
			o.Credentials = as(host, "u", "p")
			o.Hosts = table(t, hosts.Options{HostDirs: []string{dir}})
		})
		r := parse(t, host+"/a")
		if _, _, err := c.Resolve(t.Context(), r); err != nil {
			t.Fatal(err)
		}
		b, err := c.Blob(t.Context(), r, img.Layers[0], 0)
		whole(t, b, err, data)
		clean(t, trap, true)
		if last := s.Requests(); last[len(last)-1].Authorization == "" || last[len(last)-1].Header.Get("X-Secret") == "" {
			t.Error("the registry got no credential or header: this test sees nothing")
		}
		// And back again: who was sent away does not come back as a friend.
		trap.Inject(fakereg.Fault{Kind: fakereg.Redirect, To: "http://" + host + "/back"})
		s.Forget()
		if b, err := c.Blob(t.Context(), r, img.Layers[0], 0); err == nil {
			b.Close()
			t.Error("the way back gave a blob")
		}
		for _, q := range s.Requests() {
			if strings.HasPrefix(q.Path, "/back") && q.Authorization != "" {
				t.Error("the credential was taken up again after a redirect from another host")
			}
		}
	}
}

// Another host that answers a redirect with 401 gets nothing for it.
func TestChallengeOfAnotherHost(t *testing.T) {
	s, host := serve(t)
	trap, trapHost := serve(t)
	s.RequireBasic("u", "p")
	img := s.AddImage("a", "latest", "", v1.Image{}, noise(10, 1))
	trap.RequireBasic("u", "p")
	trap.AddBlob("a", noise(10, 1))
	s.Inject(fakereg.Fault{Kind: fakereg.Redirect, Path: "/blobs/", To: "http://" + trapHost})
	c := client(t, func(o *registry.Options) { o.Credentials = as(host, "u", "p") })
	if _, err := c.Blob(t.Context(), parse(t, host+"/a"), img.Layers[0], 0); !fault.Is(err, fault.Permission) {
		t.Errorf("%v", err)
	}
	clean(t, trap, true)
}

// Nor may its challenge name the token server that gets our credential.
func TestChallengeOfAnotherHostNamesNoTokenServer(t *testing.T) {
	s, host, ca := serveTLS(t)
	trap, trapHost, trapCA := serveTLS(t)
	s.RequireBasic("u", "p")
	img := s.AddImage("a", "latest", "", v1.Image{}, noise(10, 1))
	trap.RequireToken("u", "p", "", true, 0)
	s.Inject(fakereg.Fault{Kind: fakereg.Redirect, Path: "/blobs/", To: "https://" + trapHost})
	c := client(t, func(o *registry.Options) {
		o.Credentials = as(host, "u", "p")
		o.Hosts = table(t, certs(t, map[string]string{host: ca, trapHost: trapCA}))
	})
	if _, err := c.Blob(t.Context(), parse(t, host+"/a"), img.Layers[0], 0); !fault.Is(err, fault.Permission) {
		t.Errorf("%v", err)
	}
	clean(t, trap, true)
	if n := trap.Count("", "/token"); n != 0 {
		t.Errorf("a token was fetched from the other host")
	}
}

func TestNoWayFromHTTPSToHTTP(t *testing.T) {
	s, host, ca := serveTLS(t)
	trap, trapHost := serve(t)
	data := noise(10, 1)
	img := s.AddImage("a", "latest", "", v1.Image{}, data)
	trap.AddBlob("a", data)
	c := client(t, func(o *registry.Options) { o.Hosts = table(t, certs(t, map[string]string{host: ca})) })
	s.Inject(fakereg.Fault{Kind: fakereg.Redirect, Path: "/blobs/", To: "http://" + trapHost})
	r := parse(t, host+"/a")
	if _, err := c.Blob(t.Context(), r, img.Layers[0], 0); !fault.Is(err, fault.Invalid) || !strings.Contains(err.Error(), "from https to http://"+trapHost) {
		t.Errorf("redirect: %v", err)
	}
	s.Heal()
	s.RequireToken("u", "p", "http://"+trapHost+"/token", true, 0)
	if _, _, err := c.Resolve(t.Context(), r); !fault.Is(err, fault.Permission) || !strings.Contains(err.Error(), "from https to http") {
		t.Errorf("realm: %v", err)
	}
	if n := len(trap.Requests()); n != 0 {
		t.Errorf("the other host was asked %d times", n)
	}
	// A proxy in front makes registries name themselves by http: that is mended.
	s.RequireBasic("u", "p")
	s.Inject(fakereg.Fault{Kind: fakereg.Redirect, Path: "/blobs/", Times: 1, To: "http://" + host})
	c = client(t, func(o *registry.Options) {
		o.Hosts = table(t, certs(t, map[string]string{host: ca}))
		o.Credentials = as(host, "u", "p")
	})
	b, err := c.Blob(t.Context(), r, img.Layers[0], 0)
	whole(t, b, err, data)
}

func TestTokenServerOnAnotherHost(t *testing.T) {
	// Verified registry, https token server elsewhere: as at Docker Hub.
	s, host, ca := serveTLS(t)
	tokens, tokenHost, tokenCA := serveTLS(t)
	s.AddImage("a", "latest", "", v1.Image{})
	r := parse(t, host+"/a")
	trusted := certs(t, map[string]string{host: ca, tokenHost: tokenCA})
	s.RequireToken("u", "p", "https://"+tokenHost+"/token", false, 0)
	tokens.RequireToken("u", "p", "", false, 0)
	c := client(t, func(o *registry.Options) { o.Credentials, o.Hosts = as(host, "u", "p"), table(t, trusted) })
	_, _, err := c.Resolve(t.Context(), r)
	// The two servers share no tokens, so the pull fails; the token was given.
	if !fault.Is(err, fault.Permission) || tokens.Count("GET", "/token") == 0 || tokens.Requests()[0].Authorization == "" {
		t.Errorf("as at Docker Hub: %v, %d", err, tokens.Count("GET", "/token"))
	}

	// The same, but the registry was not verified.
	tokens.Forget()
	unverified := trusted
	unverified.Insecure = []string{host}
	c = client(t, func(o *registry.Options) { o.Credentials, o.Hosts = as(host, "u", "p"), table(t, unverified) })
	if _, _, err := c.Resolve(t.Context(), r); !fault.Is(err, fault.Permission) || !strings.Contains(err.Error(), "not verified") {
		t.Errorf("unverified registry: %v", err)
	}
	clean(t, tokens, false)

	// A plain registry, a plain token server elsewhere.
	plain, plainHost := serve(t)
	trap, trapHost := serve(t)
	plain.AddImage("a", "latest", "", v1.Image{})
	plain.RequireToken("u", "p", "http://"+trapHost+"/token", true, 0)
	trap.RequireToken("u", "p", "", true, 0)
	c = client(t, func(o *registry.Options) { o.Credentials = as(plainHost, "u", "p") })
	if _, _, err := c.Resolve(t.Context(), parse(t, plainHost+"/a")); !fault.Is(err, fault.Permission) || !strings.Contains(err.Error(), "not by https") {
		t.Errorf("plain token server: %v", err)
	}
	if n := len(trap.Requests()); n != 0 {
		t.Errorf("it was asked %d times", n)
	}
}

func TestTokenRequestFollowsNoRedirect(t *testing.T) {
	s, host := serve(t)
	trap, trapHost := serve(t)
	s.AddImage("a", "latest", "", v1.Image{})
	s.RequireToken("u", "p", "", false, 0)
	s.Inject(fakereg.Fault{Kind: fakereg.Redirect, Path: "/token", To: "http://" + trapHost})
	c := client(t, func(o *registry.Options) { o.Credentials = as(host, "u", "p") })
	if _, _, err := c.Resolve(t.Context(), parse(t, host+"/a")); err == nil || !strings.Contains(err.Error(), "status 307") {
		t.Errorf("%v", err)
	}
	if n := len(trap.Requests()); n != 0 {
		t.Errorf("it was asked %d times", n)
	}
}

// A registry gets only its own credential, and a mirror gets the mirror's.
func TestCredentialIsBoundToItsRegistry(t *testing.T) {
	s, host := serve(t)
	mirror, mirrorHost := serve(t)
	s.AddImage("a", "latest", "", v1.Image{})
	s.RequireBasic("u", "p")
	mirror.RequireBasic("u", "p")
	conf := t.TempDir() + "/registries.conf"
	write(t, conf, "[[registry]]\nlocation=\""+host+"\"\ninsecure=true\n[[registry.mirror]]\nlocation=\""+mirrorHost+"\"\ninsecure=true\n")
	c := client(t, func(o *registry.Options) {
		o.Credentials = as(host, "u", "p")
		o.Hosts = table(t, hosts.Options{RegistriesConf: conf})
	})
	if _, ep, err := c.Resolve(t.Context(), parse(t, host+"/a")); err != nil || ep.Host != host {
		t.Errorf("%v %v", ep, err)
	}
	clean(t, mirror, true)
}

// The `urls` of a descriptor are read by nobody in particular.
func TestForeignLayersAreReadAnonymously(t *testing.T) {
	s, host := serve(t)
	other, otherHost := serve(t)
	s.RequireBasic("u", "p")
	s.AddImage("a", "latest", "", v1.Image{})
	data := noise(1000, 5)
	desc := other.AddBlob("x", data)
	other.Inject(fakereg.Fault{Kind: fakereg.Reset, After: 500, Times: 1})
	desc.URLs = []string{"file:///etc/passwd", "http://u:p@" + otherHost + "/x", "http://" + otherHost + "/v2/x/blobs/" + string(desc.Digest)}
	c := client(t, func(o *registry.Options) { o.Credentials = as(host, "u", "p") })
	b, err := c.Blob(t.Context(), parse(t, host+"/a"), desc, 0)
	whole(t, b, err, data)
	clean(t, other, true)
	// The registry's own address among them is asked without credential too.
	s.Forget()
	desc = blobOf(noise(10, 6))
	desc.URLs = []string{"http://" + host + "/v2/a/manifests/latest"}
	if b, err := c.Blob(t.Context(), parse(t, host+"/a"), desc, 0); err == nil {
		b.Close()
		t.Error("a foreign address was read with our credential")
	}
	for _, q := range s.Requests() {
		if strings.Contains(q.Path, "/manifests/") && q.Authorization != "" {
			t.Error("a foreign address got the credential")
		}
	}
}

// An upload that is continued elsewhere gets the bytes, not the credential.
func TestUploadElsewhereGetsNoSecret(t *testing.T) {
	s, host := serve(t)
	trap, trapHost := serve(t)
	s.RequireBasic("u", "p")
	s.Inject(fakereg.Fault{Kind: fakereg.Headers, Method: "POST", Path: "/uploads", Header: map[string]string{"Location": "http://" + trapHost + "/v2/a/blobs/uploads/u1"}})
	c := client(t, func(o *registry.Options) { o.Credentials, o.Retries = as(host, "u", "p"), -1 })
	data := noise(10, 1)
	if err := c.PushBlob(t.Context(), parse(t, host+"/a"), blobOf(data), opener(data), nil); err == nil {
		t.Error("the trap has no such upload")
	}
	clean(t, trap, true)
}

func TestAddressesInMessagesHaveNoQuery(t *testing.T) {
	s, host := serve(t)
	other, otherHost := serve(t)
	img := s.AddImage("a", "latest", "", v1.Image{}, noise(10, 1))
	other.Inject(fakereg.Fault{Kind: fakereg.Answer, Status: 403})
	s.Inject(fakereg.Fault{Kind: fakereg.Redirect, Path: "/blobs/", To: "http://user:pw@" + otherHost + "/store?sig=TOPSECRET&x="})
	c := client(t, nil)
	_, err := c.Blob(t.Context(), parse(t, host+"/a"), img.Layers[0], 0)
	if err == nil || strings.Contains(err.Error(), "TOPSECRET") || strings.Contains(err.Error(), "pw") {
		t.Errorf("%v", err)
	}
	clean(t, other, true)
}
