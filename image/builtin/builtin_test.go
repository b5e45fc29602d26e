package builtin

import (
	"archive/tar"
	"bytes"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// TestRuns unpacks the layer with the host's tar and uses it as a root.
func TestRuns(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("needs root: chroot")
	}
	var b bytes.Buffer
	if err := Tar(&b); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	file := filepath.Join(t.TempDir(), "layer.tar")
	if err := os.WriteFile(file, b.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("tar", "-C", dir, "-xpf", file).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	cmd := exec.Command("/bin/sh", "-c", "ls -d /tmp; whoami; /usr/bin/stat -c %a /tmp; [ a = a ] && seq 3 | wc -l")
	cmd.Dir, cmd.Env = "/", []string{"PATH=/usr/bin:/sbin"}
	cmd.SysProcAttr = &syscall.SysProcAttr{Chroot: dir}
	out, err := cmd.CombinedOutput()
	if want := "/tmp\nroot\n1777\n3\n"; err != nil || string(out) != want {
		t.Errorf("in the image: %q, %v; want %q", out, err, want)
	}
}

func TestAlwaysTheSame(t *testing.T) {
	var a, b bytes.Buffer
	if err := errors.Join(Tar(&a), Tar(&b)); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(a.Bytes(), b.Bytes()) {
		t.Error("two layers differ")
	}
	d, err := Layer()
	if err != nil {
		t.Fatal(err)
	}
	if d.Digest != d.Digest.Algorithm().FromBytes(a.Bytes()) || d.Size != int64(a.Len()) {
		t.Errorf("descriptor %s, %d bytes does not describe the layer", d.Digest, d.Size)
	}
	r := tar.NewReader(&a)
	for {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if h.Uid != 0 || h.Gid != 0 || strings.HasPrefix(h.Name, "/") {
			t.Errorf("%s belongs to %d:%d", h.Name, h.Uid, h.Gid)
		}
	}
}
