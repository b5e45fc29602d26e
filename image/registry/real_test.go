package registry_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	crand "crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/opencontainers/image-spec/specs-go"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"berth/base/fault"
	"berth/image/registry"
	"berth/image/registry/credential"
	"berth/image/registry/hosts"
	"berth/test/peer"
)

// authority signs certificates for loopback.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	pem  []byte
}

func makeCA(t *testing.T) *authority {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), crand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "berth test"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}
	der, err := x509.CreateCertificate(crand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	cert, _ := x509.ParseCertificate(der)
	return &authority{cert, key, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})}
}

func (a *authority) issue(t *testing.T, certFile, keyFile string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), crand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "127.0.0.1"}, IPAddresses: []net.IP{{127, 0, 0, 1}},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(crand.Reader, template, a.cert, &key.PublicKey, a.key)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	write(t, certFile, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})))
	write(t, keyFile, string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: raw})))
}

// The password of the user "u" is "p": htpasswd -nbB u p.
const htpasswd = "u:$2y$05$d.xY.pF4mwBvInJN6plqPeOGj1Arv3TYlxCimPE5e9Ua9aQDdC34e\n"

// debian starts Debian's docker-registry on loopback.
func debian(t *testing.T, tls *authority, auth bool) (host string) {
	t.Helper()
	var door peer.Door
	if tls != nil {
		dir := t.TempDir()
		door.Cert, door.Key = dir+"/cert.pem", dir+"/key.pem"
		tls.issue(t, door.Cert, door.Key)
	}
	if auth {
		door.Htpasswd = htpasswd
	}
	return peer.Registry(t, door)
}

func TestDebiansRegistry(t *testing.T) {
	for _, k := range []struct {
		name      string
		tls, auth bool
	}{{"plain", false, false}, {"htpasswd", false, true}, {"TLS and htpasswd", true, true}} {
		t.Run(k.name, func(t *testing.T) {
			var ca *authority
			if k.tls {
				ca = makeCA(t)
			}
			host := debian(t, ca, k.auth)
			o := registry.Options{Delay: 2 * time.Millisecond, Stall: 10 * time.Second}
			if k.tls {
				file := t.TempDir() + "/ca"
				write(t, file, string(ca.pem))
				o.Hosts = table(t, certs(t, map[string]string{host: file}))
			}
			if k.auth {
				stranger := registry.New(o)
				if err := stranger.Ping(t.Context(), host); !fault.Is(err, fault.Permission) || !strings.Contains(err.Error(), "unauthorized: authentication required") {
					t.Errorf("a stranger: %v", err)
				}
				if _, err := stranger.Login(t.Context(), host, credential.Credential{Username: "u", Password: "no"}); !fault.Is(err, fault.Permission) {
					t.Errorf("a wrong password: %v", err)
				}
				if _, err := stranger.Login(t.Context(), host, credential.Credential{Username: "u", Password: "p"}); err != nil {
					t.Errorf("login: %v", err)
				}
				o.Credentials = as(host, "u", "p")
			}
			pushAndPull(t, registry.New(o), host)
		})
	}
}

func pushAndPull(t *testing.T, c *registry.Client, host string) {
	defer c.Close()
	ctx := t.Context()
	if err := c.Ping(ctx, host); err != nil {
		t.Fatalf("ping: %v", err)
	}
	r := parse(t, host+"/team/app:v1")
	layer, config := noise(3<<20, 21), []byte(`{"architecture":"amd64","os":"linux","rootfs":{"type":"layers","diff_ids":[]}}`)
	m := v1.Manifest{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: v1.MediaTypeImageManifest}
	for _, b := range [][]byte{config, layer} {
		desc := blobOf(b)
		if have, err := c.Exists(ctx, r, desc); have || err != nil {
			t.Fatalf("exists before: %v %v", have, err)
		}
		if err := c.PushBlob(ctx, r, desc, opener(b), nil); err != nil {
			t.Fatalf("push: %v", err)
		}
		if have, err := c.Exists(ctx, r, desc); !have || err != nil {
			t.Fatalf("exists after: %v %v", have, err)
		}
	}
	m.Config, m.Layers = blobOf(config), []v1.Descriptor{blobOf(layer)}
	m.Config.MediaType, m.Layers[0].MediaType = v1.MediaTypeImageConfig, v1.MediaTypeImageLayer
	raw, _ := json.Marshal(m)
	d, err := c.PushManifest(ctx, r, m.MediaType, raw)
	if err != nil {
		t.Fatalf("push manifest: %v", err)
	}
	desc, _, err := c.Resolve(ctx, r)
	if err != nil || desc.Digest != d || desc.MediaType != m.MediaType || desc.Size != int64(len(raw)) {
		t.Fatalf("resolve: %+v %v", desc, err)
	}
	if got, err := c.Manifest(ctx, r, desc); err != nil || !bytes.Equal(got, raw) {
		t.Fatalf("manifest: %v", err)
	}
	b, err := c.Blob(ctx, r, m.Layers[0], 0)
	whole(t, b, err, layer)
	b, err = c.Blob(ctx, r, m.Layers[0], 1<<20)
	whole(t, b, err, layer[1<<20:])
	b, err = c.BlobRange(ctx, r, m.Layers[0], 5, 1<<20)
	whole(t, b, err, layer[5:1<<20])
	other := parse(t, host+"/other/app:v1")
	if mounted, err := c.MountBlob(ctx, other, m.Layers[0], "team/app"); !mounted || err != nil {
		t.Errorf("mount: %v %v", mounted, err)
	}
	if mounted, err := c.MountBlob(ctx, other, blobOf([]byte("none")), "team/app"); mounted || err != nil {
		t.Errorf("mount of nothing: %v %v", mounted, err)
	}
	if tags, err := c.Tags(ctx, r); err != nil || !slices.Equal(tags, []string{"v1"}) {
		t.Errorf("tags: %v %v", tags, err)
	}
	if _, _, err := c.Resolve(ctx, parse(t, host+"/team/app:none")); !fault.Is(err, fault.NotFound) || !strings.Contains(err.Error(), "manifest for "+host+"/team/app:none not found: manifest unknown: manifest unknown") {
		t.Errorf("no such tag: %v", err)
	}
	if _, err := c.Search(ctx, host, "x", 0, nil); !fault.Is(err, fault.Unsupported) {
		t.Errorf("search: %v", err)
	}
	wrong := blobOf([]byte("right"))
	if err := c.PushBlob(ctx, r, wrong, opener([]byte("wrong")), nil); !fault.Is(err, fault.Invalid) || !strings.Contains(err.Error(), "digest invalid") {
		t.Errorf("other bytes than the digest's: %v", err)
	}
}

// A proxy before the real registry cuts the connection in the middle of a push
// and of a pull.
func TestDebiansRegistryBehindABadLine(t *testing.T) {
	behind := debian(t, nil, false)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	host := l.Addr().String()
	cut := make(chan int64, 16) // bytes after which a connection is cut
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			limit := int64(1 << 40)
			select {
			case limit = <-cut:
			default:
			}
			go relay(conn.(*net.TCPConn), behind, limit)
		}
	}()
	fresh := func() *registry.Client { return client(t, func(o *registry.Options) { o.Stall = 5 * time.Second }) }
	r := parse(t, host+"/a:1")
	data := noise(8<<20, 31)
	desc := blobOf(data)
	cut <- 1 << 40 // the try by TLS
	cut <- 3 << 20
	if err := fresh().PushBlob(t.Context(), r, desc, opener(data), nil); err != nil {
		t.Fatalf("push: %v", err)
	}
	for len(cut) > 0 {
		<-cut
	}
	cut <- 1 << 40
	cut <- 2 << 20
	cut <- 3 << 20
	b, err := fresh().Blob(t.Context(), r, desc, 0)
	whole(t, b, err, data)
	if len(cut) > 0 {
		t.Error("the line was not cut: this test sees nothing")
	}
}

// relay copies both ways and resets both after limit bytes.
func relay(conn *net.TCPConn, to string, limit int64) {
	defer conn.Close()
	other, err := net.Dial("tcp", to)
	if err != nil {
		return
	}
	defer other.Close()
	left := make(chan int64, 1)
	left <- limit
	pass := func(dst io.Writer, src io.Reader) {
		buf := make([]byte, 32<<10)
		for {
			n, err := src.Read(buf)
			have := <-left
			left <- have - int64(n)
			if have < int64(n) {
				_ = conn.SetLinger(0)
				break
			}
			if _, werr := dst.Write(buf[:n]); err != nil || werr != nil {
				break
			}
		}
		conn.Close()
		other.Close()
	}
	done := make(chan struct{})
	go func() { pass(other, conn); close(done) }()
	pass(conn, other)
	<-done
}

// Proxies are decided for each request.
func TestProxy(t *testing.T) {
	s, host := serve(t)
	s.AddImage("a", "latest", "", v1.Image{})
	proxy, err := url.Parse("http://" + host)
	if err != nil {
		t.Fatal(err)
	}
	c := client(t, func(o *registry.Options) {
		o.Proxy = http.ProxyURL(proxy)
		o.Hosts = table(t, hosts.Options{Insecure: []string{"r.invalid"}, Mirrors: nil})
		o.Retries = -1
	})
	// The fake registry as a proxy takes the absolute address for its own path;
	// it knows no CONNECT, so the try by TLS ends and plain http is used.
	if _, _, err := c.Resolve(t.Context(), parse(t, "r.invalid/a")); err != nil {
		t.Errorf("through the proxy: %v", err)
	}
}

// podman, Debian's, reads what we keep and we read what podman keeps; its
// registry's answer is Debian's too.
func TestPodmanSharesCredentials(t *testing.T) {
	podman, err := exec.LookPath("podman")
	if err != nil {
		t.Fatal("podman is not installed (tools/ci/packages.txt)")
	}
	host := debian(t, nil, true)
	file := t.TempDir() + "/auth.json"
	keeper := credential.New(credential.Options{Files: []string{file}})
	run := func(args ...string) string {
		t.Helper()
		out, err := exec.CommandContext(t.Context(), podman, append(args, "--authfile", file, host)...).CombinedOutput()
		if err != nil {
			t.Fatalf("podman %v: %v: %s", args, err, out)
		}
		return strings.TrimSpace(string(out))
	}
	if _, err := keeper.Save(t.Context(), host, credential.Credential{Username: "u", Password: "p"}); err != nil {
		t.Fatal(err)
	}
	if got := run("login", "--get-login"); got != "u" {
		t.Errorf("podman says %q is logged in", got)
	}
	run("logout")
	if c, err := keeper.Lookup(t.Context(), host, "a"); err != nil || !c.Empty() {
		t.Errorf("after podman's logout: %+v %v", c, err)
	}
	run("login", "--tls-verify=false", "-u", "u", "-p", "p")
	c := registry.New(registry.Options{Credentials: keeper.Lookup})
	defer c.Close()
	if err := c.Ping(t.Context(), host); err != nil {
		t.Errorf("with podman's login: %v", err)
	}
}

// Debian's own files of podman are read as they are.
func TestDebiansRegistriesConf(t *testing.T) {
	if _, err := os.Stat("/etc/containers/registries.conf"); err != nil {
		t.Fatal("podman is not installed (tools/ci/packages.txt)")
	}
	none := func(string) string { return "" }
	h := table(t, hosts.Podman(none, true, func(string) bool { return false }))
	names, alias := h.Candidates("debian")
	if !alias || len(names) != 1 || names[0] != "docker.io/library/debian" {
		t.Errorf("debian is %v (alias %v)", names, alias)
	}
}
