package diff

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"berth/test/peer"
)

// engine is docker or podman.
type engine struct {
	peer.Peer
	t *testing.T
}

func podman(t *testing.T) engine { return engine{peer.Podman(t, "overlay"), t} }
func docker(t *testing.T) engine { return engine{peer.Docker(t, "overlay2"), t} }

// folders opens what an engine says that an overlay consists of.
func (e engine) folders(object string) (upper *os.File, lower []*os.File) {
	e.t.Helper()
	top, below := e.Folders(object)
	for _, dir := range below {
		lower = append(lower, folder(e.t, dir))
	}
	return folder(e.t, top), lower
}

func folder(t *testing.T, path string) *os.File {
	t.Helper()
	f, err := os.OpenFile(path, unix.O_PATH|unix.O_DIRECTORY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

// load makes an image of layers, each a list of files as in layerTar.
func (e engine) load(name string, layers ...[]string) {
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
		data := layerTar(e.t, l)
		files = append(files, fmt.Sprintf("%d.tar", i))
		diffs = append(diffs, fmt.Sprintf("sha256:%x", sha256.Sum256(data)))
		add(files[i], data)
	}
	config, _ := json.Marshal(map[string]any{"architecture": "amd64", "os": "linux", "config": map[string]any{"Cmd": []string{"/bin/sh"}},
		"rootfs": map[string]any{"type": "layers", "diff_ids": diffs}})
	add("config.json", config)
	list, _ := json.Marshal([]any{map[string]any{"Config": "config.json", "RepoTags": []string{name}, "Layers": files}})
	add("manifest.json", list)
	w.Close()
	file := filepath.Join(e.t.TempDir(), "image.tar")
	if err := os.WriteFile(file, b.Bytes(), 0o600); err != nil {
		e.t.Fatal(err)
	}
	e.Run("load", "-q", "-i", file)
}

// layerTar takes lines "NAME[ MODE][ =TEXT | -> LINK | | | c]": a name that ends
// in / is a folder, | a fifo, c the device 1:3, == NAME a hard link.
func layerTar(t *testing.T, files []string) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, line := range files {
		name, rest, _ := strings.Cut(line, " ")
		h := &tar.Header{Name: name, Mode: 0o644, ModTime: time.Unix(1e9, 0), Typeflag: tar.TypeReg}
		var text string
		switch {
		case strings.HasSuffix(name, "/"):
			h.Typeflag, h.Mode = tar.TypeDir, 0o755
			if rest != "" {
				fmt.Sscanf(rest, "%o", &h.Mode)
			}
		case strings.HasPrefix(rest, "-> "):
			h.Typeflag, h.Linkname = tar.TypeSymlink, rest[3:]
		case strings.HasPrefix(rest, "== "):
			h.Typeflag, h.Linkname = tar.TypeLink, rest[3:]
		case rest == "|":
			h.Typeflag = tar.TypeFifo
		case rest == "c":
			h.Typeflag, h.Devmajor, h.Devminor = tar.TypeChar, 1, 3
		case rest == "busybox":
			data, err := os.ReadFile("/bin/busybox")
			if err != nil {
				t.Fatalf("needs the package busybox-static: %v", err)
			}
			text, h.Mode = string(data), 0o755
		default:
			text = strings.TrimPrefix(rest, "=")
		}
		h.Size = int64(len(text))
		if err := w.WriteHeader(h); err != nil {
			t.Fatal(err)
		}
		fmt.Fprint(w, text)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

var base = []string{"bin/", "bin/busybox busybox", "bin/sh -> busybox",
	"etc/", "etc/a =a", "etc/b =b", "etc/keep =k", "etc/deep/", "etc/deep/er/", "etc/deep/er/f =f",
	"op/", "op/x =x", "op/y =y", "op/sub/", "op/sub/z =z", "tmp/ 1777", "link -> etc/a", "hard == etc/a",
	"gone/", "gone/x =x", "gone/d/", "gone/d/y =y", "filetodir =x", "dirtofile/", "dirtofile/in =x",
	"same =same", "attr/", "attr/f =f", "sameattr/", "linktodir/", "linktodir/q =q", "dangling -> /nowhere/at/all",
	"d-x =1", "d/", "d/1 =1", "d.x =1", "opq2/", "opq2/a =a", "opq2/s/", "opq2/s/t =t", "re/", "re/a =a", "caps =c"}

var above = []string{"etc/", "etc/.wh.a", "etc/b =bb", "etc/new =n", "etc/deep/er/g =g", "etc/hosts =h", "run/", "run/x =x", "dev/", "proc/",
	"op/", "op/.wh..wh..opq", "op/y =y2", "op/w =w", "op/sub/", "op/sub/v =v", "tmp/ 1777",
	".wh.gone", "dirtofile =file", "same =same", "attr/ 700", "sameattr/", "linktodir -> etc",
	"newdir/", "newdir/n =n", "newdir/s/", "newdir/s/.wh.nothing", ".wh.never", "d-x =2", "d/1 =2", "d.x =2", "fifo |", "null c",
	"opq2/", "opq2/.wh..wh..opq", "re/.wh.a", "hard2 == etc/b", "newopq/", "newopq/.wh..wh..opq", "newopq/f =f"}

// work is what a container does.
const work = `cd /; bb() { /bin/busybox "$@"; }
bb mkdir -p q/a/b etc/x; bb touch q/f; echo a >etc/x/f; bb rm -r gone op; bb mkdir op op/sub; echo new >op/y
bb rm filetodir; bb mkdir filetodir; echo in >filetodir/in; bb rm -r dirtofile; echo f >dirtofile
bb chmod 700 attr; echo twice >>etc/deep/er/f; bb ln -sf /else dangling; bb rm etc/keep; bb mv d-x d/moved; bb ln etc/b etc/b2
bb chown 7:7 sameattr; bb touch etc/a; bb mkfifo pipe; bb rm opq2/s/t; bb mkdir opq2/s/u; bb rmdir opq2/s/u; bb rm re/a; echo a >re/a`

func lines(text string) []string {
	out := slices.DeleteFunc(strings.Split(text, "\n"), func(s string) bool { return s == "" })
	return out
}

func told(t *testing.T, list []Change, err error) []string {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, c := range list {
		out = append(out, string(c.Kind)+" "+c.Path)
	}
	return out
}

func TestDockersContainer(t *testing.T) {
	d := docker(t)
	d.load("two:latest", base, []string{"etc/", "etc/second =2", "opq2/", "opq2/.wh.a"})
	id := d.Run("create", "--network", "none", "two", "/bin/sh", "-c", work)
	d.Run("start", "-a", id)
	want := lines(d.Run("diff", id)) // in no order
	upper, lower := d.folders(id)
	list, err := Changes(t.Context(), upper, lower)
	got := told(t, list, err)
	inOrder(t, got)
	slices.Sort(want)
	slices.Sort(got)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("docker -, we +:\n%s", diff)
	}
	if len(want) < 25 {
		t.Errorf("docker says only %q", want)
	}
}

// inOrder: a folder goes before what is in it, else by name.
func inOrder(t *testing.T, list []string) {
	t.Helper()
	key := func(s string) string { return strings.ReplaceAll(s[2:], "/", "\x00") }
	if !slices.IsSortedFunc(list, func(a, b string) int { return strings.Compare(key(a), key(b)) }) {
		t.Errorf("not in order: %q", list)
	}
}

func TestPodmansImages(t *testing.T) {
	p := podman(t)
	p.load("localhost/one:latest", base)
	p.load("localhost/two:latest", base, above)
	p.load("localhost/three:latest", base, above, []string{"op/", "op/third =3", "gone/", "gone/back =b", "etc/", "etc/a =a", "newopq/", "newopq/.wh..wh..opq"})
	rules := Rules{Podman: true}
	for _, name := range []string{"one", "two", "three"} {
		upper, lower := p.folders("localhost/" + name)
		list, err := rules.Changes(t.Context(), upper, lower)
		if diff := cmp.Diff(lines(p.Run("diff", "localhost/"+name)), told(t, list, err)); diff != "" {
			t.Errorf("%s: podman -, we +:\n%s", name, diff)
		}
	}
	// Neither is the other's parent: podman compares the trees.
	p.load("localhost/other:latest", []string{"etc/", "etc/a =a", "etc/other =o", "bin/ 700", "dev/", "run/"})
	want := lines(p.Run("diff", "localhost/three", "localhost/other"))
	upper, lower := p.folders("localhost/three")
	other, _ := p.folders("localhost/other")
	list, err := rules.Between(t.Context(), append([]*os.File{upper}, lower...), []*os.File{other})
	got := told(t, list, err)
	inOrder(t, got)
	slices.Sort(want)
	slices.Sort(got)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("two images: podman -, we +:\n%s", diff)
	}
}

func TestPodmansContainer(t *testing.T) {
	p := podman(t)
	p.load("localhost/one:latest", base)
	p.Run("create", "--name", "c", "localhost/one:latest", "/bin/sh")
	tree := p.Run("mount", "c")
	t.Cleanup(func() { p.Run("unmount", "c") })
	// Not what podman itself fails at: a folder where a file was, a dangling link.
	script := strings.NewReplacer("cd /;", "cd "+tree+";", "bb rm filetodir; bb mkdir filetodir; echo in >filetodir/in;", "", "bb ln -sf /else dangling;", "").Replace(work)
	peer.Program(t, "/bin/sh", "-c", script).Run()
	upper, lower := p.folders("c")
	list, err := Rules{Podman: true}.Changes(t.Context(), upper, lower)
	if diff := cmp.Diff(lines(p.Run("diff", "c")), told(t, list, err)); diff != "" {
		t.Errorf("podman -, we +:\n%s", diff)
	}
}
