package unpack

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/sha256"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
	"golang.org/x/sys/unix"
)

func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == WorkerWord {
		if len(os.Args) > 2 && strings.HasPrefix(os.Args[2], "lying") {
			os.Exit(lie(os.Args[2]))
		}
		if len(os.Args) > 2 && os.Args[2] == dyingRole {
			os.Exit(9) // as pid 1 it cannot kill itself
		}
		os.Exit(WorkerMain(os.Args[2:]))
	}
	if what := os.Getenv("UNPACK_TEST_CHILD"); what != "" {
		os.Exit(children[what]())
	}
	withoutCgo()
	unix.Umask(0o022)
	os.Exit(m.Run())
}

// Every test runs as whoever runs the tests; root has more of them.
func isRoot() bool { return os.Getuid() == 0 }

// usual are the options for whoever runs the tests.
func usual() Options { return Options{UserXattr: !isRoot() || inUserns()} }

func needRoot(t testing.TB) {
	t.Helper()
	if !isRoot() {
		t.Skip("needs root: makes files of other owners and device nodes")
	}
}

// entry is a header with its contents.
type entry struct {
	tar.Header
	body string
}

func dir(name string, mode int64) entry {
	return entry{Header: tar.Header{Name: name, Typeflag: tar.TypeDir, Mode: mode}}
}

func file(name, body string) entry {
	return entry{Header: tar.Header{Name: name, Typeflag: tar.TypeReg, Mode: 0o644}, body: body}
}

func symlink(name, text string) entry {
	return entry{Header: tar.Header{Name: name, Typeflag: tar.TypeSymlink, Linkname: text, Mode: 0o777}}
}

func hardlink(name, target string) entry {
	return entry{Header: tar.Header{Name: name, Typeflag: tar.TypeLink, Linkname: target, Mode: 0o644}}
}

func mkdev(name string, kind byte, major, minor int64) entry {
	return entry{Header: tar.Header{Name: name, Typeflag: kind, Mode: 0o640, Devmajor: major, Devminor: minor}}
}

var someTime = time.Unix(1_700_000_000, 123_456_789)

func makeTar(t testing.TB, entries ...entry) []byte {
	if t != nil {
		t.Helper()
	}
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, e := range entries {
		h := e.Header
		h.Size = int64(len(e.body))
		if h.ModTime.IsZero() {
			h.ModTime = someTime
		}
		h.Format = tar.FormatPAX
		if err := w.WriteHeader(&h); err != nil {
			t.Fatalf("%s: %v", h.Name, err)
		}
		if _, err := io.WriteString(w, e.body); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func startWorker(t testing.TB, opts Options) *Worker {
	t.Helper()
	w, err := Start(context.Background(), opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { w.Close() })
	return w
}

func layerDir(t testing.TB) *os.File {
	t.Helper()
	path := filepath.Join(t.TempDir(), "fs")
	if err := os.Mkdir(path, 0o755); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

func noParents(context.Context) ([]*os.File, error) { return nil, nil }

// unpackTar unpacks into a new folder and returns it.
func unpackTar(t testing.TB, w *Worker, stream []byte, below ...*os.File) (*os.File, Result, error) {
	t.Helper()
	d := layerDir(t)
	res, err := w.Layer(context.Background(), Job{
		Dir: d, Source: bytes.NewReader(stream),
		Parents: func(context.Context) ([]*os.File, error) { return below, nil },
	})
	return d, res, err
}

func mustUnpack(t testing.TB, w *Worker, stream []byte, below ...*os.File) *os.File {
	t.Helper()
	d, res, err := unpackTar(t, w, stream, below...)
	if err != nil {
		t.Fatal(err)
	}
	if want := digest.NewDigestFromBytes(digest.SHA256, sum(stream)); res.DiffID != want {
		t.Errorf("diff id %s, want %s", res.DiffID, want)
	}
	if res.Uncompressed != int64(len(stream)) {
		t.Errorf("uncompressed %d, want %d", res.Uncompressed, len(stream))
	}
	return d
}

func sum(b []byte) []byte {
	s := sha256.Sum256(b)
	return s[:]
}

func stat(t testing.TB, d *os.File, name string) *unix.Stat_t {
	t.Helper()
	var st unix.Stat_t
	if err := unix.Lstat(filepath.Join(d.Name(), name), &st); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return &st
}

func TestFirst(t *testing.T) {
	w := startWorker(t, usual())
	d := mustUnpack(t, w, makeTar(t, dir("./", 0o755), dir("usr/", 0o755), file("usr/a", "hello"), hardlink("usr/b", "/usr/a"), symlink("c", "/etc/passwd")))
	b, err := os.ReadFile(filepath.Join(d.Name(), "usr/b"))
	if err != nil || string(b) != "hello" {
		t.Fatalf("%q %v", b, err)
	}
	st := stat(t, d, "usr/a")
	if st.Nlink != 2 || st.Mtim.Nano() != someTime.UnixNano() || st.Mode != unix.S_IFREG|0o644 {
		t.Errorf("%+v", st)
	}
	if st := stat(t, d, "usr"); st.Mtim.Nano() != someTime.UnixNano() {
		t.Errorf("%+v", st)
	}
}

// TestLinks: hard links to what only a host's process can make, and over the
// symbolic link that their target is found by.
func TestLinks(t *testing.T) {
	w := startWorker(t, usual())
	entries := []entry{symlink("b", ".."), file("a", "hello"), hardlink("b", "b/a/.")}
	if isRoot() && !inUserns() {
		entries = append(entries, mkdev("loop", tar.TypeBlock, 7, 3), hardlink("again", "loop"), mkdev("null", tar.TypeChar, 1, 3), hardlink("zero", "null"))
	}
	d := mustUnpack(t, w, makeTar(t, entries...))
	for one, other := range map[string]string{"a": "b", "loop": "again", "null": "zero"} {
		if len(entries) == 3 && one != "a" {
			continue
		}
		if a, b := stat(t, d, one), stat(t, d, other); a.Ino != b.Ino || a.Nlink != 2 {
			t.Errorf("%s and %s are not one: %+v %+v", one, other, a, b)
		}
	}
}

var children = map[string]func() int{}

// PID is the process id of the maker that the next layer will get; it must
// still be there.
func (w *Worker) PID() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.spare.cmd.Process.Pid
}

// pids are the worker's processes.
func (w *Worker) pids() (out []int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for p := range w.all {
		out = append(out, p.cmd.Process.Pid)
	}
	return out
}
