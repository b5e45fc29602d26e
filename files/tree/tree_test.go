package tree

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"berth/base/fault"
)

func openDir(t testing.TB, path string) int {
	t.Helper()
	fd, err := unix.Open(path, openFolder, 0)
	if err != nil {
		t.Fatal(path, err)
	}
	t.Cleanup(func() { unix.Close(fd) })
	return fd
}

func must(t testing.TB, errs ...error) {
	t.Helper()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
}

// sample is a folder with one of everything that needs no rights.
func sample(t testing.TB) string {
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	must(t, os.MkdirAll(at("s/sub"), 0o750), os.WriteFile(at("s/sub/f"), []byte("content"), 0o640), os.WriteFile(at("s/empty"), nil, 0o4711),
		os.Chmod(at("s/empty"), 0o711|os.ModeSetuid), os.Link(at("s/sub/f"), at("s/hard")), os.Symlink("../../nowhere", at("s/link")), unix.Mkfifo(at("s/pipe"), 0o600))
	for _, name := range []string{"s/sub/f", "s/empty", "s/sub", "s"} {
		must(t, os.Chtimes(at(name), time.Unix(5, 0), time.Unix(1577934245, 123456789)))
	}
	_ = unix.Setxattr(at("s/sub/f"), "user.note", []byte("x"), 0)
	return dir
}

func pack(t testing.TB, dir, base, name string) *bytes.Buffer {
	t.Helper()
	var b bytes.Buffer
	if err := Pack(context.Background(), &b, &Source{Dir: openDir(t, dir), Base: base, Name: name}); err != nil {
		t.Fatal(err)
	}
	return &b
}

// What is packed and unpacked is what it was.
func TestThereAndBack(t *testing.T) {
	from := sample(t)
	to := t.TempDir()
	tarball := pack(t, from, "s", "s")
	made, err := Unpack(context.Background(), &Target{Dir: openDir(t, to), Path: to, Root: -1, Options: Options{KeepOwner: os.Geteuid() == 0}}, tarball)
	if err != nil || made != (Made{}) {
		t.Fatal(made, err)
	}
	for _, name := range []string{"s", "s/sub", "s/sub/f", "s/empty", "s/hard", "s/link", "s/pipe"} {
		var a, b unix.Stat_t
		must(t, unix.Lstat(filepath.Join(from, name), &a), unix.Lstat(filepath.Join(to, name), &b))
		if a.Mode != b.Mode || a.Size != b.Size || a.Mtim != b.Mtim || a.Nlink != b.Nlink {
			t.Errorf("%s: mode %o size %d time %v links %d, was %o %d %v %d", name, b.Mode, b.Size, b.Mtim, b.Nlink, a.Mode, a.Size, a.Mtim, a.Nlink)
		}
	}
	if target, err := os.Readlink(filepath.Join(to, "s/link")); err != nil || target != "../../nowhere" {
		t.Error(target, err)
	}
	var x [8]byte
	if n, err := unix.Getxattr(filepath.Join(from, "s/sub/f"), "user.note", x[:]); err == nil && n == 1 {
		if n, err := unix.Getxattr(filepath.Join(to, "s/sub/f"), "user.note", x[:]); err != nil || string(x[:n]) != "x" {
			t.Errorf("xattr %q %v", x[:n], err)
		}
	}
}

func namesOf(t testing.TB, r io.Reader) []string {
	t.Helper()
	var names []string
	for in := tar.NewReader(r); ; {
		h, err := in.Next()
		if err == io.EOF {
			return names
		}
		must(t, err)
		names = append(names, h.Name)
	}
}

func TestNames(t *testing.T) {
	dir := sample(t)
	for base, want := range map[string]string{"s": "new/ new/empty new/hard new/link new/pipe new/sub/ new/sub/f"} {
		if got := strings.Join(namesOf(t, pack(t, dir, base, "new")), " "); got != want {
			t.Errorf("%s: %s", base, got)
		}
	}
	if got := namesOf(t, pack(t, filepath.Join(dir, "s"), ".", ".")); got[0] != "./" || got[1] != "./empty" || got[6] != "./sub/f" {
		t.Error(got)
	}
	if got := namesOf(t, pack(t, filepath.Join(dir, "s"), ".", "")); !slices.Equal(got, []string{"empty", "hard", "link", "pipe", "sub/", "sub/f"}) {
		t.Error(got)
	}
}

// archive makes a tar of heads; a file's content is its name.
func archive(t testing.TB, heads ...tar.Header) *bytes.Buffer {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, h := range heads {
		if h.Typeflag == tar.TypeReg {
			h.Size = int64(len(h.Name))
		}
		if h.Mode == 0 {
			h.Mode = 0o755
		}
		must(t, w.WriteHeader(&h))
		if h.Typeflag == tar.TypeReg {
			_, err := io.WriteString(w, h.Name)
			must(t, err)
		}
	}
	must(t, w.Close())
	return &b
}

// place is a folder with a canary beside it that nothing may touch.
func place(t *testing.T) (root, canary string) {
	dir, err := filepath.EvalSymlinks(t.TempDir())
	must(t, err)
	root, canary = filepath.Join(dir, "root"), filepath.Join(dir, "canary")
	must(t, os.Mkdir(root, 0o755), os.Mkdir(canary, 0o755), os.WriteFile(filepath.Join(canary, "f"), []byte("safe"), 0o600))
	t.Cleanup(func() {
		text, err := os.ReadFile(filepath.Join(canary, "f"))
		names, _ := os.ReadDir(canary)
		var st unix.Stat_t
		if serr := unix.Stat(filepath.Join(canary, "f"), &st); err != nil || serr != nil || string(text) != "safe" || len(names) != 1 || st.Nlink != 1 || st.Mode&0o777 != 0o600 {
			t.Errorf("the canary is %q, %d names, %d links, %o: %v", text, len(names), st.Nlink, st.Mode, errors.Join(err, serr))
		}
	})
	return root, canary
}

// Each trick of a tar, in a folder where no link may be on the way and in a root:
// nothing outside is touched.
func TestHostile(t *testing.T) {
	reg, dir, sym, hard := byte(tar.TypeReg), byte(tar.TypeDir), byte(tar.TypeSymlink), byte(tar.TypeLink)
	for name, heads := range map[string][]tar.Header{
		"dot dot":         {{Typeflag: reg, Name: "../canary/f"}},
		"deep dot dot":    {{Typeflag: dir, Name: "a"}, {Typeflag: reg, Name: "a/../../canary/f"}},
		"absolute":        {{Typeflag: reg, Name: "CANARY/f"}},
		"through a link":  {{Typeflag: sym, Name: "l", Linkname: "CANARY"}, {Typeflag: reg, Name: "l/f"}},
		"relative link":   {{Typeflag: sym, Name: "l", Linkname: "../canary"}, {Typeflag: reg, Name: "l/f"}},
		"link to a link":  {{Typeflag: sym, Name: "l", Linkname: "../canary"}, {Typeflag: sym, Name: "m", Linkname: "l"}, {Typeflag: reg, Name: "m/new"}},
		"onto a link":     {{Typeflag: sym, Name: "f", Linkname: "CANARY/f"}, {Typeflag: reg, Name: "f", Mode: 0o666}},
		"folder on link":  {{Typeflag: sym, Name: "d", Linkname: "CANARY"}, {Typeflag: dir, Name: "d", Mode: 0o777}, {Typeflag: reg, Name: "d/f"}},
		"hard link out":   {{Typeflag: hard, Name: "h", Linkname: "../canary/f"}, {Typeflag: reg, Name: "h"}},
		"hard link abs":   {{Typeflag: hard, Name: "h", Linkname: "CANARY/f"}, {Typeflag: reg, Name: "h"}},
		"hard via link":   {{Typeflag: sym, Name: "l", Linkname: "CANARY"}, {Typeflag: hard, Name: "h", Linkname: "l/f"}, {Typeflag: reg, Name: "h"}},
		"hard to link":    {{Typeflag: sym, Name: "l", Linkname: "CANARY/f"}, {Typeflag: hard, Name: "h", Linkname: "l"}, {Typeflag: reg, Name: "h"}},
		"late folder":     {{Typeflag: dir, Name: "d", Mode: 0o777}, {Typeflag: sym, Name: "d", Linkname: "CANARY"}},
		"missing folders": {{Typeflag: sym, Name: "l", Linkname: "../canary/new"}, {Typeflag: reg, Name: "l/a/b/c"}},
	} {
		for _, inRoot := range []bool{false, true} {
			root, canary := place(t)
			for i := range heads {
				heads[i].Name = strings.ReplaceAll(heads[i].Name, "CANARY", canary)
				heads[i].Linkname = strings.ReplaceAll(heads[i].Linkname, "CANARY", canary)
			}
			target := &Target{Dir: openDir(t, root), Path: root, Root: -1}
			if inRoot {
				target.Root, target.Path = openDir(t, root), "/"
			}
			_, err := Unpack(context.Background(), target, archive(t, heads...))
			t.Log(name, inRoot, err)
		}
	}
}

// Inside of a root, links on the way are followed as in the root.
func TestLinksInRoot(t *testing.T) {
	root, _ := place(t)
	must(t, os.MkdirAll(filepath.Join(root, "run"), 0o755), os.MkdirAll(filepath.Join(root, "var"), 0o755), os.Symlink("/run", filepath.Join(root, "var/run")))
	sub := openDir(t, filepath.Join(root, "var"))
	_, err := Unpack(context.Background(), &Target{Dir: sub, Path: "/var", Root: openDir(t, root)}, archive(t, tar.Header{Typeflag: tar.TypeReg, Name: "run/x/y"}))
	must(t, err)
	if _, err := os.Stat(filepath.Join(root, "run/x/y")); err != nil {
		t.Error(err)
	}
}

func TestReplace(t *testing.T) {
	root, _ := place(t)
	must(t, os.MkdirAll(filepath.Join(root, "d/in"), 0o755), os.WriteFile(filepath.Join(root, "f"), nil, 0o644))
	try := func(h tar.Header, o Options) error {
		_, err := Unpack(context.Background(), &Target{Dir: openDir(t, root), Path: "/p", Root: -1, Options: o}, archive(t, h))
		return err
	}
	keep := Options{NoReplace: true}
	if err := try(tar.Header{Typeflag: tar.TypeReg, Name: "d"}, keep); !fault.Is(err, fault.Conflict) || err.Error() != `cannot overwrite directory "/p/d" with non-directory "/p"` {
		t.Error(err)
	}
	if err := try(tar.Header{Typeflag: tar.TypeDir, Name: "f"}, keep); !fault.Is(err, fault.Conflict) || err.Error() != `cannot overwrite non-directory "/p/f" with directory "/p"` {
		t.Error(err)
	}
	must(t, try(tar.Header{Typeflag: tar.TypeReg, Name: "d"}, Options{}), try(tar.Header{Typeflag: tar.TypeDir, Name: "f"}, Options{}))
	if st, err := os.Stat(filepath.Join(root, "d")); err != nil || st.IsDir() {
		t.Error("d is a folder still", err)
	}
}

func TestRename(t *testing.T) {
	for _, tt := range []struct{ from, to, name, want string }{
		{"", "", "a/b", "a/b"}, {"a", "z", "a", "z"}, {"a", "z", "a/b", "z/b"}, {"a", "z", "ab", "ab"}, {".", "z", "./b", "z/b"}, {".", "z", "./", "z"},
		{"/", "z", "/", "z"}, {"/", "z", "/bin/x", "z/bin/x"}, {"a", "z", "../x", "!"}, {"a", "z", "/../x", "x"},
	} {
		u := &unpacker{Target: Target{Path: "/p", Options: Options{From: tt.from, To: tt.to}}}
		got, err := u.rename(tt.name)
		if err != nil {
			got = "!"
		}
		if got != tt.want {
			t.Errorf("%q of %q to %q: %q, want %q", tt.name, tt.from, tt.to, got, tt.want)
		}
	}
}

func TestFind(t *testing.T) {
	root, _ := place(t)
	must(t, os.MkdirAll(filepath.Join(root, "d/sub"), 0o755), os.Symlink("/d/sub", filepath.Join(root, "l")), os.Symlink("../../..", filepath.Join(root, "up")))
	fd := openDir(t, root)
	for path, want := range map[string]string{
		"/": "/ dir", "": "/ dir", "d": "d dir", "/d/": "d dir", "d/.": ". dir", "l": "l link /d/sub", "l/": "l dir", "l/.": ". dir", "up": "up link /", "../../d": "d dir",
		"none": "!", "d/none/x": "!", "/l/..": "/ dir",
	} {
		e, err := Find(fd, path)
		got := "!"
		if err == nil {
			got = e.Stat.Name + " dir"
			if e.Stat.LinkTarget != "" {
				got = e.Stat.Name + " link " + e.Stat.LinkTarget
			}
			e.Close()
		}
		if got != want {
			t.Errorf("%q: %s, want %s", path, got, want)
		}
	}
}

// Whatever a tar says, nothing outside of the folder is touched.
func FuzzUnpack(f *testing.F) {
	f.Add(archive(f, tar.Header{Typeflag: tar.TypeSymlink, Name: "l", Linkname: "../canary"}, tar.Header{Typeflag: tar.TypeReg, Name: "l/f"}).Bytes(), true)
	f.Add(archive(f, tar.Header{Typeflag: tar.TypeDir, Name: "d"}, tar.Header{Typeflag: tar.TypeLink, Name: "d/h", Linkname: "../canary/f"}).Bytes(), false)
	f.Fuzz(func(t *testing.T, b []byte, inRoot bool) {
		root, _ := place(t)
		target := &Target{Dir: openDir(t, root), Path: "/", Root: -1}
		if inRoot {
			target.Root = openDir(t, root)
		}
		_, _ = Unpack(context.Background(), target, io.LimitReader(bytes.NewReader(b), 1<<20))
	})
}
