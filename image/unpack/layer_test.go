package unpack

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/containerd/containerd/v2/pkg/archive"
	"github.com/klauspost/compress/zstd"
	"golang.org/x/sys/unix"

	"berth/base/fault"
)

func compress(t testing.TB, kind Compression, b []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	var w io.WriteCloser
	switch kind {
	case Gzip:
		w = gzip.NewWriter(&out)
	case Zstd:
		z, err := zstd.NewWriter(&out)
		must(t, err)
		w = z
	default:
		return b
	}
	_, err := w.Write(b)
	must(t, err)
	must(t, w.Close())
	return out.Bytes()
}

func TestCompressions(t *testing.T) {
	w := startWorker(t, usual())
	plain := makeTar(t, file("f", strings.Repeat("some text ", 100_000)))
	for _, kind := range []Compression{None, Gzip, Zstd} {
		b := compress(t, kind, plain)
		for _, said := range []Compression{"", Auto, kind} {
			res, err := w.Layer(context.Background(), Job{Dir: layerDir(t), Source: bytes.NewReader(b), Compression: said})
			if err != nil {
				t.Errorf("%s: %v", kind, err)
				continue
			}
			if res.Compression != kind || res.Compressed != int64(len(b)) || res.Uncompressed != int64(len(plain)) || res.DiffID.Encoded() != fmt.Sprintf("%x", sum(plain)) {
				t.Errorf("%s: %+v", kind, res)
			}
			if res.Inodes != 2 || res.Size < 1_000_000 || res.Size > 1_100_000 || res.Entries != 1 {
				t.Errorf("%s: %+v", kind, res)
			}
		}
	}
	b, err := os.ReadFile("testdata/hello.tar.bz2")
	must(t, err)
	if _, res, err := unpackTar(t, w, b); err != nil || res.Compression != Bzip2 || res.Entries != 1 {
		t.Errorf("bzip2: %v %+v", err, res)
	}
	_, err = w.Layer(context.Background(), Job{Dir: layerDir(t), Source: bytes.NewReader(plain), Compression: Gzip})
	if !fault.Is(err, fault.Invalid) {
		t.Errorf("a lie about the compression: %v", err)
	}
	// Two gzip members and what pads a tar are all part of it.
	two := append(compress(t, Gzip, plain[:5000]), compress(t, Gzip, append(plain[5000:], make([]byte, 20_000)...))...)
	res, err := w.Layer(context.Background(), Job{Dir: layerDir(t), Source: bytes.NewReader(two)})
	if want := fmt.Sprintf("%x", sum(append(plain, make([]byte, 20_000)...))); err != nil || res.DiffID.Encoded() != want {
		t.Errorf("two members: %v, %s; want %s", err, res.DiffID, want)
	}
}

// Sources that are files are read by the worker itself.
func TestSources(t *testing.T) {
	w := startWorker(t, usual())
	b := compress(t, Gzip, makeTar(t, file("f", "x")))
	path := filepath.Join(t.TempDir(), "blob")
	must(t, os.WriteFile(path, b, 0o600))
	f, err := os.Open(path)
	must(t, err)
	defer f.Close()
	r, p, err := os.Pipe()
	must(t, err)
	defer r.Close()
	go func() { p.Write(b); p.Close() }()
	for name, src := range map[string]io.Reader{"file": f, "pipe": r, "reader": io.MultiReader(bytes.NewReader(b))} {
		d := layerDir(t)
		if _, err := w.Layer(context.Background(), Job{Dir: d, Source: src}); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		stat(t, d, "f")
	}
	// A source that breaks off is no end of the stream.
	broken := io.MultiReader(bytes.NewReader(makeTar(t, file("f", "x"))), errReader{})
	if _, err := w.Layer(context.Background(), Job{Dir: layerDir(t), Source: broken}); err == nil || !strings.Contains(err.Error(), "the line is dead") {
		t.Errorf("a broken source: %v", err)
	}
}

type errReader struct{}

func (errReader) Read([]byte) (int, error) { return 0, errors.New("the line is dead") }

func TestLimits(t *testing.T) {
	w := startWorker(t, usual())
	zeros := makeTar(t, file("f", strings.Repeat("\x00", 4<<20)))
	many := map[string]string{}
	for i := range 20 {
		many[fmt.Sprint("SCHILY.xattr.user.", i)] = strings.Repeat("v", 10)
	}
	x := file("f", "")
	x.PAXRecords = many
	for text, c := range map[string]struct {
		stream []byte
		limits Limits
	}{
		"more than 10 entries":                   {makeTar(t, manyFiles(11)...), Limits{Entries: 10}},
		"larger than 1000000 bytes":              {compress(t, Gzip, zeros), Limits{Bytes: 1_000_000}}, // of the files, or of the stream
		"the layer is larger than 1000000 bytes": {append(makeTar(t, file("f", "x")), make([]byte, 2_000_000)...), Limits{Bytes: 1_000_000}},
		"file is larger than 1000000 bytes":      {compress(t, Gzip, zeros), Limits{FileBytes: 1_000_000}},
		"more than 20 times as many":             {compress(t, Gzip, zeros), Limits{Ratio: 20, RatioFloor: 1 << 20}},
		"more than 10 xattrs":                    {makeTar(t, x), Limits{Xattrs: 10}},
		"take more than 100 bytes":               {makeTar(t, x), Limits{XattrBytes: 100}},
		"more than 3 folders":                    {makeTar(t, file("a/b/c/d", "")), Limits{Folders: 3}},
		"deeper than 2 folders":                  {makeTar(t, file("a/b/c", "")), Limits{Depth: 2}},
	} {
		_, err := w.Layer(context.Background(), Job{Dir: layerDir(t), Source: bytes.NewReader(c.stream), Limits: c.limits})
		if !fault.Is(err, fault.Invalid) || !strings.Contains(err.Error(), text) {
			t.Errorf("%q: %v", text, err)
		}
	}
}

func manyFiles(n int) (out []entry) {
	for i := range n {
		out = append(out, file(fmt.Sprintf("d%d/f%d", i%7, i), fmt.Sprint(i)))
	}
	return out
}

// Several layers at once in one worker, each its own.
func TestTogether(t *testing.T) {
	w := startWorker(t, usual())
	var all sync.WaitGroup
	for i := range 12 {
		d := layerDir(t)
		stream := compress(t, []Compression{Gzip, Zstd, None}[i%3], makeTar(t, append(manyFiles(200), file("which", fmt.Sprint(i)))...))
		all.Go(func() {
			res, err := w.Layer(context.Background(), Job{Dir: d, Source: bytes.NewReader(stream)})
			if err != nil || res.Entries != 201 {
				t.Errorf("layer %d: %v %+v", i, err, res)
				return
			}
			if b, err := os.ReadFile(filepath.Join(d.Name(), "which")); string(b) != fmt.Sprint(i) {
				t.Errorf("layer %d has the file of %q, %v", i, b, err)
			}
		})
	}
	all.Wait()
}

func TestCancel(t *testing.T) {
	w := startWorker(t, usual())
	ctx, cancel := context.WithCancel(context.Background())
	r, p, err := os.Pipe()
	must(t, err)
	defer r.Close()
	defer p.Close()
	p.Write(makeTar(t, file("f", "x"))[:1024]) // and no more
	time.AfterFunc(50*time.Millisecond, cancel)
	began := time.Now()
	_, err = w.Layer(ctx, Job{Dir: layerDir(t), Source: r})
	if !errors.Is(err, context.Canceled) || time.Since(began) > 3*time.Second {
		t.Errorf("%v after %v", err, time.Since(began))
	}
	mustUnpack(t, w, makeTar(t, file("f", "x")))
	// Waiting for the layers below ends too.
	ctx, cancel = context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	_, err = w.Layer(ctx, Job{Dir: layerDir(t), Source: bytes.NewReader(makeTar(t, file("a/f", "x"))), Parents: func(ctx context.Context) ([]*os.File, error) {
		<-ctx.Done()
		return nil, ctx.Err()
	}})
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Error(err)
	}
}

// /tmp stays 1777 when a layer names only what is in it, over three layers and
// with something in the way.
func TestParents(t *testing.T) {
	w := startWorker(t, usual())
	x := dir("srv", 0o2750)
	x.PAXRecords = map[string]string{"SCHILY.xattr.user.of": "srv"}
	base := mustUnpack(t, w, makeTar(t, dir("./", 0o711), dir("tmp", 0o1777), x, dir("gone", 0o700), dir("gone/in", 0o700), dir("op", 0o700), dir("op/in", 0o711), symlink("lib", "usr/lib")))
	second := mustUnpack(t, w, makeTar(t, file(".wh.gone", ""), dir("op", 0o755), file("op/.wh..wh..opq", "")), base)
	third := mustUnpack(t, w, makeTar(t, file("tmp/f", ""), file("srv/f", ""), file("gone/in/f", ""), file("op/in/f", ""), file("lib/f", ""), file("new/f", "")), second, base)
	for name, mode := range map[string]uint32{".": 0o711, "tmp": 0o1777, "srv": 0o2750, "gone": 0o755, "gone/in": 0o755, "op": 0o755, "op/in": 0o755, "lib": 0o755, "new": 0o755} {
		if st := stat(t, third, name); st.Mode != unix.S_IFDIR|mode {
			t.Errorf("%s has mode %o, want %o", name, st.Mode, mode)
		}
	}
	if got := readXattrs(t, filepath.Join(third.Name(), "srv")); len(got) != 1 || got[0] != `user.of="srv"` {
		t.Errorf("xattrs of srv: %q", got)
	}
	if st := stat(t, third, "tmp"); st.Mtim.Nano() != someTime.UnixNano() {
		t.Errorf("tmp has the time %v", st.Mtim)
	}
}

// A file with holes as GNU tar writes them, old format and PAX, keeps them.
func TestSparse(t *testing.T) {
	w := startWorker(t, usual())
	for _, format := range []string{"--format=gnu", "--format=posix --sparse-version=0.0", "--format=posix --sparse-version=0.1", "--format=posix --sparse-version=1.0"} {
		top := t.TempDir()
		f, err := os.Create(filepath.Join(top, "sparse"))
		must(t, err)
		_, err = f.WriteAt([]byte("middle"), 5<<20)
		must(t, err)
		must(t, f.Truncate(9<<20))
		f.Close()
		stream := gnuTar(t, top, strings.Fields(format))
		d := mustUnpack(t, w, stream)
		st := stat(t, d, "sparse")
		b, err := os.ReadFile(filepath.Join(d.Name(), "sparse"))
		must(t, err)
		if st.Size != 9<<20 || st.Blocks*512 > 64<<10 || string(b[5<<20:5<<20+6]) != "middle" {
			t.Errorf("%s: %d bytes, %d on disk", format, st.Size, st.Blocks*512)
		}
	}
	// A few bytes that say they are 8 EiB.
	huge := makeTar(t, entry{Header: tar.Header{Name: "f", Typeflag: tar.TypeReg}})
	copy(huge[156:], "S")                                                // old GNU sparse
	copy(huge[257:], "ustar  \x00")                                      // GNU
	copy(huge[386:], "00000000000\x0000000000000\x00")                   // one empty piece
	copy(huge[483:], "\x80\x00\x00\x00\x7f\xff\xff\xff\xff\xff\xff\xff") // real size
	fixChecksum(huge[:512])
	if _, _, err := unpackTar(t, w, huge); err == nil {
		t.Error("8 EiB of zeros were taken")
	}
}

func fixChecksum(h []byte) {
	copy(h[148:156], "        ")
	n := 0
	for _, b := range h {
		n += int(b)
	}
	copy(h[148:156], fmt.Sprintf("%06o\x00 ", n))
}

// TestOracle holds layers without whiteouts against containerd's own unpacking.
func TestOracle(t *testing.T) {
	needRoot(t)
	if inUserns() {
		t.Skip("needs root: of the host, for device nodes")
	}
	w := startWorker(t, Options{})
	for seed := range 30 {
		entries := validTar(rand.New(rand.NewSource(int64(seed))))
		stream := makeTar(t, entries...)
		d := mustUnpack(t, w, stream)
		theirs := filepath.Join(t.TempDir(), "fs")
		must(t, os.Mkdir(theirs, 0o755))
		if _, err := archive.Apply(context.Background(), theirs, bytes.NewReader(stream)); err != nil {
			t.Fatal(err)
		}
		ours, want := readTree(t, d.Name()), readTree(t, theirs)
		ours["."], want["."] = "", "" // containerd leaves the root to others
		if diff := want.diff(ours); diff != "" {
			t.Fatalf("seed %d: - containerd, + ours:\n%s", seed, diff)
		}
	}
}

// validTar is a tar as a tool makes it: folders first, each name once.
func validTar(r *rand.Rand) (out []entry) {
	dirs, files := []string{""}, []string{}
	out = append(out, dir("./", 0o755))
	for i := range 60 {
		name := fmt.Sprintf("%sn%d", dirs[r.Intn(len(dirs))], i)
		e := entry{Header: tar.Header{Name: name, Mode: int64(r.Intn(0o10000)), Uid: r.Intn(3) * 1000, Gid: r.Intn(3) * 50}}
		e.ModTime = time.Unix(r.Int63n(1<<33), r.Int63n(1e9))
		switch r.Intn(9) {
		case 0, 1:
			e.Typeflag, e.Name = tar.TypeDir, name+"/"
			dirs = append(dirs, name+"/")
		case 2:
			e.Typeflag, e.Linkname, e.Mode = tar.TypeSymlink, "/some/where", 0o777
		case 3:
			e.Typeflag = tar.TypeFifo
		case 4:
			e.Typeflag, e.Devmajor, e.Devminor = []byte{tar.TypeChar, tar.TypeBlock}[r.Intn(2)], 1, int64(r.Intn(9))
		case 5:
			if len(files) > 0 {
				target := out[r.Intn(len(out))]
				for target.Typeflag != tar.TypeReg {
					target = out[r.Intn(len(out))]
				}
				h := target.Header
				h.Typeflag, h.Linkname, h.Name, h.PAXRecords = tar.TypeLink, []string{"", "/"}[r.Intn(2)]+target.Name, name, nil
				if target.PAXRecords["SCHILY.xattr.security.capability"] != "" {
					h.PAXRecords = target.PAXRecords // containerd's chown drops it otherwise
				}
				e.Header = h
				break
			}
			fallthrough
		default:
			e.Typeflag, e.body = tar.TypeReg, strings.Repeat("contents", r.Intn(3000))
			files = append(files, name)
			if r.Intn(3) == 0 {
				e.PAXRecords = map[string]string{"SCHILY.xattr.user.a": "1", "SCHILY.xattr.security.capability": capability}
			}
		}
		out = append(out, e)
	}
	return out
}

// capability is cap_net_raw=ep as setcap(8) writes it.
const capability = "\x01\x00\x00\x02\x00\x20\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"

// What small files wait for: a batch is full, a link to one, one in its place,
// the end. The error of one that waited has its name.
func TestSmallFiles(t *testing.T) {
	w := startWorker(t, usual())
	var all []entry
	for i := range 3 * batchFiles {
		all = append(all, file(fmt.Sprintf("d/%d", i), strings.Repeat(fmt.Sprint(i%10), i*100)))
	}
	last := 3*batchFiles - 1
	link := file("link", "")
	link.Typeflag, link.Linkname, link.Size, link.Uid, link.Mode = tar.TypeLink, fmt.Sprintf("d/%d", last), 0, 7, 0o640
	all = append(all, link, file("large", strings.Repeat("x", smallFile+1)), file("d/0", "again"), file("d/1", ""), file("d", "a file now"))
	dir, res, err := unpackTar(t, w, makeTar(t, all...))
	must(t, err)
	got := readTree(t, dir.Name())
	if !strings.Contains(got["link"], fmt.Sprintf("%q", strings.Repeat(fmt.Sprint(last%10), last*100))) || !strings.HasPrefix(got["link"], "100640 7:0") ||
		!strings.Contains(got["d"], `"a file now"`) || len(got) != 4 || res.Inodes != 4 {
		t.Errorf("%d names, %d inodes, d %.50q, link %.50q", len(got), res.Inodes, got["d"], got["link"])
	}
	bad := file("d/bad", "text")
	bad.PAXRecords = map[string]string{paxXattr + "security.capability": "nonsense"}
	more := append([]entry{bad}, all[:2*batchFiles]...)
	if _, _, err := unpackTar(t, w, makeTar(t, more...)); err == nil || !strings.Contains(err.Error(), `"d/bad"`) {
		t.Errorf("a file that cannot be finished: %v", err)
	}
}

// A hard link's header counts, also where the file is no regular one.
func TestLinkGivesRoot(t *testing.T) {
	w := startWorker(t, usual())
	first, second := file("a", ""), file("b", "")
	first.Typeflag, first.Linkname, first.Size, first.Gid = tar.TypeSymlink, "x", 0, 5
	second.Typeflag, second.Linkname, second.Size = tar.TypeLink, "a", 0
	dir, _, err := unpackTar(t, w, makeTar(t, first, second))
	must(t, err)
	if got := readTree(t, dir.Name()); !strings.HasPrefix(got["b"], "120777 0:0") {
		t.Errorf("b is %s", got["b"])
	}
}
