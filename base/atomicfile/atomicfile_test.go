package atomicfile_test

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"

	"berth/base/atomicfile"
	"berth/base/fault"
)

func names(t *testing.T, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, e := range entries {
		out = append(out, e.Name())
	}
	return out
}

func TestWriteReplacesWithExactMode(t *testing.T) {
	defer syscall.Umask(syscall.Umask(0o077))
	dir := t.TempDir()
	path := filepath.Join(dir, "state.json")
	for i, opts := range [][]atomicfile.Option{nil, {atomicfile.Sync}} {
		want := fmt.Appendf(nil, "content %d", i)
		if err := atomicfile.Write(path, want, 0o644, opts...); err != nil {
			t.Fatal(err)
		}
		got, err := os.ReadFile(path)
		if err != nil || !bytes.Equal(got, want) {
			t.Fatalf("read back %q, %v", got, err)
		}
		info, err := os.Stat(path)
		if err != nil || info.Mode() != 0o644 {
			t.Errorf("mode %v, want 0644 in spite of the umask", info.Mode())
		}
	}
	if n := names(t, dir); len(n) != 1 {
		t.Errorf("left behind: %v", n)
	}
}

func TestFailedWriteLeavesNothing(t *testing.T) {
	dir := t.TempDir()
	target := filepath.Join(dir, "folder")
	if err := os.Mkdir(target, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := atomicfile.Write(target, []byte("x"), 0o600); err == nil {
		t.Fatal("a folder was replaced by a file")
	}
	if n := names(t, dir); len(n) != 1 || n[0] != "folder" {
		t.Errorf("left behind: %v", n)
	}
	if err := atomicfile.Write(filepath.Join(dir, "no", "such"), nil, 0o600); !fault.Is(err, fault.NotFound) {
		t.Errorf("missing folder: %v, want kind NotFound", err)
	}
	if err := atomicfile.Write(dir+"/", nil, 0o600); !fault.Is(err, fault.Invalid) {
		t.Errorf("path without a name: %v, want kind Invalid", err)
	}
}

// Readers beside a writer must never see a torn file.
func TestReadersSeeWholeFiles(t *testing.T) {
	path := filepath.Join(t.TempDir(), "f")
	whole := func(b byte) []byte { return bytes.Repeat([]byte{b}, 64<<10) }
	if err := atomicfile.Write(path, whole('a'), 0o600); err != nil {
		t.Fatal(err)
	}
	stop := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		defer close(stop)
		for i := range 200 {
			if err := atomicfile.Write(path, whole(byte('a'+i%26)), 0o600); err != nil {
				t.Error(err)
				return
			}
		}
	})
	wg.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
			}
			b, err := atomicfile.ReadCapped(path, 1<<20)
			if err != nil || len(b) != 64<<10 || !bytes.Equal(b, whole(b[0])) {
				t.Errorf("torn read: %d bytes, %v", len(b), err)
				return
			}
		}
	})
	wg.Wait()
}

func TestReadCapped(t *testing.T) {
	dir := t.TempDir()
	for _, size := range []int{0, 1, 511, 512, 513, 5000} {
		path := filepath.Join(dir, fmt.Sprint(size))
		if err := os.WriteFile(path, bytes.Repeat([]byte("x"), size), 0o600); err != nil {
			t.Fatal(err)
		}
		if b, err := atomicfile.ReadCapped(path, int64(size)); err != nil || len(b) != size {
			t.Errorf("%d bytes at the cap: got %d, %v", size, len(b), err)
		}
		if size > 0 {
			if _, err := atomicfile.ReadCapped(path, int64(size-1)); !fault.Is(err, fault.Invalid) {
				t.Errorf("%d bytes over the cap: %v, want kind Invalid", size, err)
			}
		}
	}
	if _, err := atomicfile.ReadCapped(filepath.Join(dir, "none"), 10); !fault.Is(err, fault.NotFound) {
		t.Errorf("missing: %v", err)
	}
	if _, err := atomicfile.ReadCapped(dir, 10); !fault.Is(err, fault.Invalid) {
		t.Errorf("folder: %v", err)
	}
	// procfs says size 0: the cap holds on what is read.
	if b, err := atomicfile.ReadCapped("/proc/self/maps", 1<<20); err != nil || len(b) < 600 {
		t.Errorf("procfs: %d bytes, %v", len(b), err)
	}
	if _, err := atomicfile.ReadCapped("/proc/self/maps", 600); !fault.Is(err, fault.Invalid) {
		t.Errorf("procfs over the cap: %v", err)
	}
}

func TestReadCappedDoesNotHangOnFIFO(t *testing.T) {
	path := filepath.Join(t.TempDir(), "fifo")
	if err := syscall.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { _, err := atomicfile.ReadCapped(path, 10); done <- err }()
	select {
	case err := <-done:
		if !fault.Is(err, fault.Invalid) {
			t.Errorf("FIFO: %v, want kind Invalid", err)
		}
	case <-time.After(5 * time.Second):
		t.Fatal("blocked on a FIFO")
	}
}

func TestIsStaged(t *testing.T) {
	if atomicfile.IsStaged("state.json") || !atomicfile.IsStaged(".stage-0a") {
		t.Error("IsStaged is wrong")
	}
}
