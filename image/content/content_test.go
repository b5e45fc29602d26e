package content_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"berth/base/fault"
	"berth/image/content"

	core "github.com/containerd/containerd/v2/core/content"
	"github.com/containerd/errdefs"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sys/unix"
)

var ctx = context.Background()

func open(t testing.TB, root string, deferred bool) *content.Store {
	t.Helper()
	s, err := content.Open(content.Options{
		Dir: filepath.Join(root, "content"), Locks: filepath.Join(root, "locks"), Deferred: deferred,
		Bad: func(err error) { t.Log("bad:", err) },
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func noise(n int) []byte {
	b := make([]byte, n)
	r := rand.NewChaCha8([32]byte{byte(n)})
	r.Read(b)
	return b
}

func writer(t testing.TB, s *content.Store, ref string, desc ocispec.Descriptor) core.Writer {
	t.Helper()
	w, err := s.Writer(ctx, core.WithRef(ref), core.WithDescriptor(desc))
	if err != nil {
		t.Fatal(err)
	}
	return w
}

func put(t testing.TB, s *content.Store, b []byte, labels map[string]string) digest.Digest {
	t.Helper()
	d := digest.FromBytes(b)
	w := writer(t, s, "put "+string(d), ocispec.Descriptor{})
	if _, err := w.Write(b); err != nil {
		t.Fatal(err)
	}
	if err := w.Commit(ctx, int64(len(b)), d, core.WithLabels(labels)); err != nil {
		t.Fatal(err)
	}
	return d
}

func blobFile(root string, d digest.Digest) string {
	return filepath.Join(root, "content/blobs", d.Algorithm().String(), d.Encoded())
}

func read(t testing.TB, s *content.Store, d digest.Digest) []byte {
	t.Helper()
	b, err := core.ReadBlob(ctx, s, ocispec.Descriptor{Digest: d})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func entries(t testing.TB, dir string) []string {
	t.Helper()
	es, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, e := range es {
		out = append(out, e.Name())
	}
	return out
}

func TestNoDigestLeavesTheStore(t *testing.T) {
	root := t.TempDir()
	s := open(t, root, false)
	if err := os.WriteFile(filepath.Join(root, "secret"), []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, d := range []digest.Digest{
		"", "sha256:", "sha256:../../../secret", "sha384:" + digest.Digest(strings.Repeat("a", 96)), "../secret",
		digest.Digest("sha256:" + strings.Repeat("A", 64)), digest.Digest("sha256:" + strings.Repeat("a", 63) + "/"),
		digest.Digest("sha256:" + strings.Repeat("a", 128)), "sha256:" + digest.Digest(strings.Repeat("../", 21)+"x"),
	} {
		_, infoErr := s.Info(ctx, d)
		_, readErr := s.ReaderAt(ctx, ocispec.Descriptor{Digest: d})
		_, updateErr := s.Update(ctx, core.Info{Digest: d, Labels: map[string]string{"a": "b"}})
		for _, err := range []error{infoErr, readErr, updateErr, s.Delete(ctx, d)} {
			if !errdefs.IsInvalidArgument(err) || !fault.Is(err, fault.Invalid) {
				t.Errorf("%q: %v", d, err)
			}
		}
		if d != "" {
			if _, err := s.Writer(ctx, core.WithRef("r"), core.WithDescriptor(ocispec.Descriptor{Digest: d})); !errdefs.IsInvalidArgument(err) {
				t.Errorf("writer for %q: %v", d, err)
			}
		}
	}
}

func TestSHA512(t *testing.T) {
	s := open(t, t.TempDir(), false)
	b := noise(1000)
	d := digest.SHA512.FromBytes(b)
	for name, desc := range map[string]ocispec.Descriptor{"known at start": {Digest: d}, "known at commit": {}} {
		w := writer(t, s, name, desc)
		w.Write(b)
		if err := w.Commit(ctx, 1000, d); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if got := read(t, s, d); !bytes.Equal(got, b) {
			t.Fatalf("%s: other bytes", name)
		}
		if err := s.Verify(ctx, d); err != nil {
			t.Fatal(err)
		}
		if err := s.Delete(ctx, d); err != nil {
			t.Fatal(err)
		}
	}
}

func TestModesAndNothingLeft(t *testing.T) {
	root := t.TempDir()
	later := open(t, root, true)
	d := put(t, later, noise(10), map[string]string{"a": "b"})
	mode := func() os.FileMode {
		st, err := os.Stat(blobFile(root, d))
		if err != nil {
			t.Fatal(err)
		}
		return st.Mode()
	}
	if mode() != 0o440 {
		t.Errorf("before the sync: %v", mode())
	}
	if err := later.Sync(ctx); err != nil {
		t.Fatal(err)
	}
	if mode() != 0o444 {
		t.Errorf("after the sync: %v", mode())
	}
	for _, dir := range []string{"content/ingest", "locks/ingest"} {
		if left := entries(t, filepath.Join(root, dir)); len(left) > 0 {
			t.Errorf("left in %s: %v", dir, left)
		}
	}
	if err := later.Delete(ctx, d); err != nil {
		t.Fatal(err)
	}
	if left := entries(t, filepath.Join(root, "content/labels/sha256")); len(left) > 0 {
		t.Errorf("labels left: %v", left)
	}
	if _, err := later.Info(ctx, d); !errdefs.IsNotFound(err) || !fault.Is(err, fault.NotFound) {
		t.Errorf("after delete: %v", err)
	}
}

// A blob that was not synced before the machine stopped is verified before it
// is used. Its age is faked by a boot time: the inode's change time cannot be
// set, so the test asks the kernel for one that lies in the future.
func TestUnsyncedBlobOfAnotherBootIsVerified(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("needs root: a time namespace")
	}
	if os.Getenv("CONTENT_TEST_BOOTED") == "" {
		root := t.TempDir()
		s := open(t, root, true)
		good, bad := put(t, s, noise(1000), nil), put(t, s, noise(1001), nil)
		os.Chmod(blobFile(root, bad), 0o600)
		if err := os.WriteFile(blobFile(root, bad), make([]byte, 1001), 0o600); err != nil {
			t.Fatal(err)
		}
		os.Chmod(blobFile(root, bad), 0o440)
		if _, err := s.Info(ctx, bad); err != nil {
			t.Fatalf("in the boot that wrote it nothing is verified: %v", err)
		}
		time.Sleep(10 * time.Millisecond)
		inNewBoot(t, root, string(good), string(bad))
		if _, err := os.Stat(blobFile(root, bad)); !os.IsNotExist(err) {
			t.Errorf("the torn blob is still there: %v", err)
		}
		if st, err := os.Stat(blobFile(root, good)); err != nil || st.Mode() != 0o444 {
			t.Errorf("the whole blob: %v %v", st, err)
		}
		return
	}
	s := open(t, os.Getenv("CONTENT_TEST_ROOT"), true)
	good, bad := digest.Digest(os.Getenv("CONTENT_TEST_GOOD")), digest.Digest(os.Getenv("CONTENT_TEST_BAD"))
	if _, err := s.Info(ctx, good); err != nil {
		t.Error(err)
	}
	if _, err := s.ReaderAt(ctx, ocispec.Descriptor{Digest: bad}); !errdefs.IsNotFound(err) {
		t.Errorf("a torn blob was opened: %v", err)
	}
	w, err := s.Writer(ctx, core.WithRef("again"), core.WithDescriptor(ocispec.Descriptor{Digest: bad}))
	if err != nil {
		t.Fatalf("a torn blob stands in the way: %v", err)
	}
	w.Close()
}

func TestCommitReplacesStaleLabels(t *testing.T) {
	root := t.TempDir()
	s := open(t, root, false)
	b := noise(5)
	d := put(t, s, b, map[string]string{"old": "label"})
	if err := os.Remove(blobFile(root, d)); err != nil { // killed between blob and labels
		t.Fatal(err)
	}
	put(t, s, b, nil)
	info, err := s.Info(ctx, d)
	if err != nil || len(info.Labels) != 0 {
		t.Fatalf("%v %v", info.Labels, err)
	}
}

func TestGarbageIsOneBadObject(t *testing.T) {
	root := t.TempDir()
	s := open(t, root, false)
	d, other := put(t, s, noise(5), map[string]string{"a": "b"}), put(t, s, noise(6), map[string]string{"c": "d"})
	labels := filepath.Join(root, "content/labels/sha256", d.Encoded()+".json")
	for name, spoil := range map[string]func() error{
		"garbage":       func() error { return os.WriteFile(labels, []byte("{\x00"), 0o600) },
		"other version": func() error { return os.WriteFile(labels, []byte(`{"version":9}`), 0o600) },
		"empty":         func() error { return os.WriteFile(labels, nil, 0o600) },
		"a FIFO": func() error {
			os.Remove(labels)
			return unix.Mkfifo(labels, 0o600)
		},
		"a folder": func() error {
			os.Remove(labels)
			return os.Mkdir(labels, 0o700)
		},
	} {
		t.Run(name, func(t *testing.T) {
			if err := spoil(); err != nil {
				t.Fatal(err)
			}
			defer os.RemoveAll(labels)
			info, err := s.Info(ctx, d)
			if err != nil || len(info.Labels) != 0 {
				t.Errorf("Info: %v %v", info, err)
			}
			n := 0
			if err := s.Walk(ctx, func(core.Info) error { n++; return nil }); err != nil || n != 2 {
				t.Errorf("Walk: %d, %v", n, err)
			}
			if info, err := s.Info(ctx, other); err != nil || info.Labels["c"] != "d" {
				t.Errorf("the other: %v %v", info, err)
			}
		})
	}
	if err := os.WriteFile(filepath.Join(root, "content/blobs/sha256/what"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := s.Walk(ctx, func(i core.Info) error {
		if i.Digest != d && i.Digest != other {
			t.Errorf("listed %q", i.Digest)
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
}

func TestFailedCommitKeepsTheBytes(t *testing.T) {
	root := t.TempDir()
	s := open(t, root, false)
	b := noise(1000)
	w := writer(t, s, "r", ocispec.Descriptor{Digest: digest.FromString("other")})
	w.Write(b)
	err := w.Commit(ctx, 0, "")
	if !errdefs.IsFailedPrecondition(err) || !fault.Is(err, fault.Invalid) {
		t.Fatal(err)
	}
	st, err := s.Status(ctx, "r")
	if err != nil || st.Offset != 1000 {
		t.Fatalf("%+v %v", st, err)
	}
	if err := s.Abort(ctx, "r"); err != nil {
		t.Fatal(err)
	}
	if err := s.Abort(ctx, "r"); !errdefs.IsNotFound(err) {
		t.Errorf("abort twice: %v", err)
	}
	if _, err := s.Status(ctx, "r"); !errdefs.IsNotFound(err) {
		t.Errorf("status after abort: %v", err)
	}
	if left := entries(t, filepath.Join(root, "content/ingest")); len(left) > 0 {
		t.Errorf("left: %v", left)
	}
}

func TestAbortDoesNotTakeAnOpenWriter(t *testing.T) {
	s := open(t, t.TempDir(), false)
	w := writer(t, s, "r", ocispec.Descriptor{})
	w.Write([]byte("abc"))
	if err := s.Abort(ctx, "r"); !errdefs.IsUnavailable(err) || !fault.Is(err, fault.Busy) {
		t.Errorf("%v", err)
	}
	if err := w.Commit(ctx, 3, ""); err != nil {
		t.Error(err)
	}
}

func TestListStatuses(t *testing.T) {
	s := open(t, t.TempDir(), false)
	for _, ref := range []string{"layer-a", "layer-b", "config"} {
		w := writer(t, s, ref, ocispec.Descriptor{Size: 9})
		w.Write([]byte("abc"))
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
	}
	all, err := s.ListStatuses(ctx)
	if err != nil || len(all) != 3 || all[0].Offset != 3 || all[0].Total != 9 {
		t.Errorf("%+v %v", all, err)
	}
	some, err := s.ListStatuses(ctx, `ref~=^layer-`)
	if err != nil || len(some) != 2 {
		t.Errorf("%+v %v", some, err)
	}
	if _, err := s.ListStatuses(ctx, `ref~=`); !errdefs.IsInvalidArgument(err) {
		t.Errorf("%v", err)
	}
}

func TestBrokenStateBeginsAnew(t *testing.T) {
	root := t.TempDir()
	s := open(t, root, false)
	b := noise(1000)
	desc := ocispec.Descriptor{Digest: digest.FromBytes(b), Size: 1000}
	for _, text := range []string{"", "{", `{"version":1,"algorithm":"sha256","ranged":true,"ranges":[{"start":5,"end":2}]}`,
		`{"version":1,"algorithm":"sha256","hashed":500,"hash":"AAAA","boot":"x"}`} {
		w := writer(t, s, "r", desc)
		w.Write(b[:500])
		w.Close()
		dir := filepath.Join(root, "content/ingest", content.IngestID("r"))
		if err := os.WriteFile(filepath.Join(dir, "state.json"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		w = writer(t, s, "r", desc)
		st, _ := w.Status()
		w.Write(b[st.Offset:])
		if err := w.Commit(ctx, 0, ""); err != nil {
			t.Fatalf("%q: %v", text, err)
		}
		s.Delete(ctx, desc.Digest)
	}
}

// Bytes that another boot left are not what the noted hash is of.
func TestStateOfAnotherBootIsHashedAgain(t *testing.T) {
	root := t.TempDir()
	s := open(t, root, false)
	b := noise(1000)
	desc := ocispec.Descriptor{Digest: digest.FromBytes(b), Size: 1000}
	w := writer(t, s, "r", desc)
	w.Write(b[:600])
	w.Close()
	dir := filepath.Join(root, "content/ingest", content.IngestID("r"))
	state, err := os.ReadFile(filepath.Join(dir, "state.json"))
	if err != nil {
		t.Fatal(err)
	}
	boot, _ := os.ReadFile("/proc/sys/kernel/random/boot_id")
	old := bytes.Replace(state, bytes.TrimSpace(boot), []byte("another"), 1)
	if bytes.Equal(old, state) {
		t.Fatal("no boot id in the state")
	}
	os.WriteFile(filepath.Join(dir, "state.json"), old, 0o600)
	os.WriteFile(filepath.Join(dir, "data"), make([]byte, 600), 0o600) // what a power cut may leave
	w = writer(t, s, "r", desc)
	w.Write(b[600:])
	if err := w.Commit(ctx, 0, ""); !errdefs.IsFailedPrecondition(err) {
		t.Fatalf("zeros were committed: %v", err)
	}
	if _, err := s.Info(ctx, desc.Digest); !errdefs.IsNotFound(err) {
		t.Fatal("a blob of zeros")
	}
}

func TestFullDisk(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("needs root: mounts a tmpfs")
	}
	root := t.TempDir()
	if err := unix.Mount("tmpfs", root, "tmpfs", 0, "size=1m"); err != nil {
		t.Fatal(err)
	}
	defer unix.Unmount(root, unix.MNT_DETACH)
	s := open(t, root, false)
	kept := put(t, s, noise(100_000), map[string]string{"a": "b"})
	b := noise(2 << 20)
	w := writer(t, s, "r", ocispec.Descriptor{Digest: digest.FromBytes(b)})
	_, err := io.Copy(w, bytes.NewReader(b))
	if !fault.Is(err, fault.NoSpace) || !errors.Is(err, syscall.ENOSPC) {
		t.Fatalf("%v", err)
	}
	if err := w.Commit(ctx, int64(len(b)), digest.FromBytes(b)); !errdefs.IsFailedPrecondition(err) {
		t.Fatalf("%v", err)
	}
	if r, err := s.OpenRanged(ctx, "r", int64(len(b)), digest.FromBytes(b)); err == nil {
		_, err = r.WriteAt(b[1<<20:], 1<<20)
		r.Close()
		if !fault.Is(err, fault.NoSpace) {
			t.Errorf("ranged: %v", err)
		}
	} else if !fault.Is(err, fault.NoSpace) {
		t.Errorf("open ranged: %v", err)
	}
	// Full as it is: look, read, remove.
	if info, err := s.Info(ctx, kept); err != nil || info.Labels["a"] != "b" {
		t.Errorf("%v %v", info, err)
	}
	if err := s.Verify(ctx, kept); err != nil {
		t.Error(err)
	}
	if err := s.Delete(ctx, kept); err != nil {
		t.Error(err)
	}
	if err := s.Abort(ctx, "r"); err != nil {
		t.Error(err)
	}
	put(t, s, noise(500_000), nil)
}
