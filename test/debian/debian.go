// Package debian is Docker Hub for tests: a registry of ours that answers for it by the mirror setting and has real
// images there. They are Debian's own packages, put into root file systems by mmdebstrap (the script root, which keeps
// them for the next run), and Debian's static busybox. It also is a machine on which a txtar script is typed, with a
// store of its own. It belongs to the tests, outside the rows.
package debian

import (
	"fmt"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"berth/test/fakereg"
	"berth/test/netns"
)

// Hub is the registry. Its images are ubuntu, debian and busybox.
type Hub struct {
	*fakereg.Server
	http *httptest.Server
}

// made is when the images say that they were made.
var made = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

const path = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// Open makes the registry, which goes with the test. The test is in a network of its own (netns), whose loopback it wakes.
func Open(t testing.TB) *Hub {
	t.Helper()
	netns.Need(t)
	if _, err := netns.Run("ip", "link", "set", "lo", "up"); err != nil {
		t.Fatal(err)
	}
	h := &Hub{Server: fakereg.New()}
	base := h.root(t, "base")
	config := v1.ImageConfig{Cmd: []string{"bash"}, Env: []string{path}}
	for _, name := range []string{"debian:latest", "debian:bookworm"} {
		h.add(name, config, base, nil)
	}
	h.add("ubuntu:latest", config, base, map[string]string{"usr/local/bin/hello": "#!/bin/sh\necho hello\n"})
	h.busybox(t)
	h.AddFound(
		fakereg.Found{Name: "ubuntu", Description: "Ubuntu is a Debian-based Linux operating system based on free software.", Stars: 16000, Official: true},
		fakereg.Found{Name: "someone/ubuntu-bits", Description: "Bits of Ubuntu", Stars: 3},
	)
	h.http = h.Start()
	t.Cleanup(h.http.Close)
	return h
}

// Mirror is the registry's URL.
func (h *Hub) Mirror() string { return h.http.URL }

// Root is a root file system as a layer: a file, its digest, and that of its tar.
type Root struct {
	File           string
	Digest, DiffID digest.Digest
}

// root builds a root file system, or finds it built.
func (h *Hub) root(t testing.TB, name string) Root {
	t.Helper()
	_, here, _, _ := runtime.Caller(0)
	cmd := exec.Command(filepath.Join(filepath.Dir(here), "root"), name)
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("build the root file system %s: %v", name, err)
	}
	dir := strings.TrimSpace(string(out))
	text := func(name string) digest.Digest {
		data, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		return digest.Digest(strings.TrimSpace(string(data)))
	}
	return Root{filepath.Join(dir, "layer"), text("digest"), text("diffid")}
}

// add puts an image below library/: a root, and a layer above it if there are files.
func (h *Hub) add(name string, config v1.ImageConfig, root Root, files map[string]string) {
	repository, tag, _ := strings.Cut("library/"+name, ":")
	layers := []v1.Descriptor{h.file(repository, root)}
	image := v1.Image{Created: &made, Config: config, History: []v1.History{{Created: &made, CreatedBy: "mmdebstrap"}}}
	image.RootFS = v1.RootFS{Type: "layers", DiffIDs: []digest.Digest{root.DiffID}}
	if files != nil {
		blob, diff := fakereg.Layer(files)
		d := h.AddBlob(repository, blob)
		d.MediaType = v1.MediaTypeImageLayerGzip
		layers = append(layers, d)
		image.RootFS.DiffIDs = append(image.RootFS.DiffIDs, diff)
		image.History = append(image.History, v1.History{Created: &made, CreatedBy: "COPY . /"})
	}
	h.AddImageOf(repository, tag, image, layers...)
}

func (h *Hub) file(repository string, root Root) v1.Descriptor {
	d, err := h.AddFile(repository, root.File, root.Digest)
	if err != nil {
		panic(fmt.Sprintf("a root file system is gone: %v", err)) // it was there a moment ago
	}
	return d
}

// busybox adds an image of Debian's static busybox, under all its names.
func (h *Hub) busybox(t testing.TB) {
	t.Helper()
	program, err := os.ReadFile("/bin/busybox")
	if err != nil {
		t.Fatalf("%v: install busybox-static", err)
	}
	names, err := exec.Command("/bin/busybox", "--list").Output()
	if err != nil {
		t.Fatal(err)
	}
	files := map[string]string{
		"bin/busybox": string(program), "etc/passwd": "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/home:/bin/false\n",
		"etc/group": "root:x:0:\nnogroup:x:65534:\n", "root/": "", "tmp/": "",
	}
	for name := range strings.FieldsSeq(string(names)) {
		if name != "busybox" {
			files["bin/"+name] = "-> busybox"
		}
	}
	blob, diff := fakereg.Layer(files)
	image := v1.Image{Created: &made, Config: v1.ImageConfig{Cmd: []string{"sh"}, Env: []string{path}}}
	image.RootFS = v1.RootFS{Type: "layers", DiffIDs: []digest.Digest{diff}}
	image.History = []v1.History{{Created: &made, CreatedBy: "busybox --install"}}
	h.AddImage("library/busybox", "latest", "", image, blob)
}
