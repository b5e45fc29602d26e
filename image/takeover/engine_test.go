package takeover

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/opencontainers/go-digest"
	"golang.org/x/sys/unix"

	"berth/image/manifest"
)

// engine is another engine's command line, with a store of its own. One that is
// not installed is a failure (tools/ci/packages.txt).
type engine struct {
	t    *testing.T
	args []string
	root string
}

func (e engine) run(args ...string) string {
	e.t.Helper()
	all := slices.Concat(e.args, args)
	c := exec.CommandContext(context.WithoutCancel(e.t.Context()), "timeout", append([]string{"60"}, all...)...)
	var stderr bytes.Buffer
	c.Stderr = &stderr
	out, err := c.Output()
	if err != nil {
		e.t.Fatalf("%s: %v\n%s%s", strings.Join(all, " "), err, out, stderr.String())
	}
	return strings.TrimSpace(string(out))
}

func needRoot(t *testing.T) {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("needs root: other engines")
	}
}

func podman(t *testing.T, driver string) engine {
	needRoot(t)
	dir := t.TempDir()
	t.Cleanup(func() { _ = unix.Unmount(dir+"/store/"+driver, unix.MNT_DETACH) }) // podman makes it a mount of its own
	return engine{t, []string{"podman", "--root", dir + "/store", "--runroot", dir + "/run", "--storage-driver", driver, "--cgroup-manager", "cgroupfs"}, dir + "/store"}
}

// docker starts a dockerd of its own, without a network.
func docker(t *testing.T, driver string) (e engine, stop func()) {
	needRoot(t)
	dir := t.TempDir()
	socket := "unix://" + dir + "/s"
	log, err := os.Create(filepath.Join(dir, "log"))
	if err != nil {
		t.Fatal(err)
	}
	d := exec.Command("dockerd", "--data-root", dir+"/data", "--exec-root", dir+"/exec", "--pidfile", dir+"/pid", "-H", socket,
		"--iptables=false", "--ip6tables=false", "--ip-forward=false", "--ip-masq=false", "--bridge=none", "--storage-driver", driver)
	d.Stdout, d.Stderr = log, log
	d.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM}
	if err := d.Start(); err != nil {
		t.Fatal(err)
	}
	stopped := false
	stop = func() {
		if stopped {
			return
		}
		stopped = true
		if err := d.Process.Signal(syscall.SIGTERM); err != nil {
			t.Error(err)
		}
		_ = d.Wait() // the signal ended it
	}
	t.Cleanup(func() {
		stop()
		log.Close()
		if text, _ := os.ReadFile(log.Name()); t.Failed() {
			t.Logf("%s", text[max(0, len(text)-2000):])
		}
	})
	for range 300 {
		if exec.Command("docker", "-H", socket, "version").Run() == nil {
			return engine{t, []string{"docker", "-H", socket}, dir + "/data"}, stop
		}
		time.Sleep(100 * time.Millisecond)
	}
	t.Fatal("dockerd does not answer")
	return engine{}, nil
}

// entry is one file of a layer: a name that ends in / is a folder.
type entry struct {
	name, text, link string
	kind             byte
	pax              map[string]string
}

func layerTar(t *testing.T, files ...entry) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, f := range files {
		h := &tar.Header{Name: f.name, Mode: 0o644, ModTime: time.Unix(1e9, 123456789), Typeflag: f.kind, Linkname: f.link, Size: int64(len(f.text)),
			Uid: 7, Gid: 8, Uname: "someone", PAXRecords: f.pax, Format: tar.FormatPAX}
		if f.kind == 0 {
			h.Typeflag = tar.TypeReg
		}
		if strings.HasSuffix(f.name, "/") {
			h.Typeflag, h.Mode = tar.TypeDir, 0o750
		}
		if err := w.WriteHeader(h); err != nil {
			t.Fatal(err)
		}
		fmt.Fprint(w, f.text)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	b.Write(make([]byte, 5*512)) // as some tools pad
	return b.Bytes()
}

// load makes an image of layers and gives its id.
func (e engine) load(names []string, layers ...[]byte) digest.Digest {
	e.t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	add := func(name string, data []byte) {
		if err := w.WriteHeader(&tar.Header{Name: name, Size: int64(len(data)), Mode: 0o644}); err != nil {
			e.t.Fatal(err)
		}
		if _, err := w.Write(data); err != nil {
			e.t.Fatal(err)
		}
	}
	var diffs, files []string
	for i, l := range layers {
		files = append(files, fmt.Sprintf("%d.tar", i))
		diffs = append(diffs, fmt.Sprintf("sha256:%x", sha256.Sum256(l)))
		add(files[i], l)
	}
	config, _ := json.Marshal(map[string]any{"architecture": "amd64", "os": "linux", "config": map[string]any{"Cmd": []string{"/bin/sh"}},
		"rootfs": map[string]any{"type": "layers", "diff_ids": diffs}})
	add("config.json", config)
	list, _ := json.Marshal([]any{map[string]any{"Config": "config.json", "RepoTags": names, "Layers": files}})
	add("manifest.json", list)
	w.Close()
	file := filepath.Join(e.t.TempDir(), "image.tar")
	if err := os.WriteFile(file, b.Bytes(), 0o600); err != nil {
		e.t.Fatal(err)
	}
	e.run("load", "-q", "-i", file)
	return digest.FromBytes(config)
}

// fill makes images of all kinds in an engine and tells their names by id.
func (e engine) fill() map[digest.Digest][]string {
	e.t.Helper()
	prefix := "localhost/"
	busybox, err := os.ReadFile("/bin/busybox")
	if err != nil {
		e.t.Fatalf("needs the package busybox-static: %v", err)
	}
	long := strings.Repeat("long/", 50)
	one := layerTar(e.t, entry{name: "bin/"}, entry{name: "bin/busybox", text: string(busybox)}, entry{name: "bin/sh", link: "busybox", kind: tar.TypeSymlink},
		entry{name: "etc/"}, entry{name: "etc/a", text: "a"}, entry{name: "etc/hard", link: "etc/a", kind: tar.TypeLink}, entry{name: "fifo", kind: tar.TypeFifo},
		entry{name: "lib", link: "usr/lib", kind: tar.TypeSymlink}, entry{name: "usr/"}, entry{name: "usr/lib/"}, entry{name: "lib/through", text: "a link"},
		entry{name: "empty"}, entry{name: long + "name", text: "deep"}, entry{name: "\u00fc \xff\xfe", text: "no UTF-8"},
		entry{name: "x", text: "x", pax: map[string]string{"SCHILY.xattr.user.a": "b"}})
	two := layerTar(e.t, entry{name: "etc/.wh.a"}, entry{name: "usr/"}, entry{name: "usr/.wh..wh..opq"}, entry{name: "usr/new", text: "new"})
	want := map[digest.Digest][]string{}
	names := []string{prefix + "two:v1", prefix + "corp/zwei:latest", prefix + "two:v2"}
	want[e.load(names, one, two)] = []string{prefix + "corp/zwei:latest", prefix + "two:v1", prefix + "two:v2"}
	want[e.load([]string{prefix + "one:latest"}, one)] = []string{prefix + "one:latest"}
	dangling := e.load([]string{prefix + "gone:latest"}, two)
	want[dangling] = nil
	want[e.load([]string{prefix + "gone:latest"}, two, one)] = []string{prefix + "gone:latest"}
	// Another tool's tar, imported; and a layer that the engine made itself.
	dir := e.t.TempDir()
	for _, name := range []string{"a", "b"} {
		if err := os.WriteFile(filepath.Join(dir, name), bytes.Repeat([]byte(name), 100_000), 0o644); err != nil {
			e.t.Fatal(err)
		}
	}
	file := filepath.Join(e.t.TempDir(), "root.tar")
	engine{e.t, nil, ""}.run("tar", "-C", dir, "-cf", file, ".")
	imported := lastLine(e.run("import", file, prefix+"imported:latest"))
	want[digest.NewDigestFromEncoded(digest.SHA256, imported)] = []string{prefix + "imported:latest"}
	e.run("create", "--name", "container", prefix+"one:latest", "/bin/sh")
	e.run("cp", file, "container:/copied.tar")
	made := lastLine(e.run("commit", "container", prefix+"committed:latest"))
	want[digest.NewDigestFromEncoded(digest.SHA256, made)] = []string{prefix + "committed:latest"}
	return want
}

func lastLine(text string) string {
	text = text[strings.LastIndexByte(text, '\n')+1:]
	return strings.TrimPrefix(text, "sha256:")
}

// taken reads a whole store: names by id, each layer's bytes verified by a
// digest of our own.
func taken(t *testing.T, kind, root string) (names map[digest.Digest][]string, troubles []error) {
	t.Helper()
	s, err := Open(kind, root)
	if err != nil {
		return nil, []error{err}
	}
	defer s.Close()
	names = map[digest.Digest][]string{}
	for img, err := range s.Images(t.Context()) {
		if err == nil {
			err = readLayers(t, img)
		}
		if err != nil {
			troubles = append(troubles, err)
			continue
		}
		if _, twice := names[img.ID]; twice {
			t.Errorf("image %s comes twice", img.ID)
		}
		names[img.ID] = nil
		for _, n := range img.Names {
			names[img.ID] = append(names[img.ID], n.String())
		}
	}
	return names, troubles
}

func readLayers(t *testing.T, img Image) error {
	t.Helper()
	config, err := manifest.DecodeConfig(img.Config)
	if err != nil || digest.FromBytes(img.Config) != img.ID {
		t.Errorf("image %s: configuration %s, %v", img.ID, digest.FromBytes(img.Config), err)
	}
	if len(config.RootFS.DiffIDs) != len(img.Layers) {
		t.Errorf("image %s: %d layers of %d", img.ID, len(img.Layers), len(config.RootFS.DiffIDs))
	}
	for i, l := range img.Layers {
		r, err := l.Open(t.Context())
		if err != nil {
			return err
		}
		h := sha256.New()
		n, err := io.Copy(h, r)
		if cerr := r.Close(); err == nil {
			err = cerr
		}
		if err != nil {
			return err
		}
		if got := digest.NewDigest(digest.SHA256, h); got != l.DiffID || got != config.RootFS.DiffIDs[i] || l.Size >= 0 && n != l.Size {
			t.Errorf("image %s, layer %s: %d bytes of %s, not %d of %s", img.ID, l.DiffID, n, got, l.Size, config.RootFS.DiffIDs[i])
		}
	}
	return nil
}

func TestDocker(t *testing.T) {
	for _, driver := range []string{"overlay2", "vfs"} {
		t.Run(driver, func(t *testing.T) {
			d, stop := docker(t, driver)
			want := d.fill()
			for _, state := range []string{"running", "stopped"} {
				if state == "stopped" {
					stop()
				}
				got, troubles := taken(t, Docker, d.root)
				if diff := cmp.Diff(want, got); diff != "" || len(troubles) > 0 {
					t.Errorf("%s: %v\n%s", state, troubles, diff)
				}
			}
		})
	}
}

func TestPodman(t *testing.T) {
	for _, driver := range []string{"overlay", "vfs"} {
		t.Run(driver, func(t *testing.T) {
			p := podman(t, driver)
			want := p.fill()
			got, troubles := taken(t, Podman, p.root)
			if diff := cmp.Diff(want, got); diff != "" || len(troubles) > 0 {
				t.Errorf("%v\n%s", troubles, diff)
			}
			p.run("manifest", "create", "list")
			got, troubles = taken(t, Podman, p.root)
			if diff := cmp.Diff(want, got); diff != "" || len(troubles) != 1 || !strings.Contains(troubles[0].Error(), `["localhost/list:latest"]: it is a list of images`) {
				t.Errorf("with a list: %v\n%s", troubles, diff)
			}
		})
	}
}
