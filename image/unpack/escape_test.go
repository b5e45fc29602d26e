package unpack

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"berth/base/fault"
)

// What a worker whose parser has been taken over could still do: a process in a
// worker's confinement tries it.
func init() {
	children["escape"] = func() int {
		const tree, host = 3, 4
		runtime.LockOSThread()
		if err := confineMaker(); err != nil {
			fmt.Println("confine:", err)
			return 1
		}
		if err := bindTo(tree); err != nil {
			fmt.Println("bind:", err)
			return 1
		}
		can := func(what string, err error) {
			if err == nil {
				fmt.Println("can", what)
			} else {
				fmt.Println("cannot", what, "-", err)
			}
		}
		open := func(dir int, path string, flags int) error {
			fd, err := unix.Openat(dir, path, flags|unix.O_CLOEXEC, 0o600)
			if err == nil {
				unix.Close(fd)
			}
			return err
		}
		can("make a file", open(tree, "new", unix.O_WRONLY|unix.O_CREAT))
		can("make a whiteout", unix.Mknodat(tree, "whiteout", unix.S_IFCHR, 0))
		can("change an owner", unix.Fchownat(tree, "new", os.Getuid(), os.Getgid(), 0))
		can("make a device", unix.Mknodat(tree, "null", unix.S_IFCHR|0o666, 1<<8|3))
		can("read above", open(tree, "../canary", unix.O_RDONLY))
		can("write above", open(tree, "../canary", unix.O_WRONLY))
		can("make above", open(tree, "../made", unix.O_WRONLY|unix.O_CREAT))
		can("link from above", unix.Linkat(tree, "../canary", tree, "linked", 0))
		can("follow a link out", open(tree, "out", unix.O_WRONLY))
		can("read another folder that is open", open(host, "canary", unix.O_RDONLY))
		can("list the root", open(unix.AT_FDCWD, "/", unix.O_RDONLY))
		can("write to the root", open(unix.AT_FDCWD, "/x", unix.O_WRONLY|unix.O_CREAT))
		can("make a socket", func() error { _, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0); return err }())
		can("execute", unix.Exec("/bin/true", []string{"true"}, nil))
		can("mount", unix.Mount("none", "/", "tmpfs", 0, ""))
		can("make a namespace", unix.Unshare(unix.CLONE_NEWUSER))
		can("signal others", unix.Kill(-1, 0))
		can("set trusted xattrs", unix.Fsetxattr(tree, "trusted.overlay.opaque", []byte("y"), 0))
		can("trace", unix.PtraceAttach(1))
		return 0
	}
}

func TestEscape(t *testing.T) {
	top := t.TempDir()
	must(t, os.WriteFile(filepath.Join(top, "canary"), []byte("canary"), 0o644))
	fs := filepath.Join(top, "fs")
	must(t, os.Mkdir(fs, 0o755))
	must(t, os.Symlink(filepath.Join(top, "canary"), filepath.Join(fs, "out")))
	d, err := os.Open(fs)
	must(t, err)
	defer d.Close()
	fd, err := ownTree(d)
	must(t, err)
	tree := os.NewFile(uintptr(fd), "tree")
	defer tree.Close()
	host, err := os.Open(top)
	must(t, err)
	defer host.Close()
	var w Worker
	uids, gids, err := w.maps()
	must(t, err)
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = []string{"UNPACK_TEST_CHILD=escape"}
	cmd.ExtraFiles = []*os.File{tree, host}
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: cloneFlags, UidMappings: uids, GidMappings: gids, Setsid: true}
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	want := map[string]bool{"make a file": true, "make a whiteout": true, "change an owner": true}
	n := 0
	for line := range strings.SplitSeq(strings.TrimSpace(string(out)), "\n") {
		n++
		what, can := strings.CutPrefix(line, "can ")
		// In a mount of its own ".." is the layer itself.
		if can && !want[what] && what != "make above" {
			t.Errorf("the worker can %s", what)
		}
		if what, _, cannot := strings.Cut(strings.TrimPrefix(line, "cannot "), " - "); !can && cannot && want[what] {
			t.Errorf("%s", line)
		}
	}
	if n != 19 {
		t.Errorf("%d lines\n%s", n, out)
	}
	if names, err := os.ReadDir(top); err != nil || len(names) != 2 {
		t.Errorf("beside the layer: %v %v", names, err)
	}
}

// A worker that was taken over asks for what no layer may have.
func TestRequests(t *testing.T) {
	top := t.TempDir()
	fs := filepath.Join(top, "fs")
	must(t, os.Mkdir(fs, 0o755))
	must(t, os.Symlink("..", filepath.Join(fs, "up")))
	d, err := os.Open(fs)
	must(t, err)
	defer d.Close()
	l := &layer{w: &Worker{}, job: &Job{Dir: d, Limits: Limits{Entries: 2}.withDefaults()}}
	l.job.Limits.Depth = 4
	for _, q := range []request{
		{Op: opNode, Path: []byte("../null"), Mode: unix.S_IFCHR, Major: 1, Minor: 3},
		{Op: opNode, Path: []byte("up/null"), Mode: unix.S_IFCHR, Major: 1, Minor: 3},
		{Op: opNode, Path: []byte("/null"), Mode: unix.S_IFCHR, Major: 1, Minor: 3},
		{Op: opNode, Path: []byte("a\x00b"), Mode: unix.S_IFCHR, Major: 1, Minor: 3},
		{Op: opNode, Path: []byte(""), Mode: unix.S_IFCHR, Major: 1, Minor: 3},
		{Op: opNode, Path: []byte("f"), Mode: unix.S_IFREG},
		{Op: opNode, Path: []byte("f"), Mode: unix.S_IFCHR | unix.S_ISUID, Major: 1},
		{Op: opNode, Path: []byte("f"), Mode: unix.S_IFCHR, Major: 1 << 20},
		{Op: opNode, Path: []byte("f"), Mode: unix.S_IFCHR},
		{Op: opOpaque, Path: []byte("up")},
		{Op: opOpaque, Path: []byte("..")},
		{Op: opOpaque, Path: []byte("a/b/c/d/e")},
		{Op: "exec", Path: []byte("f")},
		{},
	} {
		if r := l.answer(context.Background(), &q); r.Fail == nil {
			t.Errorf("%+v was done", q)
		}
	}
	if names, err := os.ReadDir(top); err != nil || len(names) != 1 {
		t.Errorf("beside the layer: %v %v", names, err)
	}
	if names, err := os.ReadDir(fs); err != nil || len(names) != 1 {
		t.Errorf("in the layer: %v %v", names, err)
	}
	// No name of the host comes back as attributes.
	l.job.Parents = func(context.Context) ([]*os.File, error) { return []*os.File{d}, nil }
	if r := l.answer(context.Background(), &request{Op: opParent, Path: []byte("up")}); r.Attr != nil {
		t.Errorf("%+v", r.Attr)
	}
}

// TestOverlay mounts two layers and looks at them as a container would.
func TestOverlay(t *testing.T) {
	needRoot(t)
	w := startWorker(t, usual())
	lower := mustUnpack(t, w, makeTar(t, file("kept", "1"), file("gone", "1"), dir("dir", 0o755), file("dir/gone", "1"), dir("op", 0o755), file("op/gone", "1"), dir("new", 0o755), file("new/gone", "1"), file("root", "x")))
	upper := mustUnpack(t, w, makeTar(t, file(".wh.gone", ""), file("dir/.wh.gone", ""), file("op/kept", "2"), file("op/.wh..wh..opq", ""),
		file(".wh.new", ""), file("new/kept", "2")), lower)
	merged := t.TempDir()
	opts := fmt.Sprintf("lowerdir=%s:%s", upper.Name(), lower.Name())
	if usual().UserXattr {
		opts += ",userxattr"
	}
	must(t, unix.Mount("overlay", merged, "overlay", unix.MS_RDONLY, opts))
	defer unix.Unmount(merged, unix.MNT_DETACH)
	var got []string
	for name := range readTree(t, merged) {
		got = append(got, name)
	}
	want := map[string]bool{".": true, "kept": true, "dir": true, "op": true, "op/kept": true, "new": true, "new/kept": true, "root": true}
	for _, name := range got {
		if !want[name] {
			t.Errorf("%s is there", name)
		}
		delete(want, name)
	}
	if len(want) > 0 {
		t.Errorf("missing: %v", want)
	}
	// An opaque root hides all.
	third := mustUnpack(t, w, makeTar(t, file(".wh..wh..opq", ""), file("dir/kept", "3")), upper, lower)
	all := t.TempDir()
	opts = strings.Replace(opts, "lowerdir=", "lowerdir="+third.Name()+":", 1)
	must(t, unix.Mount("overlay", all, "overlay", unix.MS_RDONLY, opts))
	defer unix.Unmount(all, unix.MNT_DETACH)
	if tr := readTree(t, all); len(tr) != 3 || tr["dir/kept"] == "" {
		t.Errorf("below an opaque root: %v", tr)
	}
}

// FuzzTar gives the worker anything. Whatever it is, the worker lives, the error
// is one line, and nothing appears beside the layer.
func FuzzTar(f *testing.F) {
	for _, a := range attacks {
		f.Add(makeTar(f, a.entries...))
	}
	plain := makeTar(f, manyFiles(3)...)
	f.Add(compress(f, Gzip, plain))
	f.Add(compress(f, Zstd, plain))
	var w *Worker
	f.Fuzz(func(t *testing.T, data []byte) {
		if w == nil {
			w, _ = Start(context.Background(), usual())
		}
		top := t.TempDir()
		must(t, os.Mkdir(filepath.Join(top, "fs"), 0o755))
		d, err := os.Open(filepath.Join(top, "fs"))
		must(t, err)
		defer d.Close()
		_, err = w.Layer(context.Background(), Job{Dir: d, Source: bytes.NewReader(data), Size: int64(len(data)), Limits: Limits{Bytes: 1 << 20, RatioFloor: 1 << 20}})
		if err != nil && (fault.Is(err, fault.Unavailable) || strings.ContainsAny(err.Error(), "\n\x1b\x00")) {
			t.Errorf("%q", err)
		}
		if names, err := os.ReadDir(top); err != nil || len(names) != 1 {
			t.Errorf("beside the layer: %v %v", names, err)
		}
	})
}

// FuzzName: a clean name is one, and stays as it is.
func FuzzName(f *testing.F) {
	for _, s := range []string{"", "/", "a//b/./c/", "../a", ".wh.a/b", "a/.wh..wh..opq", ".wh...", "a/"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		name, err := clean(s, 10)
		if err != nil {
			return
		}
		if again, err := clean(name, 10); err != nil || again != name {
			t.Errorf("%q became %q, then %q, %v", s, name, again, err)
		}
		for part := range strings.SplitSeq(name, "/") {
			if name != "" && (part == "" || part == "." || part == ".." || len(part) > 255) || strings.Contains(part, "\x00") {
				t.Errorf("%q became %q", s, name)
			}
		}
		m, hidden, err := marked(name)
		if err == nil && m == markHide {
			if again, err := clean(hidden, 10); err != nil || again != hidden {
				t.Errorf("the whiteout %q hides %q", s, hidden)
			}
		}
	})
}
