package container

import (
	"archive/tar"
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"berth/test/bundle"
)

// entry is one more file of an image: text, or where a link leads, or a folder.
type entry struct {
	name, text, link string
	mode             int64
}

// image makes an image of busybox, the probe and the intruder. The entries come
// first, so that a link stands in the place of one of its own files.
func (w *world) image(name string, entries []entry, changes ...string) {
	w.Helper()
	w.imported(name, w.rootfs(entries), changes...)
}

// bare makes one with the entries alone.
func (w *world) bare(name string, entries []entry, changes ...string) {
	w.Helper()
	var b bytes.Buffer
	out := tar.NewWriter(&b)
	for _, e := range entries {
		if err := out.WriteHeader(&tar.Header{Name: e.name, Typeflag: tar.TypeSymlink, Linkname: e.link, Mode: 0o777}); err != nil {
			w.Fatal(err)
		}
	}
	if err := out.Close(); err != nil {
		w.Fatal(err)
	}
	w.imported(name, b.Bytes(), changes...)
}

func (w *world) imported(name string, text []byte, changes ...string) {
	w.Helper()
	words := []string{"import", "-q"}
	for _, c := range changes {
		words = append(words, "-c", c)
	}
	c := w.cmd(append(words, "-", name)...)
	c.Stdin = bytes.NewReader(text)
	if o := w.finish(c); o.code != 0 {
		w.Fatalf("import %s: %s", name, o)
	}
}

func (w *world) rootfs(entries []entry) []byte {
	w.Helper()
	var b bytes.Buffer
	out := tar.NewWriter(&b)
	had := map[string]bool{}
	add := func(h tar.Header, data []byte) {
		if name := strings.Trim(h.Name, "/"); had[name] || had["link "+filepath.Dir(name)] {
			return
		} else if had[name] = true; h.Typeflag == tar.TypeSymlink {
			had["link "+name] = true
		}
		h.Size = int64(len(data))
		if err := out.WriteHeader(&h); err != nil {
			w.Fatal(err)
		}
		if _, err := out.Write(data); err != nil {
			w.Fatal(err)
		}
	}
	for _, e := range entries {
		switch {
		case e.link != "":
			add(tar.Header{Name: e.name, Typeflag: tar.TypeSymlink, Linkname: e.link, Mode: 0o777}, nil)
		case strings.HasSuffix(e.name, "/"):
			add(tar.Header{Name: e.name, Typeflag: tar.TypeDir, Mode: 0o755}, nil)
		default:
			add(tar.Header{Name: e.name, Mode: e.mode}, []byte(e.text))
		}
	}
	for _, dir := range []string{"bin", "etc", "proc", "sys", "dev", "mnt", "root", "usr", "usr/bin", "lib"} {
		add(tar.Header{Name: dir + "/", Typeflag: tar.TypeDir, Mode: 0o755}, nil)
	}
	add(tar.Header{Name: "tmp/", Typeflag: tar.TypeDir, Mode: 0o1777}, nil)
	for path, from := range w.programs() {
		data, err := os.ReadFile(from)
		if err != nil {
			w.Fatal(err)
		}
		mode := int64(0o755)
		if path == "setuid" {
			mode = 0o4755
		}
		add(tar.Header{Name: path, Mode: mode}, data)
	}
	applets, err := exec.Command("/bin/busybox", "--list").Output()
	if err != nil {
		w.Fatal(err)
	}
	for name := range strings.FieldsSeq(string(applets)) {
		add(tar.Header{Name: "bin/" + name, Typeflag: tar.TypeSymlink, Linkname: "busybox", Mode: 0o777}, nil)
	}
	add(tar.Header{Name: "etc/passwd", Mode: 0o644}, []byte("root:x:0:0:root:/root:/bin/sh\nuser:x:1000:1000::/:/bin/sh\n"))
	add(tar.Header{Name: "etc/group", Mode: 0o644}, []byte("root:x:0:\nuser:x:1000:\n"))
	if err := out.Close(); err != nil {
		w.Fatal(err)
	}
	return b.Bytes()
}

// programs are the image's, by where they come from on the host.
func (w *world) programs() map[string]string {
	w.Helper()
	probe, err := bundle.Probe()
	if err != nil {
		w.Fatal(err)
	}
	return map[string]string{"bin/busybox": "/bin/busybox", "probe": probe, "intruder": w.intruder(), "setuid": w.intruder()}
}

func (w *world) intruder() string {
	w.Helper()
	path, err := bundle.Build("test/attack/container/intruder", "intruder")
	if err != nil {
		w.Fatal(err)
	}
	return path
}

// canary is a folder of the host with a file, which no container may touch or read.
type canary struct{ dir string }

const secret = "the host's secret"

func (w *world) canary() canary {
	w.Helper()
	dir, err := filepath.EvalSymlinks(w.TempDir())
	if err != nil {
		w.Fatal(err)
	}
	c := canary{dir}
	if err := os.WriteFile(c.file(), []byte(secret), 0o600); err != nil {
		w.Fatal(err)
	}
	return c
}

func (c canary) file() string { return filepath.Join(c.dir, "secret") }

// changed tells what was done to it, or is empty.
func (c canary) changed() string {
	names, err := os.ReadDir(c.dir)
	if err != nil {
		return err.Error()
	}
	for _, n := range names {
		if n.Name() != "secret" {
			return "made on the host: " + n.Name()
		}
	}
	var st os.FileInfo
	if st, err = os.Lstat(c.file()); err != nil {
		return err.Error()
	}
	if text, err := os.ReadFile(c.file()); err != nil || string(text) != secret || st.Mode() != 0o600 {
		return "changed on the host: " + st.Mode().String() + " " + string(text)
	}
	return ""
}
