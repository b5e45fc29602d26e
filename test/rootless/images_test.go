package rootless

import (
	"archive/tar"
	"bytes"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"berth/test/account"
)

// berth runs the program as a user whose home is dir.
func berth(t *testing.T, a account.Account, dir string, stdin []byte, args ...string) string {
	t.Helper()
	program, err := filepath.Abs("../../bin/berth")
	if err != nil {
		t.Fatal(err)
	}
	// The checkout may be where no other user gets.
	data, err := os.ReadFile(program)
	if err != nil {
		t.Fatalf("%v: build it with make", err)
	}
	own := filepath.Join(dir, "berth")
	if _, err := os.Stat(own); err != nil {
		if err := os.WriteFile(own, data, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.Command(own, args...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: a.Credential()}
	return output(t, cmd, dir, stdin)
}

// output is what a command says, whose home is dir.
func output(t *testing.T, cmd *exec.Cmd, dir string, stdin []byte) string {
	t.Helper()
	args := cmd.Args[1:]
	cmd.Dir, cmd.Stdin = dir, bytes.NewReader(stdin)
	cmd.Env = []string{"HOME=" + dir, "XDG_RUNTIME_DIR=" + filepath.Join(dir, "run"), "PATH=/usr/bin:/bin"}
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("berth %s: %v: %s", strings.Join(args, " "), err, out)
	}
	return string(out)
}

// home is a folder of a user's own, which goes with the test.
func home(t *testing.T, a account.Account) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "berth-images-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	if err := os.Chown(dir, int(a.UID), int(a.GID)); err != nil {
		t.Fatal(err)
	}
	return dir
}

// theirs is a layer with a file that belongs to somebody.
func theirs(t *testing.T) []byte {
	t.Helper()
	var layer bytes.Buffer
	w := tar.NewWriter(&layer)
	if err := w.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: "theirs", Mode: 0o640, Uid: 1234, Gid: 55, Size: 2}); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write([]byte("hi")); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return layer.Bytes()
}

// TestImages imports an image whose file belongs to somebody: with ranges it
// gets the subordinate id, with one id the user keeps it and notes the owner.
func TestImages(t *testing.T) {
	needRoot(t)
	layer := theirs(t)
	for name, who := range map[string]account.Account{"ranges": ranged, "one id": lonely} {
		t.Run(name, func(t *testing.T) {
			dir := home(t, who)
			berth(t, who, dir, layer, "import", "-", "owned")
			found := ""
			err := filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
				if d != nil && d.Name() == "theirs" {
					found = p
				}
				return err
			})
			if err != nil || found == "" {
				t.Fatalf("the file of the image is nowhere: %v", err)
			}
			fi, err := os.Stat(found)
			if err != nil {
				t.Fatal(err)
			}
			st := fi.Sys().(*syscall.Stat_t)
			wantUID, wantGID := who.UID, who.GID
			if who.Count > 0 {
				wantUID, wantGID = who.First+1233, who.First+54
			} else {
				buf := make([]byte, 64)
				n, err := syscall.Getxattr(found, "user.containers.override_stat", buf)
				if err != nil || !strings.HasPrefix(string(buf[:max(n, 0)]), "1234:55:") {
					t.Errorf("the true owner is noted as %q, %v", buf[:max(n, 0)], err)
				}
			}
			if st.Uid != wantUID || st.Gid != wantGID {
				t.Errorf("the file belongs to %d:%d, want %d:%d", st.Uid, st.Gid, wantUID, wantGID)
			}
			if out := berth(t, who, dir, nil, "images", "--format", "{{.Repository}}:{{.Tag}}"); out != "owned:latest\n" {
				t.Errorf("images: %q", out)
			}
			berth(t, who, dir, nil, "rmi", "owned")
			if left, err := filepath.Glob(filepath.Join(dir, ".local/share/berth/snapshots/d/*")); err != nil || len(left) > 0 {
				t.Errorf("after rmi there are %q, %v", left, err)
			}
		})
	}
}

// TestMigrate gives a user ranges after images were unpacked with one id: a create says so, and
// migrate gives their files their owners, those of a container, too.
func TestMigrate(t *testing.T) {
	needRoot(t)
	alone(t)
	who := account.Temporary(t, "berth-test-migrate")
	dir := home(t, who)
	ended := func() { // the holder with the ids of before
		t.Helper()
		if err := who.Ended(20 * time.Second); err != nil {
			t.Fatal(err)
		}
	}
	create := []string{"create", "--network", "none", "--name", "one", "owned", "x"}
	owner := func() string {
		t.Helper()
		out := berth(t, who, dir, nil, "export", "one")
		for r := tar.NewReader(strings.NewReader(out)); ; {
			h, err := r.Next()
			if err != nil {
				t.Fatalf("the container has no such file: %v", err)
			}
			if h.Name == "theirs" {
				return fmt.Sprintf("%d:%d %o", h.Uid, h.Gid, h.Mode)
			}
		}
	}
	if err := who.Ranges(false); err != nil {
		t.Fatal(err)
	}
	berth(t, who, dir, theirs(t), "import", "-", "owned")
	if out := berth(t, who, dir, nil, create...); strings.Contains(out, "migrate") {
		t.Errorf("with one id create says %q", out)
	}
	if got := owner(); got != "0:0 640" {
		t.Errorf("with one id the owner is %s", got)
	}
	ended()
	if err := who.Ranges(true); err != nil {
		t.Fatal(err)
	}
	create[4] = "two"
	if out := berth(t, who, dir, nil, create...); !strings.Contains(out, "berth system migrate gives them their owners") {
		t.Errorf("create says nothing of the owners: %q", out)
	}
	if out := berth(t, who, dir, nil, "system", "migrate"); out != "1 files have their owners now.\n" {
		t.Errorf("migrate says %q", out)
	}
	if got := owner(); got != "1234:55 640" {
		t.Errorf("the owner is %s", got)
	}
	create[4] = "three"
	if out := berth(t, who, dir, nil, create...); strings.Contains(out, "migrate") {
		t.Errorf("after it create says %q", out)
	}
	if out := berth(t, who, dir, nil, "system", "migrate"); out != "" {
		t.Errorf("a second time it says %q", out)
	}
	berth(t, who, dir, nil, "rm", "one", "two", "three")
	ended()
}

// TestImagesOutside imports an image with an opaque folder as a user who gets no namespace:
// newgidmap refuses. Without one nobody but root may set trusted.overlay.opaque.
func TestImagesOutside(t *testing.T) {
	needRoot(t)
	var layer bytes.Buffer
	w := tar.NewWriter(&layer)
	if err := w.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: "var/.wh..wh..opq", Mode: 0o600}); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	dir := home(t, ranged)
	program, err := account.Copy("../../bin/berth", dir)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("unshare", "--mount", "sh", "-ec", "mount --bind /bin/false /usr/bin/newgidmap; exec "+ranged.Prefix()+program+" import - hidden")
	output(t, cmd, dir, layer.Bytes())
	var mark [2]byte
	found, err := filepath.Glob(filepath.Join(dir, ".local/share/berth/snapshots/d/*/fs/var"))
	if err != nil || len(found) != 1 {
		t.Fatalf("the folder is at %q, %v", found, err)
	}
	if n, err := syscall.Getxattr(found[0], "user.overlay.opaque", mark[:]); err != nil || string(mark[:max(n, 0)]) != "y" {
		t.Errorf("user.overlay.opaque is %q, %v", mark[:max(n, 0)], err)
	}
}
