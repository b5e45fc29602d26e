package docker

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"berth/test/fakereg"
	"berth/test/netns"
)

// farAddress is one that neither program takes for the machine's own, so that a
// registry there has to speak TLS.
const farAddress = "10.77.0.1"

// startRegistries starts the registries that the lines name: $REG is open,
// $CLOSED has the user u with the password p, $SICK answers none of what it is
// asked for, $FAR speaks no TLS, $SECURE speaks it with a certificate that only
// $CERTS knows. All have team/hello:1, and multi:1 for several platforms; $SEVERAL is
// an archive of that.
func startRegistries(t *testing.T) []string {
	t.Helper()
	if _, err := netns.Run("ip", "addr", "add", farAddress+"/32", "dev", "lo"); err != nil {
		t.Fatal(err)
	}
	certs := t.TempDir()
	certificate := selfSigned(t, filepath.Join(certs, "ca.crt"))
	var words []string
	serve := func(word, address string, s *fakereg.Server, encrypted bool) {
		l, err := net.Listen("tcp", address+":0")
		if err != nil {
			t.Fatal(err)
		}
		h := httptest.NewUnstartedServer(s)
		h.Listener.Close()
		h.Listener = l
		if encrypted {
			h.TLS = &tls.Config{Certificates: []tls.Certificate{certificate}}
			h.StartTLS()
		} else {
			h.Start()
		}
		t.Cleanup(func() { h.CloseClientConnections(); h.Close() })
		words = append(words, word, l.Addr().String())
	}
	closed, sick := stocked(t), stocked(t)
	closed.RequireBasic("u", "p")
	sick.Inject(fakereg.Fault{Kind: fakereg.Answer, Path: "/v2/", Status: http.StatusServiceUnavailable})
	serve("$REG", "127.0.0.1", stocked(t), false)
	serve("$CLOSED", "127.0.0.1", closed, false)
	serve("$SICK", "127.0.0.1", sick, false)
	serve("$FAR", farAddress, stocked(t), false)
	serve("$SECURE", farAddress, stocked(t), true)
	return append(words, "$CERTS", certs, "$SEVERAL", platforms(t, stocked(t)))
}

// stocked is a registry with two images.
func stocked(t *testing.T) *fakereg.Server {
	t.Helper()
	s := fakereg.New()
	add := func(repository, tag string, p v1.Platform) v1.Descriptor {
		blob, diff := layer(t, strings.Join([]string{repository, p.Architecture, p.Variant}, " "))
		made := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
		c := v1.Image{Created: &made, Platform: p, Config: v1.ImageConfig{Cmd: []string{"/hello"}}}
		c.RootFS = v1.RootFS{Type: "layers", DiffIDs: []digest.Digest{diff}}
		d := s.AddImage(repository, tag, "", c, blob).Manifest
		d.Platform = &p
		return d
	}
	add("team/hello", "1", v1.Platform{OS: "linux", Architecture: "amd64"})
	index := v1.Index{MediaType: v1.MediaTypeImageIndex}
	index.SchemaVersion = 2
	for _, p := range []v1.Platform{
		{OS: "linux", Architecture: "amd64"}, {OS: "linux", Architecture: "arm64"},
		{OS: "linux", Architecture: "arm", Variant: "v7"}, {OS: "linux", Architecture: "arm", Variant: "v6"},
	} {
		index.Manifests = append(index.Manifests, add("multi", "", p))
	}
	data, err := json.Marshal(index)
	if err != nil {
		t.Fatal(err)
	}
	s.AddManifest("multi", "1", v1.MediaTypeImageIndex, data)
	s.AddFound(
		fakereg.Found{Name: "ubuntu", Description: "Ubuntu is a Debian-based Linux operating system based on free software.", Stars: 16000, Official: true},
		fakereg.Found{Name: "someone/ubuntu", Description: "mine", Stars: 3})
	return s
}

// layer is a compressed tar of one file, with the digest of what is in it.
func layer(t *testing.T, text string) ([]byte, digest.Digest) {
	t.Helper()
	var plain, packed bytes.Buffer
	w := tar.NewWriter(&plain)
	if err := w.WriteHeader(&tar.Header{Name: "hello", Mode: 0o755, Size: int64(len(text))}); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write([]byte(text)); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	z := gzip.NewWriter(&packed)
	if _, err := z.Write(plain.Bytes()); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return packed.Bytes(), digest.FromBytes(plain.Bytes())
}

// selfSigned makes a certificate for the far address and writes it to a file.
func selfSigned(t *testing.T, file string) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour), IsCA: true,
		BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign, IPAddresses: []net.IP{net.ParseIP(farAddress)},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o644); err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}
